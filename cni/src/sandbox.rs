//! Whether `CNI_NETNS` is a network namespace, before an agent is asked for anything.

use std::fs;
use std::io::ErrorKind;

use netlink::Namespace;

use crate::call::{Call, Command};
use crate::error::Error;

/// Fails for ADD and CHECK when it is none. A DEL comes after the sandbox may have gone.
pub(crate) fn check(call: &Call) -> Result<(), Error> {
    let Some(path) = call.netns.as_ref().filter(|_| matches!(call.command, Command::Add | Command::Check)) else {
        return Ok(());
    };
    let broken = |rule| Err(Error::Environment { name: "CNI_NETNS", rule });
    if !path.is_absolute() {
        return broken("is not an absolute path");
    }
    // Opening a FIFO would wait for its other end.
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return broken("names no file: is the sandbox still there?");
    }
    match Namespace::open_path(path).and_then(|namespace| namespace.enter(|| ())) {
        Err(netlink::Error::Namespace { source, .. }) if source.kind() == ErrorKind::InvalidInput => {
            broken("is not a network namespace")
        }
        // Whatever else is wrong shows when the interface is made.
        _ => Ok(()),
    }
}
