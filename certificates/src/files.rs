//! Files of certificates and keys, read and checked as if they were about to be used.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{ASN1Time, ExtendedKeyUsage, FromDer, X509Certificate};

use crate::CertificateError;

/// No chain of certificates comes near it.
const MAX_FILE: u64 = 1 << 20;

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Client,
    Server,
}

/// A certificate with its chain, and its key.
#[derive(Debug)]
pub struct Pair {
    pub cert_text: String,
    pub key_text: String,
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// Whose certificates are believed.
#[derive(Debug)]
pub struct Authorities {
    pub text: String,
    pub certificates: Vec<CertificateDer<'static>>,
}

// === impl Pair ===

impl Pair {
    /// Reads a chain and its key, and checks that they belong together, hold now, and are for this purpose.
    ///
    /// # Errors
    /// What is wrong, by file.
    pub fn read(cert: &Path, key: &Path, purpose: Purpose, now: SystemTime) -> Result<Self, CertificateError> {
        let now = time(now);
        let (cert_text, chain) = certificates(cert)?;
        let (key_text, key_der) = private_key(key)?;
        let provider = rustls::crypto::ring::default_provider();
        let damaged =
            |what, why: rustls::Error| CertificateError::Damaged { path: key.to_owned(), what, why: why.to_string() };
        let signer =
            provider.key_provider.load_private_key(key_der.clone_key()).map_err(|why| damaged("private key", why))?;
        let certified = rustls::sign::CertifiedKey::new(chain.clone(), signer);
        match certified.keys_match() {
            // A key that cannot say its public half is judged by the server.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(CertificateError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }),
        }
        let leaf = parse(cert, &chain[0])?;
        in_time(cert, &leaf, now)?;
        if let Ok(Some(usage)) = leaf.extended_key_usage()
            && !(usage.value.any || purpose.is_served_by(usage.value))
        {
            let usage = usage_text(usage.value);
            let subject = leaf.subject().to_string();
            return Err(CertificateError::Usage { path: cert.to_owned(), subject, usage, purpose });
        }
        Ok(Self { cert_text, key_text, chain, key: key_der })
    }
}

// === impl Authorities ===

impl Authorities {
    /// Reads a file of authorities, each of which must hold now.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path, now: SystemTime) -> Result<Self, CertificateError> {
        let (text, certificates) = certificates(path)?;
        for certificate in &certificates {
            in_time(path, &parse(path, certificate)?, time(now))?;
        }
        Ok(Self { text, certificates })
    }
}

/// A list of revoked certificates, PEM or DER as etcd takes both.
///
/// # Errors
/// What is wrong with the file.
pub fn revocations(path: &Path) -> Result<CertificateRevocationListDer<'static>, CertificateError> {
    let bytes = bytes(path)?;
    let damaged = |why: String| CertificateError::Revocations { path: path.to_owned(), why };
    let list = if is_der(&bytes) {
        CertificateRevocationListDer::from(bytes)
    } else {
        CertificateRevocationListDer::from_pem_slice(&bytes).map_err(|why| damaged(why.to_string()))?
    };
    x509_parser::revocation_list::CertificateRevocationList::from_der(&list).map_err(|why| damaged(why.to_string()))?;
    Ok(list)
}

// === impl Purpose ===

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "a client needs extended key usage clientAuth",
            Self::Server => "a server needs extended key usage serverAuth",
        })
    }
}

impl Purpose {
    fn is_served_by(self, usage: &ExtendedKeyUsage<'_>) -> bool {
        match self {
            Self::Client => usage.client_auth,
            Self::Server => usage.server_auth,
        }
    }
}

/// What a certificate may be used for, by its extended key usage.
pub fn usage_of(certificate: &X509Certificate<'_>) -> String {
    let usage = certificate.extended_key_usage().ok().flatten();
    usage.map_or_else(|| "any use".to_owned(), |usage| usage_text(usage.value))
}

fn usage_text(usage: &ExtendedKeyUsage<'_>) -> String {
    let named = [
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "email"),
    ];
    let named: Vec<&str> = named.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    if named.is_empty() { "other uses".to_owned() } else { named.join(", ") }
}

fn bytes(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(CertificateError::NoFile { path: path.to_owned() });
    }
    fs::read(path).map_err(failed)
}

/// A DER sequence of two length bytes, as every certificate and key is.
fn is_der(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x30, 0x82]) || bytes.starts_with(&[0x30, 0x81])
}

fn text(path: &Path, tool: &'static str) -> Result<String, CertificateError> {
    let bytes = bytes(path)?;
    if is_der(&bytes) {
        return Err(CertificateError::Der { path: path.to_owned(), tool });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn certificates(path: &Path) -> Result<(String, Vec<CertificateDer<'static>>), CertificateError> {
    let text = text(path, "x509")?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let chain = chain.map_err(|why| CertificateError::Damaged {
        path: path.to_owned(),
        what: "PEM block",
        why: why.to_string(),
    })?;
    if chain.is_empty() {
        return Err(no_block(path, "CERTIFICATE", &text));
    }
    for certificate in &chain {
        parse(path, certificate)?;
    }
    Ok((text, chain))
}

fn private_key(path: &Path) -> Result<(String, PrivateKeyDer<'static>), CertificateError> {
    let text = text(path, "pkey")?;
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(CertificateError::Encrypted { path: path.to_owned() });
    }
    let key = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => key,
        Err(rustls::pki_types::pem::Error::NoItemsFound) => return Err(no_block(path, "PRIVATE KEY", &text)),
        Err(why) => {
            let why = why.to_string();
            return Err(CertificateError::Damaged { path: path.to_owned(), what: "PEM block", why });
        }
    };
    let metadata = fs::metadata(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })?;
    let mode = metadata.mode() & 0o7777;
    // A group may read it: that is how volumes hand secrets to processes that are not root.
    if mode & 0o027 != 0 {
        return Err(CertificateError::Open { path: path.to_owned(), mode });
    }
    Ok((text, key))
}

fn no_block(path: &Path, wanted: &'static str, text: &str) -> CertificateError {
    let found = text.lines().find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let found = found.map(|label| format!(", but {label}: is it the right file?")).unwrap_or_default();
    CertificateError::NoBlock { path: path.to_owned(), wanted, found }
}

fn parse<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    let damaged = |why: String| CertificateError::Damaged { path: path.to_owned(), what: "certificate", why };
    X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|why| damaged(why.to_string()))
}

fn in_time(path: &Path, certificate: &X509Certificate<'_>, now: ASN1Time) -> Result<(), CertificateError> {
    let validity = certificate.validity();
    let (path, subject, shown) = (path.to_owned(), certificate.subject().to_string(), now.to_string());
    if now > validity.not_after {
        return Err(CertificateError::Expired { path, subject, until: validity.not_after.to_string(), now: shown });
    }
    if now < validity.not_before {
        return Err(CertificateError::NotYet { path, subject, from: validity.not_before.to_string(), now: shown });
    }
    Ok(())
}

fn time(at: SystemTime) -> ASN1Time {
    let secs = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    ASN1Time::from_timestamp(i64::try_from(secs).unwrap_or(i64::MAX)).unwrap_or_else(|_| ASN1Time::now())
}

#[cfg(test)]
mod tests;
