//! Certificates, looked at before somebody else refuses them: what would fail in a handshake fails here, by file name,
//! with names and dates.
//!
//! ```text
//!  files ──Pair, Authorities, revocations──> what a client or a server shows and believes
//!  a handshake that failed ──Shown──>           one sentence: whose certificate, which rule
//! ```
//! A handshake says "unknown certificate" on one side and nothing on the other. Deliberately absent: sockets, and any
//! decision to trust. That is rustls'.

mod error;
mod files;
mod shown;

pub use error::CertificateError;
pub use files::{Authorities, Pair, Purpose, revocations, usage_of};
pub use shown::{Shown, name_text, names_of, subject_and_issuer, subject_of};
