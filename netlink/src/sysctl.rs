//! Kernel parameters of the calling thread's namespace.

use crate::{Error, Result};
use std::{fs, io, path::PathBuf};

/// Writes `value` to a parameter such as `net/ipv4/ip_forward`, unless it says so already: some
/// parameters act on every write. Slashes, not dots: link names contain dots.
///
/// # Errors
/// [`Error::Sysctl`] when it does not exist or refuses the value.
pub fn write_sysctl(key: &str, value: &str) -> Result<()> {
    if read_sysctl(key)? == value {
        return Ok(());
    }
    fs::write(path(key), value).map_err(|source| Error::Sysctl { operation: "write", key: key.to_owned(), source })
}

/// The same, where a kernel without the parameter needs no setting; true when it exists.
///
/// # Errors
/// [`Error::Sysctl`] when it refuses the value.
pub fn write_sysctl_if_exists(key: &str, value: &str) -> Result<bool> {
    match write_sysctl(key, value) {
        Ok(()) => Ok(true),
        Err(Error::Sysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Its value, without the trailing newline.
///
/// # Errors
/// [`Error::Sysctl`] when it cannot be read.
pub fn read_sysctl(key: &str) -> Result<String> {
    let text = fs::read_to_string(path(key)).map_err(|source| Error::Sysctl {
        operation: "read",
        key: key.to_owned(),
        source,
    })?;
    Ok(text.trim_end().to_owned())
}

fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key)
}
