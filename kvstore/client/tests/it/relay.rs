//! A place between client and server: what came over it, and how connections end.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixListener},
    sync::Notify,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// Shared by the relay's future and the test.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    /// The client's certificate of each handshake.
    pub(crate) certificates: Mutex<Vec<Vec<u8>>>,
    cut: Notify,
}

impl Seen {
    /// Ends every connection; new ones are taken.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Ends TLS and passes the rest on to `to`.
pub(crate) async fn tls(listener: TcpListener, acceptor: TlsAcceptor, to: String, seen: Arc<Seen>) {
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, to, seen) = (acceptor.clone(), to.clone(), Arc::clone(&seen));
        open.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let leaf = chain.first().map(|der| der.to_vec()).unwrap_or_default();
            seen.certificates.lock().push(leaf);
            pass(stream, to, seen).await;
        });
    }
}

/// Passes on what comes over a socket file.
pub(crate) async fn unix(path: &Path, to: String, seen: Arc<Seen>) {
    let listener = UnixListener::bind(path).unwrap();
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        open.spawn(pass(stream, to.clone(), Arc::clone(&seen)));
    }
}

/// Takes connections and never says a word.
pub(crate) async fn silent(listener: TcpListener, seen: Arc<Seen>) {
    let mut open = Vec::new();
    loop {
        open.push(listener.accept().await.unwrap());
        seen.connections.fetch_add(1, Ordering::Relaxed);
    }
}

async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, to: String, seen: Arc<Seen>) {
    seen.connections.fetch_add(1, Ordering::Relaxed);
    let mut server = TcpStream::connect(to).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut server) => {}
        () = seen.cut.notified() => {}
    }
}
