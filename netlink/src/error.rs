//! What failed, on what.

use std::{io, path::PathBuf};

pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation and its object; the kernel's answer is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    #[error("{operation} {object}")]
    Request { operation: &'static str, object: String, source: io::Error },
    #[error("{operation} {object}: read the kernel's answer")]
    Answer { operation: &'static str, object: String, source: netlink_packet_core::DecodeError },
    #[error("no link {0}")]
    NoLink(String),
    #[error("{operation} namespace {path}")]
    Namespace { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{operation} sysctl {key}")]
    Sysctl { operation: &'static str, key: String, source: io::Error },
    #[error("{0:?} is no MAC address")]
    Mac(String),
}

impl Error {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(source)
            | Self::Request { source, .. }
            | Self::Namespace { source, .. }
            | Self::Sysctl { source, .. } => source.raw_os_error(),
            Self::NoLink(_) => Some(libc::ENODEV),
            Self::Answer { .. } | Self::Mac(_) => None,
        }
    }

    /// It is already so.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// It is not there: link, address, route or neighbour.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENXIO))
    }
}

/// Turns "already so" into success.
pub(crate) fn or_exists(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_exists() => Ok(()),
        other => other,
    }
}

/// Turns "not there" into `false`.
pub(crate) fn or_absent(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
