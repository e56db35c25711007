//! How clients are served at `https://` URLs. Names are etcd's.

use std::path::PathBuf;

use certificates::CertificateError;
use rustls::{CipherSuite, SupportedProtocolVersion, crypto::CryptoProvider};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

#[derive(Debug, Clone)]
pub struct TlsConfig {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// With it every client must show a certificate of these authorities, as in etcd.
    pub trusted_ca_file: Option<PathBuf>,
    /// Certificates that these authorities took back.
    pub client_crl_file: Option<PathBuf>,
    /// A client's certificate must be for one of them; empty: any.
    pub allowed_hostnames: Vec<String>,
    /// By their names in Go; empty: all that we have. TLS 1.3's are left in when none of them is named, as in Go.
    pub cipher_suites: Vec<String>,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    File(#[from] CertificateError),
    #[error("--cipher-suites: {name:?} is not one that this store has: {known}")]
    Suite { name: String, known: String },
    #[error("--tls-min-version is newer than --tls-max-version: no client could connect")]
    Versions,
    #[error("--cipher-suites names only suites of TLS 1.3, and --tls-max-version is TLS1.2: name one of TLS 1.2 too")]
    NoSuite,
    #[error("the certificate and the authorities cannot be used")]
    Unusable(#[source] rustls::Error),
    #[error("the authorities of trusted-ca-file cannot be used: {0}")]
    Authorities(String),
    #[error("a certificate for --auto-tls cannot be made in {folder}: {why}")]
    Auto { folder: PathBuf, why: String },
}

// === impl TlsConfig ===

impl TlsConfig {
    /// As etcd has it by default.
    pub fn new(cert_file: PathBuf, key_file: PathBuf) -> Self {
        Self {
            cert_file,
            key_file,
            trusted_ca_file: None,
            client_crl_file: None,
            allowed_hostnames: Vec::new(),
            cipher_suites: Vec::new(),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
        }
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let optional = [&self.trusted_ca_file, &self.client_crl_file];
        [&self.cert_file, &self.key_file].into_iter().chain(optional.into_iter().flatten()).cloned().collect()
    }

    pub(super) fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
        let all = [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)];
        let asked = self.min_version..=self.max_version;
        let versions: Vec<_> = all.iter().filter(|(version, _)| asked.contains(version)).map(|(_, one)| *one).collect();
        if versions.is_empty() { Err(TlsError::Versions) } else { Ok(versions) }
    }

    pub(super) fn provider(&self) -> Result<CryptoProvider, TlsError> {
        let mut provider = rustls::crypto::ring::default_provider();
        if self.cipher_suites.is_empty() {
            return Ok(provider);
        }
        let mut wanted = Vec::new();
        for name in &self.cipher_suites {
            let suite = provider.cipher_suites.iter().map(|suite| suite.suite()).find(|suite| is_named(*suite, name));
            let known =
                || provider.cipher_suites.iter().map(|suite| go_name(suite.suite())).collect::<Vec<_>>().join(", ");
            wanted.push(suite.ok_or_else(|| TlsError::Suite { name: name.clone(), known: known() })?);
        }
        let names_new = provider.cipher_suites.iter().any(|one| one.tls13().is_some() && wanted.contains(&one.suite()));
        let stays =
            |one: &rustls::SupportedCipherSuite| wanted.contains(&one.suite()) || (one.tls13().is_some() && !names_new);
        provider.cipher_suites.retain(stays);
        if self.max_version == TlsVersion::Tls12 && provider.cipher_suites.iter().all(|one| one.tls13().is_some()) {
            return Err(TlsError::NoSuite);
        }
        Ok(provider)
    }
}

/// TLS 1.3's have another prefix in rustls, and Go has two names for one of TLS 1.2's.
fn go_name(suite: CipherSuite) -> String {
    format!("{suite:?}").replacen("TLS13_", "TLS_", 1)
}

fn is_named(suite: CipherSuite, name: &str) -> bool {
    let known = go_name(suite);
    known == name || known.strip_suffix("_SHA256") == Some(name) && name.ends_with("CHACHA20_POLY1305")
}
