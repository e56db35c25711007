//! Calls without a general codec: unary ones, and what watches are sent. Profiles of Range, Put and Txn showed half of a
//! call's cost in moving tonic's stream state about, which one message does not need, and those of a watch with many
//! readers a third of it in copying what they share; what is compressed still goes that way.
//!
//! Source: gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): a byte that says whether the message is compressed, its length
//! in four, the message; the status is in the trailers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tonic::Status;

use super::{
    Served, grpc,
    outbox::Messages,
    principal,
    unary::{self, Method},
};

pub(super) const PREFIX: usize = 5;
/// A larger answer is not copied behind its prefix.
const COPIED: usize = 16 << 10;

/// What is sent: an answer with its status behind it, or anything that somebody else made.
pub(super) enum Body {
    Answer { prefix: Bytes, message: Bytes, done: bool },
    Watch { messages: Messages, done: bool },
    Other(tonic::body::Body),
}

/// Whether the call's message comes as it is.
pub(super) fn is_plain(request: &Request<Incoming>) -> bool {
    request.headers().get("grpc-encoding").is_none_or(|encoding| encoding == "identity")
}

pub(super) async fn answer(served: &Served, method: Method, request: Request<Incoming>) -> Response<Body> {
    let caller = served.caller(principal::token(request.headers()));
    let answered = match read(request.into_body(), served.shared.max_request_bytes + grpc::OVERHEAD_BYTES).await {
        Ok(message) => unary::ask(served, caller, method, message).await,
        Err(status) => Err(status),
    };
    match answered {
        Ok(message) => response(Body::answer(message)),
        Err(status) => status.into_http().map(Body::Other),
    }
}

/// A watch stream, whose messages are framed already.
pub(super) fn watch(messages: Messages) -> Response<Body> {
    response(Body::Watch { messages, done: false })
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A message of these parts, with its prefix.
pub(super) fn framed(parts: [&[u8]; 2]) -> Bytes {
    let len = parts[0].len() + parts[1].len();
    let mut framed = BytesMut::with_capacity(PREFIX + len);
    framed.put_u8(0);
    framed.put_u32(len as u32);
    parts.into_iter().for_each(|part| framed.put_slice(part));
    framed.freeze()
}

/// The one message of a call.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Status> {
    let broken = |error: hyper::Error| Status::internal(format!("the request ended early: {error}"));
    let mut whole: Option<Bytes> = None;
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let Ok(part) = frame.map_err(broken)?.into_data() else { continue };
        let joined = match whole.take() {
            None => part,
            Some(begun) => {
                let mut joined = BytesMut::from(begun);
                joined.put(part);
                joined.freeze()
            }
        };
        if let Some(length) = length(&joined) {
            if length > limit {
                let text = format!("grpc: received message larger than max ({length} vs. {limit})");
                return Err(Status::resource_exhausted(text));
            }
            if joined.len() > PREFIX + length {
                return Err(Status::internal("a unary call has one message, and more came"));
            }
        }
        whole = Some(joined);
    }
    let mut whole = whole.unwrap_or_default();
    match length(&whole) {
        Some(length) if whole.len() == PREFIX + length && whole[0] == 0 => {
            whole.advance(PREFIX);
            Ok(whole)
        }
        Some(_) if whole[0] != 0 => Err(Status::internal("the message is compressed, and no grpc-encoding says how")),
        _ => Err(Status::internal("the request ended before its message did")),
    }
}

fn length(begun: &[u8]) -> Option<usize> {
    let length = begun.get(1..PREFIX)?;
    Some(u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize)
}

// === impl Body ===

impl Body {
    fn answer(message: Bytes) -> Self {
        if message.len() <= COPIED {
            return Self::Answer { prefix: framed([&message, &[]]), message: Bytes::new(), done: false };
        }
        let mut prefix = BytesMut::with_capacity(PREFIX);
        prefix.put_u8(0);
        prefix.put_u32(message.len() as u32);
        Self::Answer { prefix: prefix.freeze(), message, done: false }
    }
}

/// The status of a call that went well, once.
fn trailers(done: &mut bool) -> Option<Result<Frame<Bytes>, Status>> {
    if std::mem::replace(done, true) {
        return None;
    }
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Some(Ok(Frame::trailers(trailers)))
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Other(body) => Pin::new(body).poll_frame(context),
            Self::Watch { messages, done } => messages.poll_together(context).map(|some| match some {
                Some(framed) => Some(Ok(Frame::data(framed))),
                None => trailers(done),
            }),
            Self::Answer { prefix, message, done } => Poll::Ready(if !prefix.is_empty() {
                Some(Ok(Frame::data(std::mem::take(prefix))))
            } else if !message.is_empty() {
                Some(Ok(Frame::data(std::mem::take(message))))
            } else {
                trailers(done)
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Other(body) => body.is_end_stream(),
            Self::Answer { done, .. } | Self::Watch { done, .. } => *done,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Other(body) => body.size_hint(),
            Self::Answer { .. } | Self::Watch { .. } => SizeHint::default(),
        }
    }
}
