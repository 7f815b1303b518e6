//! The SQS endpoint: AWS JSON 1.0 over the queues.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/Welcome.html>

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::queues::{Counts, Queue, Queues};
use super::server::{self, Reply, Response, with_header};
use super::signature::{self, Credentials, Scope};

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// The longest batch that SQS takes.
const BATCH_LIMIT: usize = 10;

/// What a request did: the action for the request log, and the answer.
pub(super) fn handle(
    queues: &Queues,
    credentials: &Credentials,
    region: &str,
    request: &Request<Bytes>,
    now: Timestamp,
) -> (String, Reply) {
    let target = request.headers().get("x-amz-target");
    let target = target.and_then(|value| value.to_str().ok());
    let operation = target
        .and_then(|target| target.strip_prefix("AmazonSQS."))
        .unwrap_or_default();
    let scope = Scope {
        region,
        service: "sqs",
    };
    if let Err(refused) = signature::verify_header(request, scope, credentials, now) {
        return (operation.to_owned(), SqsError::signature(&refused).into());
    }
    let Ok(input) = serde_json::from_slice::<Map<String, Value>>(request.body()) else {
        let error = SqsError::coral(
            400,
            "SerializationException",
            "the body is not a JSON object",
        );
        return (operation.to_owned(), error.into());
    };
    let name = match queue_name(queues, &input) {
        Ok(name) => name,
        Err(error) => return (operation.to_owned(), error.into()),
    };
    let action = format!("{operation} {name}").trim_end().to_owned();
    if let Some(fault) = queues.next_fault(&name) {
        return (action, struck_by(fault));
    }
    let call = Call {
        queues,
        region,
        name,
        input,
    };
    let answer = match call.run(operation) {
        Ok(output) => server::answer(200, CONTENT_TYPE, Value::Object(output).to_string()).into(),
        Err(error) => error.into(),
    };
    (action, answer)
}

/// The name from `QueueUrl` or `QueueName`; empty where the operation names none.
fn queue_name(queues: &Queues, input: &Map<String, Value>) -> Result<String, SqsError> {
    if let Some(name) = input.get("QueueName").and_then(Value::as_str) {
        return Ok(name.to_owned());
    }
    let Some(url) = input.get("QueueUrl").and_then(Value::as_str) else {
        return Ok(String::new());
    };
    let path = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'));
    let parts = path.and_then(|(_, path)| path.split_once('/'));
    match parts {
        // The host is not looked at: the real service goes by account and name, too.
        Some((account, name)) if account == queues.account() => Ok(name.to_owned()),
        Some(_) => Err(SqsError::no_such_queue()),
        None => Err(SqsError::sqs(
            "InvalidAddress",
            "InvalidAddress",
            &format!("The address {url} is not valid for this endpoint."),
        )),
    }
}

fn struck_by(fault: Fault) -> Reply {
    match fault {
        Fault::NotFound => SqsError::no_such_queue().into(),
        Fault::Throttled => {
            SqsError::sqs("RequestThrottled", "RequestThrottled", "Request is throttled.").into()
        }
        Fault::AccessDenied => SqsError::coral(
            403,
            "AccessDeniedException",
            "User is not authorized to perform this operation because no identity-based policy allows it",
        )
        .into(),
        Fault::ServerError => SqsError::coral(500, "InternalFailure", "internal failure").into(),
        Fault::Hang => Reply::Hang,
        Fault::Reset => Reply::Reset,
        Fault::Garbage => server::garbage().into(),
    }
}

/// An error in the form that SQS puts on the wire.
#[derive(Debug)]
struct SqsError {
    status: u16,
    /// The namespace and name of the JSON error shape.
    shape: String,
    /// The code of the older query protocol, for clients that still compare with it.
    query_code: Option<String>,
    message: String,
}

impl SqsError {
    /// A modelled error of the service.
    fn sqs(shape: &str, query_code: &str, message: &str) -> Self {
        Self {
            status: 400,
            shape: format!("com.amazonaws.sqs#{shape}"),
            query_code: Some(format!("{query_code};Sender")),
            message: message.to_owned(),
        }
    }

    /// An error of the front end before the service.
    fn coral(status: u16, shape: &str, message: &str) -> Self {
        Self {
            status,
            shape: format!("com.amazon.coral.service#{shape}"),
            query_code: None,
            message: message.to_owned(),
        }
    }

    fn no_such_queue() -> Self {
        Self::sqs(
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "The specified queue does not exist.",
        )
    }

    fn missing(parameter: &str) -> Self {
        let message = format!("The request must contain the parameter {parameter}.");
        Self::coral(400, "MissingParameter", &message)
    }

    fn signature(refused: &signature::SignatureError) -> Self {
        Self::coral(403, refused.json_code(), &refused.to_string())
    }
}

impl From<SqsError> for Reply {
    fn from(error: SqsError) -> Self {
        let body = json!({"__type": error.shape, "message": error.message});
        let mut response: Response = server::answer(error.status, CONTENT_TYPE, body.to_string());
        if let Some(code) = &error.query_code {
            response = with_header(response, "x-amzn-query-error", code);
        }
        response.into()
    }
}

/// One request about one queue, or about none.
struct Call<'a> {
    queues: &'a Queues,
    region: &'a str,
    name: String,
    input: Map<String, Value>,
}

impl Call<'_> {
    fn run(&self, operation: &str) -> Result<Map<String, Value>, SqsError> {
        let output = match operation {
            "CreateQueue" => self.create_queue()?,
            "GetQueueUrl" => {
                self.on_queue(|_| ())?;
                json!({"QueueUrl": self.queues.url(&self.name)})
            }
            "ListQueues" => {
                let prefix = self.text("QueueNamePrefix").unwrap_or_default();
                let names = self.queues.names(prefix);
                let urls: Vec<String> = names.iter().map(|name| self.queues.url(name)).collect();
                json!({"QueueUrls": urls})
            }
            "GetQueueAttributes" => self.get_attributes()?,
            "SendMessage" => {
                let id = self.on_queue(|queue| send(queue, &self.input))??;
                json!({"MessageId": message_id(id)})
            }
            "SendMessageBatch" => self.send_batch()?,
            "ReceiveMessage" => self.receive()?,
            "DeleteMessage" => {
                let handle = self.text("ReceiptHandle");
                let handle = handle.ok_or_else(|| SqsError::missing("ReceiptHandle"))?;
                let id = handle.rsplit('-').next().and_then(|id| id.parse().ok());
                let id = id.ok_or_else(|| invalid_handle(handle))?;
                self.on_queue(|queue| queue.delete(id))?;
                json!({})
            }
            "PurgeQueue" => {
                self.on_queue(Queue::purge)?;
                json!({})
            }
            "DeleteQueue" => {
                self.on_queue(|_| ())?;
                self.queues.delete(&self.name);
                json!({})
            }
            other => {
                let message = format!("The action {other} is not valid for this endpoint.");
                return Err(SqsError::coral(400, "UnknownOperationException", &message));
            }
        };
        match output {
            Value::Object(output) => Ok(output),
            _ => Ok(Map::new()),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.input.get(name).and_then(Value::as_str)
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        seconds(&self.input, name)
    }

    fn on_queue<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> Result<T, SqsError> {
        self.queues
            .with(&self.name, act)
            .ok_or_else(SqsError::no_such_queue)
    }

    fn create_queue(&self) -> Result<Value, SqsError> {
        if self.name.is_empty() {
            return Err(SqsError::missing("QueueName"));
        }
        let attributes = self.input.get("Attributes").and_then(Value::as_object);
        let attributes: BTreeMap<String, String> = attributes
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        self.queues.create_with(&self.name, &attributes);
        Ok(json!({"QueueUrl": self.queues.url(&self.name)}))
    }

    fn get_attributes(&self) -> Result<Value, SqsError> {
        let names = self.input.get("AttributeNames").and_then(Value::as_array);
        let names: Vec<&str> = names
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let all = self.on_queue(|queue| self.attributes(queue))?;
        let mut wanted = Map::new();
        for name in names {
            if name == "All" {
                wanted.extend(all.clone());
            } else if let Some(value) = all.get(name) {
                wanted.insert(name.to_owned(), value.clone());
            } else if !OPTIONAL_ATTRIBUTES.contains(&name) {
                let message = format!("Unknown Attribute {name}.");
                let (shape, code) = ("InvalidAttributeName", "InvalidAttributeName");
                return Err(SqsError::sqs(shape, code, &message));
            }
        }
        if wanted.is_empty() {
            return Ok(json!({}));
        }
        Ok(json!({"Attributes": wanted}))
    }

    fn attributes(&self, queue: &Queue) -> Map<String, Value> {
        let Counts {
            visible,
            in_flight,
            delayed,
        } = queue.counts();
        let arn = format!(
            "arn:{}:sqs:{}:{}:{}",
            super::partition(self.region),
            self.region,
            self.queues.account(),
            self.name
        );
        let created = queue.created.as_second().to_string();
        let mut attributes = Map::new();
        for (name, value) in [
            ("ApproximateNumberOfMessages", visible.to_string()),
            (
                "ApproximateNumberOfMessagesNotVisible",
                in_flight.to_string(),
            ),
            ("ApproximateNumberOfMessagesDelayed", delayed.to_string()),
            ("QueueArn", arn),
            ("CreatedTimestamp", created.clone()),
            ("LastModifiedTimestamp", created),
            (
                "VisibilityTimeout",
                queue.visibility_timeout.as_secs().to_string(),
            ),
            ("DelaySeconds", queue.delay.as_secs().to_string()),
            ("MaximumMessageSize", "1048576".to_owned()),
            ("MessageRetentionPeriod", "345600".to_owned()),
            ("ReceiveMessageWaitTimeSeconds", "0".to_owned()),
            ("SqsManagedSseEnabled", "true".to_owned()),
        ] {
            attributes.insert(name.to_owned(), Value::String(value));
        }
        if self
            .name
            .rsplit_once('.')
            .is_some_and(|(_, suffix)| suffix == "fifo")
        {
            attributes.insert("FifoQueue".to_owned(), json!("true"));
        }
        attributes
    }

    fn send_batch(&self) -> Result<Value, SqsError> {
        let entries = self.input.get("Entries").and_then(Value::as_array);
        let entries: Vec<&Map<String, Value>> = entries
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .collect();
        if entries.is_empty() {
            return Err(SqsError::sqs(
                "EmptyBatchRequest",
                "AWS.SimpleQueueService.EmptyBatchRequest",
                "There should be at least one SendMessageBatchRequestEntry in the request.",
            ));
        }
        if entries.len() > BATCH_LIMIT {
            return Err(SqsError::sqs(
                "TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                "Maximum number of entries per request are 10.",
            ));
        }
        let sent = self.on_queue(|queue| {
            let one = |entry: &&Map<String, Value>| {
                let id = send(queue, entry)?;
                Ok(json!({"Id": entry.get("Id"), "MessageId": message_id(id)}))
            };
            entries
                .iter()
                .map(one)
                .collect::<Result<Vec<Value>, SqsError>>()
        })??;
        Ok(json!({"Successful": sent, "Failed": []}))
    }

    fn receive(&self) -> Result<Value, SqsError> {
        let count = self
            .input
            .get("MaxNumberOfMessages")
            .and_then(Value::as_u64);
        let count = usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX);
        if !(1..=BATCH_LIMIT).contains(&count) {
            let message = format!(
                "Value {count} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
            );
            return Err(SqsError::coral(400, "InvalidParameterValue", &message));
        }
        let received = self.on_queue(|queue| {
            let timeout = self.seconds("VisibilityTimeout");
            let until = queue.at(timeout.unwrap_or(queue.visibility_timeout));
            queue.receive(count, until)
        })?;
        let messages: Vec<Value> = received
            .into_iter()
            .map(|message| {
                json!({
                    "MessageId": message_id(message.id),
                    "ReceiptHandle": format!("receipt-{}-{}", message.receives, message.id),
                    "Body": message.body,
                    "Attributes": {"ApproximateReceiveCount": message.receives.to_string()},
                })
            })
            .collect();
        if messages.is_empty() {
            return Ok(json!({}));
        }
        Ok(json!({"Messages": messages}))
    }
}

/// Attributes that a queue may have and these queues never do: asking for them is no error.
const OPTIONAL_ATTRIBUTES: [&str; 7] = [
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "Policy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
];

fn invalid_handle(handle: &str) -> SqsError {
    let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
    SqsError::sqs("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", &message)
}

fn seconds(input: &Map<String, Value>, name: &str) -> Option<Duration> {
    input
        .get(name)
        .and_then(Value::as_u64)
        .map(Duration::from_secs)
}

fn send(queue: &mut Queue, input: &Map<String, Value>) -> Result<u64, SqsError> {
    let body = input.get("MessageBody").and_then(Value::as_str);
    let body = body.ok_or_else(|| SqsError::missing("MessageBody"))?;
    Ok(queue.send(body.to_owned(), seconds(input, "DelaySeconds")))
}

fn message_id(id: u64) -> String {
    format!("00000000-0000-4000-8000-{id:012x}")
}

#[cfg(test)]
mod tests;
