//! What the files say: our certificate, and whose clients are taken.

use std::{sync::Arc, time::SystemTime};

use certificates::{Authorities, Pair, Purpose, revocations};
use rustls::{
    RootCertStore, SupportedProtocolVersion,
    crypto::CryptoProvider,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::options::{TlsConfig, TlsError};

#[derive(Debug)]
pub(super) struct Identity {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) certified: Arc<CertifiedKey>,
    /// `None`: anybody.
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
    /// The authorities' names, for saying what was expected.
    pub(super) authorities: Vec<String>,
    /// The names that our certificate is for.
    pub(super) names: Vec<String>,
    /// Since the epoch.
    pub(super) expires_secs: i64,
}

// === impl Identity ===

impl Identity {
    /// # Errors
    /// A file that cannot be used, or a setting that cannot be honoured.
    pub(super) fn load(config: &TlsConfig, now: SystemTime) -> Result<Self, TlsError> {
        let provider = Arc::new(config.provider()?);
        let versions = config.versions()?;
        let pair = Pair::read(&config.cert_file, &config.key_file, Purpose::Server, now)?;
        let (names, expires_secs) = match X509Certificate::from_der(&pair.chain[0]) {
            Ok((_, leaf)) => (certificates::names_of(&leaf), leaf.validity().not_after.timestamp()),
            Err(_) => (Vec::new(), 0),
        };
        let key = provider.key_provider.load_private_key(pair.key).map_err(TlsError::Unusable)?;
        let certified = Arc::new(CertifiedKey::new(pair.chain, key));
        let (mut clients, mut authorities) = (None, Vec::new());
        if let Some(path) = &config.trusted_ca_file {
            let trusted = Authorities::read(path, now)?;
            authorities = trusted.certificates.iter().filter_map(certificates::subject_of).collect();
            clients = Some(verifier(config, trusted, &provider)?);
        }
        Ok(Self { provider, versions, certified, clients, authorities, names, expires_secs })
    }
}

fn verifier(
    config: &TlsConfig,
    trusted: Authorities,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in trusted.certificates {
        roots.add(authority).map_err(TlsError::Unusable)?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if let Some(path) = &config.client_crl_file {
        // A list says who is revoked, and nothing of clients of other authorities, as in etcd.
        builder = builder.with_crls([revocations(path)?]).allow_unknown_revocation_status();
    }
    builder.build().map_err(|why| TlsError::Authorities(why.to_string()))
}
