//! Queue depths by `GetQueueAttributes`. No right to receive a message is ever needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;

use super::aws::{Aws, credentials_hint, describe};
use crate::decide::QueueDepth;
use crate::policy::{Identity, Queue, QueueAddress};
use crate::ports::{Fault, Queues};

/// The SQS API.
#[derive(Debug)]
pub struct Sqs {
    aws: Arc<Aws>,
    clients: Mutex<HashMap<ClientKey, Client>>,
    /// The URLs of queues that are configured by name.
    urls: Mutex<HashMap<Queue, String>>,
}

type ClientKey = (Identity, String, Option<String>);

impl Sqs {
    /// No network before the first read.
    #[must_use]
    pub fn new(aws: Arc<Aws>) -> Self {
        Self {
            aws,
            clients: Mutex::default(),
            urls: Mutex::default(),
        }
    }

    async fn client(&self, queue: &Queue) -> Client {
        let Queue {
            address: _,
            region,
            endpoint,
            identity,
        } = queue;
        let key = (identity.clone(), region.clone(), endpoint.clone());
        let known = self
            .clients
            .lock()
            .ok()
            .and_then(|known| known.get(&key).cloned());
        if let Some(client) = known {
            return client;
        }
        let config = self.aws.config(identity, region).await;
        let mut builder = aws_sdk_sqs::config::Builder::from(&config);
        if let Some(endpoint) = endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        let client = Client::from_conf(builder.build());
        if let Ok(mut known) = self.clients.lock() {
            known.insert(key, client.clone());
        }
        client
    }

    /// The queue's URL: as configured, or looked up once while this environment is warm.
    async fn url(&self, client: &Client, queue: &Queue) -> Result<String, Fault> {
        let name = match &queue.address {
            QueueAddress::Url { url, .. } => return Ok(url.clone()),
            QueueAddress::Name(name) => name,
        };
        let known = self
            .urls
            .lock()
            .ok()
            .and_then(|known| known.get(queue).cloned());
        if let Some(url) = known {
            return Ok(url);
        }
        let answer = client.get_queue_url().queue_name(name).send().await;
        let answer = answer.map_err(|error| fault("sqs:GetQueueUrl", queue, describe(&error)))?;
        let Some(url) = answer.queue_url else {
            return Err(fault(
                "sqs:GetQueueUrl",
                queue,
                (
                    "BadResponse".to_owned(),
                    "an answer without a URL".to_owned(),
                ),
            ));
        };
        if let Ok(mut known) = self.urls.lock() {
            known.insert(queue.clone(), url.clone());
        }
        Ok(url)
    }
}

impl Queues for Sqs {
    async fn depth(&self, queue: &Queue) -> Result<QueueDepth, Fault> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let client = self.client(queue).await;
        let url = self.url(&client, queue).await?;
        // All three whatever the triggers count: one read then serves every target of the queue.
        let request = client
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(Visible);
        let answer = request
            .attribute_names(InFlight)
            .attribute_names(Delayed)
            .send()
            .await
            .map_err(|error| {
                if let Ok(mut known) = self.urls.lock() {
                    // It may have been deleted and made again.
                    known.remove(queue);
                }
                fault("sqs:GetQueueAttributes", queue, describe(&error))
            })?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name: QueueAttributeName| {
            let found = attributes.get(&name);
            found
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| {
                    let found =
                        found.map_or("nothing".to_owned(), |text| crate::document::quoted(text));
                    let message =
                        format!("found {found} as {}, which is not a count", name.as_str());
                    fault(
                        "sqs:GetQueueAttributes",
                        queue,
                        ("BadResponse".to_owned(), message),
                    )
                })
        };
        Ok(QueueDepth {
            visible: count(Visible)?,
            in_flight: count(InFlight)?,
            delayed: count(Delayed)?,
        })
    }
}

fn fault(action: &str, queue: &Queue, (code, message): (String, String)) -> Fault {
    let Queue {
        address,
        region,
        identity,
        ..
    } = queue;
    let name = address.name();
    let who = match identity {
        Identity::Function => "the function's role".to_owned(),
        Identity::Role { arn, .. } => format!("the role `{arn}`"),
    };
    let hint = match code.as_str() {
        "QueueDoesNotExist" | "NonExistentQueue" => format!(
            "check `queueURL` and `awsRegion`: aws sqs get-queue-url --queue-name {name} --region {region}"
        ),
        "AccessDenied" | "AccessDeniedException" => format!(
            "allow {action} on this queue to {who}, and in the queue's policy if it is in another account"
        ),
        "RequestThrottled" | "ThrottlingException" => {
            "the count is held; the next pass tries again".to_owned()
        }
        "Timeout" | "ConnectionFailed" => {
            "check the way to SQS: NAT or a VPC endpoint when the function is in a VPC".to_owned()
        }
        "NoCredentials" => {
            let hint = credentials_hint(identity);
            format!("no credentials for {who}: {hint}")
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException" => {
            format!("check the credentials of {who}, and its clock")
        }
        _ => "the count is held".to_owned(),
    };
    Fault::failed(
        code,
        format!(
            "could not read the depth of queue `{name}` in {region} ({action}): {message}; {hint}"
        ),
    )
}
