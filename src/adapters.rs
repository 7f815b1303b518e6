//! The outside systems, one module each, no policy.

pub mod aws;
pub mod cloudwatch;
pub mod eks_token;
pub mod kubernetes;
mod one_line;
mod retry;
pub mod sources;
pub mod sqs;
