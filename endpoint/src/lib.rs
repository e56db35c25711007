//! Lifecycle of a local endpoint.
