//! Where clients come in: a TCP address, or a Unix socket.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::Tls;

pub(super) trait Socket: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Socket for T {}

pub(super) type BoxedSocket = Pin<Box<dyn Socket>>;

/// What is served at a URL, and how.
#[derive(Clone, Default)]
pub(super) struct Manner {
    pub(super) tls: Option<Arc<Tls>>,
    /// Health and metrics, and nothing of what is stored.
    pub(super) only_pages: bool,
}

/// It does not wait, and belongs to no runtime yet.
pub(crate) struct Listener {
    bound: Bound,
    manner: Manner,
}

enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A listener that a runtime has.
pub(super) struct Open {
    listening: Listening,
    manner: Manner,
}

enum Listening {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A connection that no runtime has.
pub(super) struct Accepted {
    socket: Taken,
    manner: Manner,
}

enum Taken {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection of which nothing was read yet.
pub(super) struct Arrival {
    pub(super) socket: BoxedSocket,
    pub(super) manner: Manner,
}

/// A URL that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {url:?}: {rule}")]
    Url { url: String, rule: &'static str },
    #[error("cannot listen on {url}: {source}; choose another with --listen-client-urls")]
    Bind { url: String, source: io::Error },
    #[error("cannot listen on {url}: another server answers there")]
    Taken { url: String },
}

// === impl Listener ===

impl Listener {
    /// Listens on `http://ADDRESS:PORT`, `https://ADDRESS:PORT` or `unix://PATH`.
    ///
    /// # Errors
    /// When the URL is something else, or the place is taken.
    pub(crate) fn bind(url: &str, tls: Option<&Arc<Tls>>) -> Result<Self, ListenError> {
        let refuse = |rule| ListenError::Url { url: url.to_owned(), rule };
        let failed = |source| ListenError::Bind { url: url.to_owned(), source };
        if let Some(path) = url.strip_prefix("unix://") {
            let path = PathBuf::from(path);
            if path.as_os_str().is_empty() {
                return Err(refuse("a Unix socket is given as unix:///path/to/socket"));
            }
            if UnixStream::connect(&path).is_ok() {
                return Err(ListenError::Taken { url: url.to_owned() });
            }
            // Nobody answers there: a socket that is left is of a process that is gone.
            std::fs::remove_file(&path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(failed(error)),
            })?;
            let listener = UnixListener::bind(&path).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            return Ok(Self { bound: Bound::Unix(listener, path), manner: Manner::default() });
        }
        let (address, tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://"), tls) {
            (Some(address), ..) => (address, None),
            (_, Some(address), Some(tls)) => (address, Some(tls.clone())),
            (_, Some(_), None) => return Err(refuse("https:// needs --cert-file and --key-file, or --auto-tls")),
            _ => return Err(refuse("it must begin with http://, https:// or unix://")),
        };
        let address = address.trim_end_matches('/').replace("localhost", "127.0.0.1");
        let address: SocketAddr = address
            .parse()
            .map_err(|_| refuse("it must name an IP address and a port, as in http://127.0.0.1:2379"))?;
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { bound: Bound::Tcp(listener), manner: Manner { tls, only_pages: false } })
    }

    /// Serves nothing but health and metrics.
    pub(crate) fn only_pages(mut self) -> Self {
        self.manner.only_pages = true;
        self
    }

    pub(super) fn tls(&self) -> Option<&Arc<Tls>> {
        self.manner.tls.as_ref()
    }

    /// The URL at which clients reach it.
    pub(crate) fn url(&self) -> String {
        match &self.bound {
            Bound::Tcp(listener) => {
                let scheme = if self.manner.tls.is_some() { "https" } else { "http" };
                listener.local_addr().map(|address| format!("{scheme}://{address}")).unwrap_or_default()
            }
            Bound::Unix(_, path) => format!("unix://{}", path.display()),
        }
    }

    /// For the runtime that is entered.
    ///
    /// # Errors
    /// When there are too many files.
    pub(super) fn open(self) -> io::Result<Open> {
        let listening = match self.bound {
            Bound::Tcp(listener) => Listening::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Bound::Unix(listener, _) => Listening::Unix(tokio::net::UnixListener::from_std(listener)?),
        };
        Ok(Open { listening, manner: self.manner })
    }
}

// === impl Open ===

impl Open {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        let socket = match &self.listening {
            Listening::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Taken::Tcp(stream.into_std()?)
            }
            Listening::Unix(listener) => Taken::Unix(listener.accept().await?.0.into_std()?),
        };
        Ok(Accepted { socket, manner: self.manner.clone() })
    }
}

// === impl Accepted ===

impl Accepted {
    /// The socket, for the runtime that is entered.
    ///
    /// # Errors
    /// When there are too many of them.
    pub(super) fn open(self) -> io::Result<Arrival> {
        let socket: BoxedSocket = match self.socket {
            Taken::Tcp(stream) => Box::pin(tokio::net::TcpStream::from_std(stream)?),
            Taken::Unix(stream) => Box::pin(tokio::net::UnixStream::from_std(stream)?),
        };
        Ok(Arrival { socket, manner: self.manner })
    }
}
