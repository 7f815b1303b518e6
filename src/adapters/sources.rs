//! What triggers read, each from its own service.

use std::sync::Arc;

use jiff::Timestamp;

use super::aws::Aws;
use super::cloudwatch::CloudWatch;
use super::sqs::Sqs;
use crate::decide::QueueDepth;
use crate::policy::{Metric, Queue};
use crate::ports::{Fault, Sources};

/// SQS and CloudWatch.
#[derive(Debug)]
pub struct AwsSources {
    sqs: Sqs,
    cloudwatch: CloudWatch,
}

impl AwsSources {
    /// No network before the first read.
    #[must_use]
    pub fn new(aws: Arc<Aws>) -> Self {
        Self {
            sqs: Sqs::new(Arc::clone(&aws)),
            cloudwatch: CloudWatch::new(aws),
        }
    }
}

impl Sources for AwsSources {
    async fn depth(&self, queue: &Queue) -> Result<QueueDepth, Fault> {
        self.sqs.depth(queue).await
    }

    async fn metric(&self, metric: &Metric, now: Timestamp) -> Result<Option<i64>, Fault> {
        self.cloudwatch.value(metric, now).await
    }
}
