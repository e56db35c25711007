//! Where clients come in: a TCP address, or a Unix socket.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    pin::Pin,
};

use tokio::io::{AsyncRead, AsyncWrite};

pub(super) trait Socket: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Socket for T {}

/// It does not wait, and belongs to no runtime yet.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A listener that a runtime has.
pub(super) enum Open {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A connection that no runtime has.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
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
    /// Listens on `http://ADDRESS:PORT` or `unix://PATH`.
    ///
    /// # Errors
    /// When the URL is something else, or the place is taken.
    pub(crate) fn bind(url: &str) -> Result<Self, ListenError> {
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
            return Ok(Self::Unix(listener, path));
        }
        if url.starts_with("https://") {
            return Err(refuse("TLS is not built yet; use http:// on loopback, or unix://"));
        }
        let address = url.strip_prefix("http://").ok_or_else(|| refuse("it must begin with http:// or unix://"))?;
        let address = address.trim_end_matches('/').replace("localhost", "127.0.0.1");
        let address: SocketAddr = address
            .parse()
            .map_err(|_| refuse("it must name an IP address and a port, as in http://127.0.0.1:2379"))?;
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self::Tcp(listener))
    }

    /// The URL at which clients reach it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default(),
            Self::Unix(_, path) => format!("unix://{}", path.display()),
        }
    }

    /// For the runtime that is entered.
    ///
    /// # Errors
    /// When there are too many files.
    pub(super) fn open(self) -> io::Result<Open> {
        Ok(match self {
            Self::Tcp(listener) => Open::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Unix(listener, _) => Open::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }
}

// === impl Open ===

impl Open {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Accepted::Tcp(stream.into_std()?)
            }
            Self::Unix(listener) => Accepted::Unix(listener.accept().await?.0.into_std()?),
        })
    }
}

// === impl Accepted ===

impl Accepted {
    /// The socket, for the runtime that is entered.
    ///
    /// # Errors
    /// When there are too many of them.
    pub(super) fn open(self) -> io::Result<Pin<Box<dyn Socket>>> {
        Ok(match self {
            Self::Tcp(stream) => Box::pin(tokio::net::TcpStream::from_std(stream)?),
            Self::Unix(stream) => Box::pin(tokio::net::UnixStream::from_std(stream)?),
        })
    }
}
