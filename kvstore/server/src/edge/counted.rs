//! Calls are counted where they come in and where their answers end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status};

use super::lean;
use crate::metrics::Call;

/// An answer, and the call that it ends when it is a stream.
pub(super) struct Counted {
    body: lean::Body,
    _call: Option<Call>,
}

/// A unary call is over with its answer's head; a stream with its body, however that ends.
pub(super) fn counted(response: Response<lean::Body>, call: Option<Call>) -> Response<Counted> {
    let Some(mut call) = call else { return response.map(|body| Counted { body, _call: None }) };
    let code = response.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
    call.answered(code);
    let stream = !call.is_unary() && code == Code::Ok;
    let call = stream.then_some(call);
    response.map(|body| Counted { body, _call: call })
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
