//! How a connection to one of the endpoints is made: names looked up, files read and certificates shown anew each time.
//!
//! ```text
//!   a connection is needed ──> endpoint after the last one that took us ──> the one after it ──> ... ──> all failed
//! ```
//! One connection at a time carries everything. When it ends, the next endpoint is asked first, so that a server which
//! accepts and then says nothing costs one time-out and not every second request.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::stream::Stream;
use crate::{
    ConfigError, EtcdConfig,
    config::{Address, Files},
};

/// Of one endpoint, its handshake included: over a link of two seconds a handshake takes four.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Keep-alive on the connection: a question after so long a silence, and how long its answer may take. Cilium's 15 s and
/// 25 s leave a connection over a link that was cut for half a minute dead for as long again, because TCP backs off. More
/// often than every 5 s etcd takes for an attack.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(4));

/// Clones share where the next connection begins.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    config: EtcdConfig,
    /// In the order in which they are asked.
    endpoints: Vec<(String, Address)>,
    /// The endpoint that is asked first.
    next: AtomicUsize,
    /// What the files said when they were last in order.
    tls: Mutex<Option<Arc<ClientConfig>>>,
}

// === impl Connector ===

impl Connector {
    /// Nothing is connected yet, but the files must be in order.
    pub(super) fn new(config: &EtcdConfig) -> Result<Self, ConfigError> {
        let files = config.certificates(runtime::wall())?;
        let mut endpoints: Vec<_> =
            config.endpoints.iter().map(|endpoint| (endpoint.clone(), Address::of(endpoint))).collect();
        rand::seq::SliceRandom::shuffle(endpoints.as_mut_slice(), &mut rand::rng());
        let tls = files.map(|files| client_config(files).map(Arc::new)).transpose()?;
        let inner = Inner { config: config.clone(), endpoints, next: AtomicUsize::new(0), tls: Mutex::new(tls) };
        Ok(Self(Arc::new(inner)))
    }

    pub(super) fn endpoints(&self) -> Vec<String> {
        self.0.config.endpoints.clone()
    }

    pub(super) fn is_tls(&self) -> bool {
        self.0.tls.lock().is_some()
    }

    /// A channel that connects when it is first used, and again whenever its connection ended.
    pub(super) fn channel(&self) -> Channel {
        let config = &self.0.config;
        // Servers see this name where they look at it at all; which one we are connected to may change.
        let authority = match self.0.endpoints.first() {
            Some((_, Address::Tcp { authority, .. })) => authority.as_str(),
            _ => "localhost",
        };
        let scheme = if self.is_tls() { "https" } else { "http" };
        let origin = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
        // The connector does TLS itself: the channel shall not know of it.
        let mut endpoint = Endpoint::from_static("http://etcd")
            .keep_alive_while_idle(true)
            .http2_keep_alive_interval(config.keep_alive_time.unwrap_or(KEEP_ALIVE.0))
            .keep_alive_timeout(config.keep_alive_timeout.unwrap_or(KEEP_ALIVE.1));
        if let Ok(origin) = origin {
            endpoint = endpoint.origin(origin);
        }
        endpoint.connect_with_connector_lazy(self.clone())
    }

    /// Asks each endpoint once, beginning after the one that took us last.
    async fn connect(self) -> io::Result<Stream> {
        let inner = &self.0;
        let (count, first) = (inner.endpoints.len(), inner.next.load(Ordering::Relaxed));
        let mut failed = Vec::new();
        for step in 0..count {
            let at = (first + step) % count;
            let (name, address) = &inner.endpoints[at];
            let error = match timeout(CONNECT_TIMEOUT, inner.dial(address)).await {
                Ok(Ok(stream)) => {
                    inner.next.store(at + 1, Ordering::Relaxed);
                    return Ok(stream);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no connection within {CONNECT_TIMEOUT:?}"),
            };
            failed.push(format!("{name}: {error}"));
        }
        Err(io::Error::other(failed.join("; ")))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}

// === impl Inner ===

impl Inner {
    async fn dial(&self, address: &Address) -> io::Result<Stream> {
        let (authority, host) = match address {
            Address::Unix(path) => return Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Address::Tcp { authority, host } => (authority, host),
        };
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let known = self.tls.lock().clone();
        let Some(known) = known else { return Ok(Stream::Tcp(stream)) };
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let tls = TlsConnector::from(self.files(known).await).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    /// What the files say now; what they said before, while they are being exchanged.
    async fn files(&self, known: Arc<ClientConfig>) -> Arc<ClientConfig> {
        let config = self.config.clone();
        let read =
            tokio::task::spawn_blocking(move || config.certificates(runtime::wall())?.map(client_config).transpose());
        match read.await {
            Ok(Ok(Some(fresh))) => {
                let fresh = Arc::new(fresh);
                *self.tls.lock() = Some(Arc::clone(&fresh));
                fresh
            }
            Ok(Err(error)) => {
                let error = crate::error::chain(&error);
                tracing::warn!(error, "certificate files are not in order: connecting with those of before");
                known
            }
            // The read was aborted with its runtime.
            Ok(Ok(None)) | Err(_) => known,
        }
    }
}

fn client_config(files: Files) -> Result<ClientConfig, ConfigError> {
    let unusable = |why: rustls::Error| ConfigError::Tls { why: why.to_string() };
    let mut roots = RootCertStore::empty();
    for certificate in files.ca.into_iter().flat_map(|ca| ca.certificates) {
        roots.add(certificate).map_err(unusable)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?.with_root_certificates(roots);
    let mut config = match files.pair {
        Some(pair) => builder.with_client_auth_cert(pair.chain, pair.key).map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
