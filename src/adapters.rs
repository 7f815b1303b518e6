//! The outside systems, one module each, no policy.

pub mod eks_token;
