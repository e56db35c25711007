//! The certificates of a client's configuration: whose they are, until when, and whether they belong together.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use kvstore::EtcdConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::report::Report;

/// Days before the end of a certificate from which on it is told.
const SOON: i64 = 30;

type Ders = Vec<CertificateDer<'static>>;

pub(super) fn check(report: &mut Report, config: &EtcdConfig) {
    let ca_file = config.trusted_ca_file.as_ref().or(config.ca_file.as_ref());
    let ca = ca_file.and_then(|path| read(report, "Root CA", path)).unwrap_or_default();
    for der in &ca {
        show(report, "Root CA", der);
    }
    let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) else {
        if ca_file.is_none() {
            report.warn("Certificates", "none configured: the connection is not encrypted");
        }
        return;
    };
    let part = "Client certificate";
    let chain = read(report, part, cert).unwrap_or_default();
    for der in &chain {
        show(report, part, der);
    }
    if let Some(leaf) = chain.first() {
        match issued_by(leaf, &chain, &ca) {
            Ok(issuer) => report.good(part, format!("signed by {issuer}")),
            Err(error) => report.bad(part, error),
        }
    }
    match PrivateKeyDer::from_pem_file(key) {
        Ok(_) => report.good(part, format!("private key in {}", key.display())),
        Err(error) => report.bad(part, format!("private key in {}: {error}", key.display())),
    }
}

/// The first certificate that a server showed.
pub(super) fn server(report: &mut Report, part: &str, chain: &Ders) {
    if let Some(leaf) = chain.first() {
        show(report, part, leaf);
    }
}

fn read(report: &mut Report, part: &str, path: &Path) -> Option<Ders> {
    let found: Result<Ders, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if !found.is_empty() => Some(found),
        Ok(_) => {
            report.bad(part, format!("{} holds no certificate", path.display()));
            None
        }
        Err(error) => {
            report.bad(part, format!("{}: {error}", path.display()));
            None
        }
    }
}

fn show(report: &mut Report, part: &str, der: &CertificateDer<'_>) {
    let certificate = match X509Certificate::from_der(der) {
        Ok((_, certificate)) => certificate,
        Err(error) => return report.bad(part, format!("certificate cannot be read: {error}")),
    };
    let validity = certificate.validity();
    let text = format!(
        "serial {}, subject {:?}, issuer {:?}, valid from {} to {}",
        certificate.raw_serial_as_string(),
        certificate.subject().to_string(),
        certificate.issuer().to_string(),
        validity.not_before,
        validity.not_after
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let left = (validity.not_after.timestamp() - now) / 86_400;
    if validity.not_after.timestamp() < now {
        report.bad(part, format!("{text}: expired {} days ago", -left));
    } else if validity.not_before.timestamp() > now {
        report.bad(part, format!("{text}: not valid yet; is the clock right?"));
    } else if left < SOON {
        report.warn(part, format!("{text}: expires in {left} days"));
    } else {
        report.good(part, text);
    }
}

/// Who signed a certificate, out of its own chain and the root CA.
fn issued_by(leaf: &CertificateDer<'_>, chain: &Ders, ca: &Ders) -> Result<String, String> {
    let parse = |der: &CertificateDer<'_>| X509Certificate::from_der(der).map(|(_, one)| one.subject().to_string());
    let (_, mut at) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    // A chain is never longer than what it was given in.
    for _ in 0..=chain.len() {
        for der in ca {
            let Ok((_, root)) = X509Certificate::from_der(der) else { continue };
            if root.subject() == at.issuer() && at.verify_signature(Some(root.public_key())).is_ok() {
                return parse(der).map_err(|error| error.to_string());
            }
        }
        let next = chain.iter().filter_map(|der| X509Certificate::from_der(der).ok()).map(|(_, one)| one);
        let next = next.into_iter().find(|one| {
            one.subject() == at.issuer() && at.verify_signature(Some(one.public_key())).is_ok() && *one != at
        });
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    Err(format!(
        "issuer {:?} is not in the root CA file: the server trusts another CA, or the file is of another cluster",
        at.issuer().to_string()
    ))
}
