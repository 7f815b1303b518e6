use super::super::signature::testing::{self, NOW, REGION, Signed};
use super::*;

fn queues() -> Queues {
    Queues::new("http://127.0.0.1:1".to_owned(), "123456789012".to_owned())
}

fn call(queues: &Queues, operation: &str, input: &Value) -> (u16, Option<String>, Value) {
    let request = Signed::post("sqs", input.to_string())
        .header("x-amz-target", &format!("AmazonSQS.{operation}"))
        .request();
    let (_, reply) = handle(queues, &testing::credentials(), REGION, &request, NOW);
    let Reply::Answer(response, _) = reply else {
        panic!("no answer: {reply:?}");
    };
    let code = response.headers().get("x-amzn-query-error");
    let code = code.and_then(|code| code.to_str().ok()).map(str::to_owned);
    (
        response.status().as_u16(),
        code,
        testing::body_json(response),
    )
}

#[test]
fn only_the_attributes_asked_for_come_back_as_strings() {
    let queues = queues();
    queues.set_counts("orders", 120, 4, 3);
    let url = queues.url("orders");
    let ask = |names: &[&str]| {
        let input = json!({"QueueUrl": url, "AttributeNames": names});
        call(&queues, "GetQueueAttributes", &input)
    };
    let (status, _, body) = ask(&[
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
    ]);
    assert_eq!(status, 200);
    let expected = json!({"Attributes": {
        "ApproximateNumberOfMessages": "120",
        "ApproximateNumberOfMessagesDelayed": "3",
    }});
    assert_eq!(body, expected);
    assert_eq!(ask(&[]).2, json!({}));
    assert_eq!(ask(&["RedrivePolicy"]).2, json!({}));
    assert_eq!(
        ask(&["All"]).2["Attributes"]["QueueArn"],
        "arn:aws:sqs:ap-northeast-1:123456789012:orders"
    );
    let (status, code, _) = ask(&["Nonsense"]);
    assert_eq!(
        (status, code.as_deref()),
        (400, Some("InvalidAttributeName;Sender"))
    );
}

#[test]
fn a_missing_queue_is_told_in_the_form_of_the_service() {
    let queues = queues();
    let input = json!({"QueueUrl": queues.url("nobody"), "AttributeNames": ["All"]});
    let (status, code, body) = call(&queues, "GetQueueAttributes", &input);
    assert_eq!(status, 400);
    assert_eq!(
        code.as_deref(),
        Some("AWS.SimpleQueueService.NonExistentQueue;Sender")
    );
    let expected = json!({
        "__type": "com.amazonaws.sqs#QueueDoesNotExist",
        "message": "The specified queue does not exist.",
    });
    assert_eq!(body, expected);
    let other_account = json!({"QueueUrl": "http://127.0.0.1:1/999999999999/orders"});
    assert_eq!(call(&queues, "GetQueueUrl", &other_account).2, expected);
}

#[test]
fn messages_go_from_sender_to_receiver() {
    let queues = queues();
    let created = json!({"QueueName": "orders", "Attributes": {"VisibilityTimeout": "5"}});
    let url = call(&queues, "CreateQueue", &created).2["QueueUrl"].clone();
    assert_eq!(
        call(&queues, "GetQueueUrl", &json!({"QueueName": "orders"})).2["QueueUrl"],
        url
    );
    assert_eq!(
        call(&queues, "ListQueues", &json!({})).2["QueueUrls"],
        json!([url])
    );

    call(
        &queues,
        "SendMessage",
        &json!({"QueueUrl": url, "MessageBody": "one"}),
    );
    let batch = json!({"QueueUrl": url, "Entries": [
        {"Id": "a", "MessageBody": "two"},
        {"Id": "b", "MessageBody": "three", "DelaySeconds": 60},
    ]});
    let (status, _, body) = call(&queues, "SendMessageBatch", &batch);
    assert_eq!(
        (status, body["Successful"].as_array().map(Vec::len)),
        (200, Some(2))
    );

    let (_, _, body) = call(&queues, "ReceiveMessage", &json!({"QueueUrl": url}));
    assert_eq!(body["Messages"][0]["Body"], "one");
    let counts = queues.counts("orders");
    assert_eq!(
        (counts.visible, counts.in_flight, counts.delayed),
        (1, 1, 1)
    );

    let handle = &body["Messages"][0]["ReceiptHandle"];
    call(
        &queues,
        "DeleteMessage",
        &json!({"QueueUrl": url, "ReceiptHandle": handle}),
    );
    assert_eq!(queues.counts("orders").in_flight, 0);
    call(&queues, "PurgeQueue", &json!({"QueueUrl": url}));
    assert_eq!(queues.counts("orders"), Counts::default());
}

#[test]
fn faults_have_the_wire_form_of_the_service() {
    let queues = queues();
    queues.create("orders");
    let input = json!({"QueueUrl": queues.url("orders"), "AttributeNames": ["All"]});
    let ask = || call(&queues, "GetQueueAttributes", &input);
    for (fault, status, shape) in [
        (Fault::NotFound, 400, "com.amazonaws.sqs#QueueDoesNotExist"),
        (Fault::Throttled, 400, "com.amazonaws.sqs#RequestThrottled"),
        (
            Fault::AccessDenied,
            403,
            "com.amazon.coral.service#AccessDeniedException",
        ),
        (
            Fault::ServerError,
            500,
            "com.amazon.coral.service#InternalFailure",
        ),
    ] {
        queues.fail("orders", Some(fault));
        let (got, _, body) = ask();
        assert_eq!((got, body["__type"].as_str()), (status, Some(shape)));
    }
    queues.fail_times("orders", Fault::Throttled, 1);
    assert_eq!(ask().0, 400);
    assert_eq!(ask().0, 200);
}

#[test]
fn unsigned_requests_go_no_further() {
    let queues = queues();
    let request = Signed::post("sqs", "{}")
        .header("x-amz-target", "AmazonSQS.ListQueues")
        .unsigned("/");
    let (action, reply) = handle(&queues, &testing::credentials(), REGION, &request, NOW);
    assert_eq!((action.as_str(), reply.status()), ("ListQueues", 403));
}
