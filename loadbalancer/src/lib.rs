//! Services and their backends become frontends.
//!
//! ```text
//!   ips + identities ──selector──> backends ─┐
//!   EndpointSlices (k8s) ──────────> backends ─┼─ frontends(service) ──> frontends
//!   global-services (remote clusters) ─────────┘      affinity, readiness, family
//! ```
//! Where a Service has no EndpointSlice, its backends are this cluster's own addresses whose identity labels match its
//! selector: that is how clusters without Kubernetes work.
//!
//! It chooses who may answer. Numbers, slots and maps are `datapath`'s; etcd keys of global services are the
//! operator's, made from [`global_service`].

mod driver;
mod frontends;
mod global;
mod selector_backends;

pub use driver::{BackendInputs, FrontendInputs, run_frontends, run_selector_backends};
pub use frontends::frontends;
pub use global::global_service;
pub use selector_backends::SelectorBackends;
