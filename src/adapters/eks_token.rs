//! The EKS bearer token.
