//! The bytes by which a connection says what it speaks: they are read under a deadline, and given again to who serves it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::metrics::Connections;

/// How HTTP/2 begins, RFC 9113, 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes are known.
pub(in crate::edge) struct Begun<S> {
    first: [u8; PREFACE.len()],
    filled: usize,
    given: usize,
    socket: S,
    metrics: Option<Connections>,
}

/// Reads until it is clear which protocol it is: HTTP/2's whole preface, or something else.
pub(super) async fn read<S: AsyncRead + Unpin>(mut socket: S) -> io::Result<Begun<S>> {
    let (mut first, mut filled) = ([0; PREFACE.len()], 0);
    while filled < first.len() && first[..filled] == PREFACE[..filled] {
        match socket.read(&mut first[filled..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(Begun { first, filled, given: 0, socket, metrics: None })
}

// === impl Begun ===

impl<S> Begun<S> {
    /// What it says and hears is counted.
    pub(super) fn counted(mut self, metrics: Connections) -> Self {
        metrics.received(self.filled);
        self.metrics = Some(metrics);
        self
    }

    fn sent(&self, written: &Poll<io::Result<usize>>) {
        if let (Some(metrics), Poll::Ready(Ok(written))) = (&self.metrics, written) {
            metrics.sent(*written);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given < self.filled {
            let rest = &self.first[self.given..self.filled];
            let taken = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..taken]);
            self.given += taken;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buf);
        if let Some(metrics) = &self.metrics {
            metrics.received(buf.filled().len() - before);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, buf);
        self.sent(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, bufs);
        self.sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What was looked at is read again, however it came.
    #[tokio::test]
    async fn the_first_bytes_are_given_again() {
        for pieces in
            [vec!["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "rest"], vec!["P", "RI * HT", "TP/1"], vec!["GET / HTTP/1.1"]]
        {
            let (mut client, server) = tokio::io::duplex(64);
            let sent = pieces.concat();
            let sending = async {
                for piece in pieces {
                    client.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
                drop(client);
            };
            let (begun, ()) = tokio::join!(read(server), sending);
            let mut got = String::new();
            begun.unwrap().read_to_string(&mut got).await.unwrap();
            assert_eq!(got, sent);
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_before_it_spoke_is_none() {
        let (client, server) = tokio::io::duplex(64);
        drop(client);
        assert!(read(server).await.is_err());
    }
}
