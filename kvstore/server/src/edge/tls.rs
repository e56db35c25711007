//! TLS for clients: what is shown to them, whom they must be, and how a handshake goes.
//!
//! ```text
//!  files ──Identity::load──> Identity ──one ServerConfig a handshake──> stream, and who the client is
//!    ^ looked at before each handshake and now and then; bad new ones: the old ones stay, the log and a metric say so
//! ```
//! Nothing of a handshake is remembered for a later one: whoever was revoked meanwhile is refused.

mod auto;
mod common_name;
mod identity;
mod options;
mod refusal;
mod watched;
mod witness;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    pki_types::ServerName,
    server::{NoServerSessionStorage, ParsedCertificate},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Peer, listener::BoxedSocket};
use crate::metrics::Connections;
use identity::Identity;
use watched::Watched;
use witness::Witness;

pub(crate) use auto::generate;
pub use options::{TlsConfig, TlsError, TlsVersion};
pub(crate) use refusal::REASONS;
pub(super) use refusal::Refusal;

/// What HTTP/2 is called in a handshake. Small pages are also read by programs that know only HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

const LOOK: Duration = Duration::from_secs(10);

pub(crate) struct Tls {
    config: TlsConfig,
    identity: ArcSwap<Identity>,
    watched: Mutex<Watched>,
    metrics: Connections,
}

// === impl Tls ===

impl Tls {
    /// # Errors
    /// A file that cannot be used, or a setting that cannot be honoured.
    pub(crate) fn new(config: TlsConfig, metrics: Connections) -> Result<Self, TlsError> {
        let watched = Watched::new(config.files());
        let identity = Identity::load(&config, SystemTime::now())?;
        metrics.certificate_expires(identity.expires_secs);
        Ok(Self { identity: ArcSwap::from_pointee(identity), watched: Mutex::new(watched), config, metrics })
    }

    /// Takes over files that changed since they were last looked at.
    pub(crate) fn look(&self) {
        let Some(mut watched) = self.watched.try_lock() else { return };
        if !watched.changed() {
            return;
        }
        match Identity::load(&self.config, SystemTime::now()) {
            Ok(identity) => {
                tracing::info!(cert = %self.config.cert_file.display(), "certificate files changed and are used");
                self.metrics.reloaded(true);
                self.metrics.certificate_expires(identity.expires_secs);
                self.identity.store(Arc::new(identity));
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "certificate files changed and cannot be used: the old ones stay in use");
                self.metrics.reloaded(false);
            }
        }
    }

    /// Whether the certificate is for this host.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        let identity = self.identity.load();
        let leaf = identity.certified.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
        let name = ServerName::try_from(host.to_owned());
        leaf.zip(name.ok()).is_some_and(|(leaf, name)| rustls::client::verify_server_name(&leaf, &name).is_ok())
    }

    /// The names that the certificate is for.
    pub(crate) fn names(&self) -> Vec<String> {
        self.identity.load().names.clone()
    }

    /// A whole handshake.
    ///
    /// # Errors
    /// Why there is none, as a sentence that names whose certificate and which rule.
    pub(super) async fn accept(&self, socket: BoxedSocket) -> Result<(TlsStream<BoxedSocket>, Peer), Refusal> {
        self.look();
        let identity = self.identity.load_full();
        let witness = Arc::new(Witness::new(identity.clients.clone(), &self.config.allowed_hostnames));
        let config = identity.server_config(&witness)?;
        let stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await;
        let stream = stream.map_err(|error| witness.refusal(&error, &identity))?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let common_name = leaf.and_then(common_name::common_name).map(Arc::from);
        Ok((stream, Peer { common_name, ..Peer::default() }))
    }
}

/// A server that nobody connects to shall also say that its new files cannot be used.
pub(crate) async fn watch_files(tls: Arc<Tls>) {
    loop {
        tokio::time::sleep(LOOK).await;
        tls.look();
    }
}

impl Identity {
    fn server_config(&self, witness: &Arc<Witness>) -> Result<ServerConfig, Refusal> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone()).with_protocol_versions(&self.versions);
        let builder = builder.map_err(Refusal::ours)?;
        let builder = match self.clients {
            Some(_) => builder.with_client_cert_verifier(witness.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config =
            builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(self.certified.clone())));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
