//! Local SQS, STS, EKS, Kubernetes and Lambda Runtime endpoints.
