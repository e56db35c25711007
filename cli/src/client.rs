//! Calls of the agent's local API.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Where the agent is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Socket {
    /// Socket of the agent's local API
    #[arg(long, short = 'H', global = true, env = "CAUSEWAY_SOCK", default_value = api::paths::SOCKET)]
    pub(crate) socket_path: PathBuf,
}

impl Socket {
    /// `GET path` as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let bytes = self.bytes(path).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("understand what the agent answers to GET {path}"))
    }

    /// `GET path` as text.
    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(path).await?).into_owned())
    }

    /// The socket of events, beside that of the API.
    pub(crate) fn monitor(&self) -> PathBuf {
        self.socket_path.with_file_name(api::paths::MONITOR_SOCKET)
    }

    async fn bytes(&self, path: &str) -> Result<Bytes> {
        let stream = connect(&self.socket_path).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
        // The connection moves the bytes of the one request; both end together.
        let call = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((status, body))
        };
        let (status, body) = tokio::select! {
            done = call => done.with_context(|| format!("GET {path}"))?,
            Err(error) = connection => return Err(error).with_context(|| format!("GET {path}")),
        };
        if !status.is_success() {
            let message = serde_json::from_slice::<api::Error>(&body).map(|error| error.message);
            bail!("{}", message.unwrap_or_else(|_| format!("the agent answers {status} to GET {path}")));
        }
        Ok(body)
    }
}

/// A value of a query, percent-encoded.
pub(crate) fn encode(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Opens a socket of the agent.
pub(crate) async fn connect(path: &Path) -> Result<UnixStream> {
    UnixStream::connect(path).await.with_context(|| {
        format!("reach the agent at {}: is it running? --socket-path and CAUSEWAY_SOCK choose another", path.display())
    })
}
