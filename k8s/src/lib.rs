//! Kubernetes objects from a manifest directory become tables.
