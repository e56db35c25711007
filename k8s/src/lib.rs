//! Kubernetes objects become tables: from a directory of YAML that is followed live.
//!
//! ```text
//!   *.yaml ──> documents ──> objects ──> ObjectStore ──> pods, namespaces, services, backends, policy-rules
//!                                  └── what is refused, with file, line and JSON path ──> alarms
//! ```
//! Rules of the directory:
//! - a file that does not parse keeps its last valid objects; an invalid edit of an object keeps the old one in force;
//! - an unreadable directory changes nothing; a file deleted from a readable one takes its objects along;
//! - of two files with the same object the first by name wins, and the second is reported.
//!
//! An unsupported field of a policy is refused, never ignored: half a policy is a hole.

mod directory;
mod document;
mod driver;
mod objects;
mod store;
mod strict;

pub use directory::{DirectoryError, read_directory};
pub use document::Document;
pub use driver::{Tables, run};
pub use objects::{Object, ObjectKey, ParseOptions, parse};
pub use store::{ObjectStore, Outcome};
