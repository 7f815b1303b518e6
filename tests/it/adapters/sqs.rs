//! Queue depths.

use futures_util::future::join_all;
use outrigger::adapters::sqs::Sqs;
use outrigger::decide::QueueDepth;
use outrigger::policy::{Identity, Queue};
use outrigger::sandbox::fault::Fault;
use outrigger::sandbox::{Sandbox, Service};

use super::{aws, by_name, failed, queue, queues};
use crate::support::{actions, assert_names, bare, count, stub};

async fn sandbox() -> Sandbox {
    let sandbox = bare(outrigger::sandbox::SandboxOptions::default()).await;
    sandbox.queues().set_counts("orders", 60, 3, 5);
    sandbox
}

const DEPTH: QueueDepth = QueueDepth {
    visible: 60,
    in_flight: 3,
    delayed: 5,
};

#[tokio::test]
async fn all_three_counts_by_url_in_one_request() {
    let sandbox = sandbox().await;
    let sqs = queues(&sandbox).await;
    assert_eq!(sqs.depth(&queue(&sandbox, "orders")).await, Ok(DEPTH));
    assert_eq!(
        actions(&sandbox, Service::Sqs),
        ["GetQueueAttributes orders"]
    );
    sandbox.queues().set_counts("orders", 0, 0, 0);
    let empty = QueueDepth {
        visible: 0,
        in_flight: 0,
        delayed: 0,
    };
    assert_eq!(sqs.depth(&queue(&sandbox, "orders")).await, Ok(empty));
}

#[tokio::test]
async fn a_name_is_looked_up_once() {
    let sandbox = sandbox().await;
    let sqs = queues(&sandbox).await;
    let orders = by_name(queue(&sandbox, "orders"));
    for _ in 0..3 {
        assert_eq!(sqs.depth(&orders).await, Ok(DEPTH));
    }
    assert_eq!(count(&sandbox, "GetQueueUrl orders"), 1);
    assert_eq!(count(&sandbox, "GetQueueAttributes orders"), 3);
}

#[tokio::test]
async fn a_name_is_looked_up_again_after_a_failure() {
    let sandbox = sandbox().await;
    let sqs = queues(&sandbox).await;
    let orders = by_name(queue(&sandbox, "orders"));
    assert_eq!(sqs.depth(&orders).await, Ok(DEPTH));
    sandbox.queues().delete("orders");
    for action in ["sqs:GetQueueAttributes", "sqs:GetQueueUrl"] {
        let (_, message) = failed(sqs.depth(&orders).await);
        assert_names(&message, &[action, "`orders`"]);
    }
    sandbox.queues().set_counts("orders", 60, 3, 5);
    assert_eq!(sqs.depth(&orders).await, Ok(DEPTH));
    assert_eq!(count(&sandbox, "GetQueueUrl orders"), 3);
}

#[tokio::test]
async fn a_count_that_is_missing_or_odd_is_no_zero() {
    let sandbox = sandbox().await;
    let sqs = queues(&sandbox).await;
    let odd = [
        "{}",
        r#"{"Attributes":{}}"#,
        r#"{"Attributes":{"ApproximateNumberOfMessages":"60","ApproximateNumberOfMessagesNotVisible":"3"}}"#,
        r#"{"Attributes":{"ApproximateNumberOfMessagesNotVisible":"3","ApproximateNumberOfMessagesDelayed":"5"}}"#,
        r#"{"Attributes":{"ApproximateNumberOfMessages":"","ApproximateNumberOfMessagesNotVisible":"3","ApproximateNumberOfMessagesDelayed":"5"}}"#,
        r#"{"Attributes":{"ApproximateNumberOfMessages":"-1","ApproximateNumberOfMessagesNotVisible":"3","ApproximateNumberOfMessagesDelayed":"5"}}"#,
        r#"{"Attributes":{"ApproximateNumberOfMessages":"60","ApproximateNumberOfMessagesNotVisible":"3.5","ApproximateNumberOfMessagesDelayed":"5"}}"#,
        r#"{"Attributes":{"ApproximateNumberOfMessages":"60","ApproximateNumberOfMessagesNotVisible":"many","ApproximateNumberOfMessagesDelayed":"5"}}"#,
        r#"{"Attributes":{"ApproximateNumberOfMessages":"60","ApproximateNumberOfMessagesNotVisible":"3","ApproximateNumberOfMessagesDelayed":"99999999999999999999"}}"#,
    ];
    for body in odd {
        let queue = Queue {
            endpoint: Some(stub::answering(body)),
            ..queue(&sandbox, "orders")
        };
        let (code, message) = failed(sqs.depth(&queue).await);
        assert_eq!(code, "BadResponse", "{body}");
        assert_names(
            &message,
            &[
                "queue `orders`",
                "sqs:GetQueueAttributes",
                "ApproximateNumberOfMessages",
                "not a count",
            ],
        );
    }
}

/// What a fault must be told as, by URL and by name.
async fn check_fault(fault: Fault, code: &str, hint: &str) {
    let sandbox = sandbox().await;
    sandbox.queues().fail("orders", Some(fault));
    let sqs = queues(&sandbox).await;
    let url = queue(&sandbox, "orders");
    let name = by_name(url.clone());
    let (by_url, by_name) = tokio::join!(sqs.depth(&url), sqs.depth(&name));
    for (result, action) in [
        (by_url, "sqs:GetQueueAttributes"),
        (by_name, "sqs:GetQueueUrl"),
    ] {
        let (found, message) = failed(result);
        assert_eq!(found, code, "{message}");
        assert_names(&message, &["queue `orders`", super::REGION, action, hint]);
    }
    sandbox.queues().fail("orders", None);
    assert_eq!(sqs.depth(&url).await, Ok(DEPTH));
    assert_eq!(sqs.depth(&name).await, Ok(DEPTH));
}

#[tokio::test]
async fn a_queue_that_is_gone() {
    let hint = "aws sqs get-queue-url --queue-name orders --region ap-northeast-1";
    check_fault(Fault::NotFound, "NonExistentQueue", hint).await;
}

#[tokio::test]
async fn a_throttled_read() {
    check_fault(Fault::Throttled, "RequestThrottled", "the next pass").await;
}

#[tokio::test]
async fn a_denied_read() {
    check_fault(Fault::AccessDenied, "AccessDeniedException", "allow sqs:").await;
}

#[tokio::test]
async fn a_broken_service() {
    check_fault(Fault::ServerError, "InternalFailure", "the count is held").await;
}

#[tokio::test]
async fn a_silent_service() {
    check_fault(Fault::Hang, "Timeout", "VPC endpoint").await;
}

#[tokio::test]
async fn a_reset_connection() {
    check_fault(Fault::Reset, "ConnectionFailed", "VPC endpoint").await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read() {
    check_fault(Fault::Garbage, "BadResponse", "the count is held").await;
}

#[tokio::test]
async fn one_bad_moment_is_bridged() {
    for fault in [Fault::Throttled, Fault::ServerError, Fault::Reset] {
        let sandbox = sandbox().await;
        sandbox.queues().fail_times("orders", fault, 1);
        let depth = queues(&sandbox)
            .await
            .depth(&queue(&sandbox, "orders"))
            .await;
        assert_eq!(depth, Ok(DEPTH), "{fault:?}");
        assert_eq!(count(&sandbox, "GetQueueAttributes"), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let sandbox = sandbox().await;
    let queue = Queue {
        endpoint: Some(format!("http://127.0.0.1:{}", stub::closed_port())),
        ..queue(&sandbox, "orders")
    };
    let (code, message) = failed(queues(&sandbox).await.depth(&queue).await);
    assert_eq!(code, "ConnectionFailed", "{message}");
    assert_names(&message, &["queue `orders`", "VPC endpoint"]);
}

#[tokio::test]
async fn expired_credentials() {
    let sandbox = sandbox().await;
    sandbox.expire_credentials();
    let (code, message) = failed(
        queues(&sandbox)
            .await
            .depth(&queue(&sandbox, "orders"))
            .await,
    );
    assert_eq!(code, "ExpiredTokenException", "{message}");
    assert_names(&message, &["the credentials of the function's role"]);
}

const READER: &str = "arn:aws:iam::210987654321:role/queues/reader";

fn assumed(sandbox: &Sandbox, external_id: Option<&str>) -> Queue {
    Queue {
        identity: Identity::Role {
            arn: READER.to_owned(),
            external_id: external_id.map(str::to_owned),
        },
        ..queue(sandbox, "orders")
    }
}

#[tokio::test]
async fn a_role_is_assumed_once_with_its_external_id() {
    let sandbox = sandbox().await;
    sandbox.sts().allow_role(READER, Some("shop-42"));
    let sqs = queues(&sandbox).await;
    let orders = assumed(&sandbox, Some("shop-42"));
    for _ in 0..3 {
        assert_eq!(sqs.depth(&orders).await, Ok(DEPTH));
    }
    assert_eq!(actions(&sandbox, Service::Sts), ["AssumeRole"]);
    assert_eq!(count(&sandbox, "GetQueueAttributes"), 3);
}

#[tokio::test]
async fn a_role_is_assumed_once_for_many_queues() {
    let sandbox = sandbox().await;
    sandbox.sts().allow_role(READER, None);
    let sqs = queues(&sandbox).await;
    let names = (0..10).map(|number| format!("queue-{number}"));
    let queues: Vec<Queue> = names
        .map(|name| {
            sandbox.queues().set_counts(&name, 60, 3, 5);
            Queue {
                identity: assumed(&sandbox, None).identity,
                ..queue(&sandbox, &name)
            }
        })
        .collect();
    let depths = join_all(queues.iter().map(|queue| sqs.depth(queue))).await;
    assert!(depths.iter().all(|depth| *depth == Ok(DEPTH)), "{depths:?}");
    assert_eq!(count(&sandbox, "AssumeRole"), 1);
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_told_as_that() {
    let sandbox = sandbox().await;
    sandbox.sts().allow_role(READER, Some("shop-42"));
    let sqs = Sqs::new(aws(&sandbox, "STS").await);
    for external_id in [None, Some("wrong")] {
        let (code, message) = failed(sqs.depth(&assumed(&sandbox, external_id)).await);
        assert_eq!(code, "NoCredentials", "{message}");
        assert_names(
            &message,
            &["queue `orders`", READER, "trust policy", "external id"],
        );
        // What is the same trouble reads the same: it is told where it changes.
        let again = failed(sqs.depth(&assumed(&sandbox, external_id)).await);
        assert_eq!(again, (code, message));
    }
    assert_eq!(count(&sandbox, "GetQueueAttributes"), 0);
}

#[tokio::test]
async fn a_role_that_sts_refuses_is_asked_for_once_for_many_queues() {
    let sandbox = sandbox().await;
    let sqs = queues(&sandbox).await;
    let queues: Vec<Queue> = (0..100)
        .map(|number| Queue {
            identity: assumed(&sandbox, None).identity,
            ..queue(&sandbox, &format!("queue-{number}"))
        })
        .collect();
    let depths = join_all(queues.iter().map(|queue| sqs.depth(queue))).await;
    for depth in depths {
        let (code, message) = failed(depth);
        assert_eq!(code, "NoCredentials", "{message}");
        assert_names(&message, &[READER, "trust policy", "not authorized"]);
    }
    assert_eq!(count(&sandbox, "AssumeRole"), 1);
    // What is read without the role is read.
    let own = sqs.depth(&queue(&sandbox, "orders")).await;
    assert_eq!(own, Ok(DEPTH));
}
