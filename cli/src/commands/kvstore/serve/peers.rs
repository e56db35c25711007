//! TLS between members: looked at before it is refused, so that a fault is not found only when there are several.

use std::{path::Path, time::SystemTime};

use certificates::{Authorities, CertificateError, Pair, Purpose};

use super::flags::{Setting, Settings};

/// # Errors
/// A file that members could not use, or half of a pair.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let now = SystemTime::now();
    let of = |name: &str| settings.get(name).filter(|setting| !setting.value.is_empty());
    for (cert, key) in [("peer-cert-file", "peer-key-file"), ("peer-client-cert-file", "peer-client-key-file")] {
        match (of(cert), of(key)) {
            (Some(cert), Some(key)) => {
                let pair = Pair::read(Path::new(&cert.value), Path::new(&key.value), Purpose::Server, now);
                named(cert, pair.map(drop))?;
            }
            (Some(one), None) => return Err(format!("{} is given without --{key}: give both", one.place)),
            (None, Some(one)) => return Err(format!("{} is given without --{cert}: give both", one.place)),
            (None, None) => {}
        }
    }
    if let Some(ca) = of("peer-trusted-ca-file") {
        named(ca, Authorities::read(Path::new(&ca.value), now).map(drop))?;
    }
    match of("peer-crl-file") {
        Some(list) => named(list, certificates::revocations(Path::new(&list.value)).map(drop)),
        None => Ok(()),
    }
}

fn named(setting: &Setting, checked: Result<(), CertificateError>) -> Result<(), String> {
    checked.map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{}: {error}{source}", setting.place)
    })
}
