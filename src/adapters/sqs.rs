//! Queue depths by `GetQueueAttributes`. No right to receive a message is ever needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;

use super::aws::{Aws, Clients, describe, hint, keep, owner};
use crate::decide::QueueDepth;
use crate::policy::{Queue, QueueAddress};
use crate::ports::Fault;

/// URLs that are kept: more than the queues that anybody polls.
const MAX_URLS: usize = 10_000;

/// The SQS API.
#[derive(Debug)]
pub struct Sqs {
    clients: Clients<Client>,
    /// The URLs of queues that are configured by name.
    urls: Mutex<HashMap<Queue, String>>,
}

impl Sqs {
    /// No network before the first read.
    #[must_use]
    pub fn new(aws: Arc<Aws>) -> Self {
        let clients = Clients::new(aws, |config, endpoint| {
            let mut builder = aws_sdk_sqs::config::Builder::from(config);
            if let Some(endpoint) = endpoint {
                builder = builder.endpoint_url(endpoint);
            }
            Client::from_conf(builder.build())
        });
        Self {
            clients,
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
        let client = self.clients.get(identity, region, endpoint.as_deref());
        client.await
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
        keep(&self.urls, queue.clone(), url.clone(), MAX_URLS);
        Ok(url)
    }

    /// The three counts of a queue.
    pub async fn depth(&self, queue: &Queue) -> Result<QueueDepth, Fault> {
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
                // Signed, as KEDA reads it and as a record can hold it.
                .and_then(|text| text.parse::<i64>().ok())
                .and_then(|count| u64::try_from(count).ok())
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
    let who = owner(identity);
    let hint = match code.as_str() {
        "QueueDoesNotExist" | "NonExistentQueue" => format!(
            "check `queueURL` and `awsRegion`: aws sqs get-queue-url --queue-name {name} --region {region}"
        ),
        "AccessDenied" | "AccessDeniedException" => format!(
            "allow {action} on this queue to {who}, and in the queue's policy if it is in another account"
        ),
        code => hint(code, identity, "SQS"),
    };
    Fault::failed(
        code,
        format!(
            "could not read the depth of queue `{name}` in {region} ({action}): {message}; {hint}"
        ),
    )
}
