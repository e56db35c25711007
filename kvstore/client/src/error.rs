//! What went wrong with which operation on which key.

use std::{fmt, time::Duration};

use crate::Revision;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {key:?} failed")]
pub struct Error {
    pub operation: Operation,
    /// The key, prefix or lease; the first key written for a transaction.
    pub key: String,
    #[source]
    pub cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Range,
    Put,
    Delete,
    Txn,
    Watch,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseTimeLeft,
    LeaseRevoke,
    Compact,
    Status,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("store unavailable: {0}")]
    Unavailable(String),
    #[error("store is overloaded: {0}")]
    Overloaded(String),
    /// The answer is larger than we accept; a smaller page may pass.
    #[error("answer is too large: {0}")]
    TooLarge(String),
    /// 0 where the store does not say.
    #[error("revision is compacted away, up to {0}")]
    Compacted(Revision),
    #[error("revision is in the future")]
    FutureRevision,
    #[error("lease not found")]
    LeaseNotFound,
    #[error("watch was ended by the store: {0}")]
    WatchEnded(String),
    #[error("store changed: it was cluster {was:x} and is {is:x}")]
    ClusterChanged { was: u64, is: u64 },
    #[error("answer names no cluster")]
    NoHeader,
    #[error("permission denied: {0}")]
    PermissionDenied(String),
    #[error("not authenticated: {0}")]
    Unauthenticated(String),
    #[error("refused: {0}")]
    Refused(String),
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

// === impl Error ===

impl Error {
    pub fn new(operation: Operation, key: &[u8], cause: Cause) -> Self {
        Self { operation, key: String::from_utf8_lossy(key).into_owned(), cause }
    }

    /// Whether the same request may succeed later. After a time-out it may also have succeeded
    /// already: only idempotent requests may be repeated.
    pub fn is_retryable(&self) -> bool {
        match self.cause {
            Cause::Timeout(_) | Cause::Unavailable(_) | Cause::Overloaded(_) | Cause::WatchEnded(_) => true,
            // Tokens expire, and roles are granted while we wait.
            Cause::Unauthenticated(_) => true,
            Cause::TooLarge(_) | Cause::Compacted(_) | Cause::FutureRevision | Cause::LeaseNotFound => false,
            Cause::ClusterChanged { .. } | Cause::NoHeader => false,
            Cause::PermissionDenied(_) | Cause::Refused(_) => false,
        }
    }

    /// With its cause, for a status line.
    pub fn full(&self) -> String {
        format!("{self}: {}", self.cause)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Range => "reading",
            Self::Put => "put of",
            Self::Delete => "delete of",
            Self::Txn => "transaction on",
            Self::Watch => "watch of",
            Self::LeaseGrant => "lease grant",
            Self::LeaseKeepAlive => "keep-alive of lease",
            Self::LeaseTimeLeft => "time left of lease",
            Self::LeaseRevoke => "revocation of lease",
            Self::Compact => "compaction",
            Self::Status => "status request to",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_operation_and_key_and_says_whether_to_retry() {
        let error = Error::new(Operation::Put, b"a/b", Cause::Timeout(Duration::from_secs(1)));
        assert_eq!(error.full(), "put of \"a/b\" failed: no answer within 1s");
        assert!(error.is_retryable());
        assert!(!Error::new(Operation::Put, b"a", Cause::LeaseNotFound).is_retryable());
    }
}
