//! The life of a local endpoint: asked for by CNI, given an identity, realised by the datapath, restored after a
//! restart, gone.
//!
//! ```text
//!   create ──> labels of its Pod ──> identity request ──> grant ──> endpoints row ──> realised ──> ready
//!      (5 s, else init)                    (5 s, else refused: nothing is left behind)
//!   pods, namespaces ──> other labels ──> another request; the old identity stays in force until the grant
//! ```
//! The [`Core`] holds no clock; [`Manager`] is its task and the handle that the API calls. Files of endpoints lie in
//! [`disk`]. It knows nothing of etcd, of BPF or of how addresses are chosen.

mod core;
pub mod disk;
mod driver;
mod error;
mod request;

pub use self::core::{Core, Effect, Labelling};
pub use driver::{Driver, Manager, Restored, Tables, run};
pub use error::CreateError;
pub use request::CreateRequest;
