//! Certificate files, looked at before a server sees them: what would fail in a handshake fails here, by file name.
//!
//! A handshake says "unknown certificate" on one side and nothing on the other; here the same fault has names and dates.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// No chain of certificates comes near it.
const MAX_FILE: u64 = 1 << 20;

/// What was read and found usable.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) ca: Option<String>,
    pub(crate) pair: Option<(String, String)>,
}

/// A file that cannot be used, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is no file of at most 1 MiB")]
    NoFile { path: PathBuf },
    #[error("{path} is DER, and PEM is needed: convert it with `openssl {tool} -inform der -in {path} -out FILE`")]
    Der { path: PathBuf, tool: &'static str },
    #[error("{path} holds no PEM block `-----BEGIN {wanted}-----`{found}")]
    NoBlock { path: PathBuf, wanted: &'static str, found: String },
    #[error("{path} is encrypted: decrypt it with `openssl pkey -in {path} -out FILE`")]
    Encrypted { path: PathBuf },
    #[error("{path} has mode {mode:04o}, and a private key must not be open to others: chmod 0600 {path}")]
    Open { path: PathBuf, mode: u32 },
    #[error("{path} holds a damaged {what}: {why}")]
    Damaged { path: PathBuf, what: &'static str, why: String },
    #[error("certificate {cert} does not match key {key}: they were not made together")]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("certificate {path} ({subject}) expired on {until}; now it is {now}: renew it")]
    Expired { path: PathBuf, subject: String, until: String, now: String },
    #[error("certificate {path} ({subject}) is not valid before {from}; now it is {now}: is the clock right?")]
    NotYet { path: PathBuf, subject: String, from: String, now: String },
    #[error(
        "certificate {path} ({subject}) is for {usage} only, and a client needs extended key usage clientAuth: have it \
         issued anew"
    )]
    Usage { path: PathBuf, subject: String, usage: String },
}

/// Reads and checks. The pair is a client's certificate and its key.
pub(crate) fn read(
    ca: Option<&Path>,
    pair: Option<(&Path, &Path)>,
    now: SystemTime,
) -> Result<Files, CertificateError> {
    let now = time(now);
    let ca = match ca {
        None => None,
        Some(path) => {
            let (text, chain) = certificates(path)?;
            for certificate in &chain {
                in_time(path, &parse(path, certificate)?, now)?;
            }
            Some(text)
        }
    };
    let pair = match pair {
        None => None,
        Some((cert, key)) => Some(client_pair(cert, key, now)?),
    };
    Ok(Files { ca, pair })
}

fn client_pair(cert: &Path, key: &Path, now: ASN1Time) -> Result<(String, String), CertificateError> {
    let (cert_text, chain) = certificates(cert)?;
    let (key_text, key_der) = private_key(key)?;
    let provider = rustls::crypto::ring::default_provider();
    let damaged =
        |what, why: rustls::Error| CertificateError::Damaged { path: key.to_owned(), what, why: why.to_string() };
    let signer = provider.key_provider.load_private_key(key_der).map_err(|why| damaged("private key", why))?;
    let certified = rustls::sign::CertifiedKey::new(chain.clone(), signer);
    match certified.keys_match() {
        // A key that cannot say its public half is judged by the server.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => return Err(CertificateError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }),
    }
    let leaf = parse(cert, &chain[0])?;
    in_time(cert, &leaf, now)?;
    if let Ok(Some(usage)) = leaf.extended_key_usage()
        && !(usage.value.client_auth || usage.value.any)
    {
        let usage = usage_text(usage.value);
        let subject = leaf.subject().to_string();
        return Err(CertificateError::Usage { path: cert.to_owned(), subject, usage });
    }
    Ok((cert_text, key_text))
}

fn usage_text(usage: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> String {
    let named =
        [(usage.server_auth, "serverAuth"), (usage.code_signing, "codeSigning"), (usage.email_protection, "email")];
    let named: Vec<&str> = named.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    if named.is_empty() { "other uses".to_owned() } else { named.join(", ") }
}

fn text(path: &Path, tool: &'static str) -> Result<String, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(CertificateError::NoFile { path: path.to_owned() });
    }
    let bytes = fs::read(path).map_err(failed)?;
    // A DER sequence of two length bytes, as every certificate and key is.
    if bytes.starts_with(&[0x30, 0x82]) || bytes.starts_with(&[0x30, 0x81]) {
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

/// What a server showed in a handshake that we would not have gone on with.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) server: Vec<CertificateDer<'static>>,
    /// Names of the authorities whose clients it takes.
    pub(crate) accepts: Vec<String>,
}

impl Shown {
    /// What is wrong with the server's certificate, for a client that dialled `host` and trusts `ca`.
    pub(crate) fn fault(&self, host: &str, ca: Option<(&Path, &str)>) -> Option<String> {
        let leaf = self.server.first()?;
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let (subject, now) = (certificate.subject(), ASN1Time::now());
        let validity = certificate.validity();
        if now > validity.not_after {
            let until = validity.not_after;
            return Some(format!("the server's certificate ({subject}) expired on {until}; now it is {now}"));
        }
        if now < validity.not_before {
            let from = validity.not_before;
            return Some(format!("the server's certificate ({subject}) is not valid before {from}; now it is {now}"));
        }
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).ok()?;
        let (path, text) = ca?;
        let mut roots = rustls::RootCertStore::empty();
        let authorities: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).flatten().collect();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().ok()?;
        let time = rustls::pki_types::UnixTime::now();
        use rustls::client::danger::ServerCertVerifier;
        match verifier.verify_server_cert(leaf, &self.server[1..], &name, &[], time).err()? {
            rustls::Error::InvalidCertificate(why) => Some(match why {
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature => {
                    let trusted: Vec<String> = authorities.iter().filter_map(|der| subject_of(der)).collect();
                    let (issuer, trusted) = (certificate.issuer(), trusted.join("; "));
                    let path = path.display();
                    format!(
                        "the server's certificate ({subject}) was issued by {issuer}, and trusted-ca-file {path} holds \
                         {trusted}"
                    )
                }
                rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. } => {
                    let names = names(&certificate).join(", ");
                    format!("the server's certificate ({subject}) is for {names}, and the endpoint says {host}")
                }
                other => format!("the server's certificate ({subject}) cannot be used: {}", Printed(&other)),
            }),
            _ => None,
        }
    }
}

/// Subject of a certificate.
pub(crate) fn subject_of(der: &CertificateDer<'_>) -> Option<String> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate.subject().to_string())
}

/// Subject and issuer of the first certificate of a PEM text.
pub(crate) fn subject_and_issuer(pem: &str) -> Option<(String, String)> {
    let der = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().next()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some((certificate.subject().to_string(), certificate.issuer().to_string()))
}

/// A distinguished name of a server's list of authorities.
pub(crate) fn name_text(der: &[u8]) -> Option<String> {
    x509_parser::x509::X509Name::from_der(der).ok().map(|(_, name)| name.to_string())
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let listed = certificate.subject_alternative_name().ok().flatten();
    let names = listed.iter().flat_map(|list| &list.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        },
        _ => None,
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() { vec!["no name".to_owned()] } else { names }
}

struct Printed<'a>(&'a rustls::CertificateError);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A certificate and its key, valid from a day before to a day after now.
    fn make(folder: &Path, name: &str, usage: Option<ExtendedKeyUsagePurpose>) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + DAY).into();
        params.extended_key_usages.extend(usage);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let (cert_path, key_path) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        fs::write(&cert_path, cert.pem()).unwrap();
        fs::write(folder.join(format!("{name}.der")), cert.der()).unwrap();
        fs::write(&key_path, key.serialize_pem()).unwrap();
        fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).unwrap();
        (cert_path, key_path)
    }

    #[test]
    fn each_fault_of_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (good, good_key) = make(folder, "good", Some(ExtendedKeyUsagePurpose::ClientAuth));
        let (server, server_key) = make(folder, "server", Some(ExtendedKeyUsagePurpose::ServerAuth));
        let check = |cert: &Path, key: &Path, now: SystemTime, expected: &str| {
            let got = read(Some(&good), Some((cert, key)), now).map(drop);
            let got = got.map_or_else(|error| crate::chain(&error), |()| "ok".to_owned());
            assert!(got.contains(expected), "{got:?} lacks {expected:?}");
        };
        let now = SystemTime::now();
        check(&good, &good_key, now, "ok");
        check(&good, &server_key, now, "good.crt does not match key");
        check(&server, &server_key, now, "serverAuth only");
        check(&good, &good_key, now + 3 * DAY, "expired on ");
        check(&good, &good_key, now - 3 * DAY, "is not valid before ");
        check(&folder.join("good.der"), &good_key, now, "is DER");
        check(&good_key, &good, now, "but PRIVATE KEY: is it the right file?");
        check(&good, &good, now, "BEGIN PRIVATE KEY");
        check(folder, &good_key, now, "is no file");
        check(&folder.join("none"), &good_key, now, "cannot read");
        let variant = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        check(
            &good,
            &variant("pw", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----"),
            now,
            "is encrypted",
        );
        check(
            &variant("cut", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"),
            &good_key,
            now,
            "damaged certificate",
        );
        fs::set_permissions(&good_key, fs::Permissions::from_mode(0o644)).unwrap();
        check(&good, &good_key, now, "mode 0644");
        fs::set_permissions(&good_key, fs::Permissions::from_mode(0o640)).unwrap();
        check(&good, &good_key, now, "ok");
    }
}
