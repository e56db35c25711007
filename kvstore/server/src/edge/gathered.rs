//! A socket that is written to as late as it may be. HTTP/2's library hands a message of some hundred bytes over by
//! itself when a socket takes several buffers at once, which cost a system call for each event of a watch and each small
//! answer; it gathers them for a socket that takes one, and what it then writes in two parts is joined here.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};

/// A frame's head and a message that the library does not copy go together up to here; larger ones go as they are.
const JOINED_BYTES: usize = 4 << 10;

pub(super) struct Gathered<S>(BufWriter<S>);

// === impl Gathered ===

impl<S: AsyncWrite> Gathered<S> {
    pub(super) fn new(socket: S) -> Self {
        Self(BufWriter::with_capacity(JOINED_BYTES, socket))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, into)
    }
}

/// Not vectored, which is the default.
impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}
