//! A client that knows no more than it must: bytes in, bytes out, over one connection. The same for both sides.

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use kvstore_server::pb::etcdserverpb as pb;
use prost::Message;
use tonic::{
    Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

#[derive(Clone)]
pub(crate) struct Client(Channel);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Raw;

// === impl Client ===

impl Client {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let endpoint =
            Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).initial_connection_window_size(16 << 20);
        Ok(Self(endpoint.initial_stream_window_size(8 << 20).connect().await?))
    }

    pub(crate) fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.0.clone()).max_decoding_message_size(1 << 30)
    }

    pub(crate) async fn ask<A: Message + Default>(&self, path: &'static str, request: &impl Message) -> Result<A> {
        let mut grpc = self.grpc();
        grpc.ready().await?;
        let request = tonic::Request::new(Bytes::from(request.encode_to_vec()));
        let answer = grpc.unary(request, http::uri::PathAndQuery::from_static(path), Raw).await?;
        A::decode(answer.into_inner()).context("decode an answer")
    }

    pub(crate) async fn get(&self, key: &[u8]) -> Result<pb::RangeResponse> {
        self.range(pb::RangeRequest { key: Bytes::copy_from_slice(key), ..Default::default() }).await
    }

    pub(crate) async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse> {
        self.ask("/etcdserverpb.KV/Range", &request).await
    }

    pub(crate) async fn put(&self, key: &[u8], value: &[u8], lease: i64) -> Result<pb::PutResponse> {
        self.ask("/etcdserverpb.KV/Put", &put(key, value, lease)).await
    }

    /// `count` keys from `first` on, by transactions of 100 puts.
    pub(crate) async fn fill(&self, keys: impl Iterator<Item = Vec<u8>>, value: &[u8]) -> Result<()> {
        let mut pending = tokio::task::JoinSet::new();
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            let ops = keys.by_ref().take(100).map(|key| {
                let request = Some(pb::request_op::Request::RequestPut(put(&key, value, 0)));
                pb::RequestOp { request }
            });
            let txn = pb::TxnRequest { success: ops.collect(), ..Default::default() };
            let client = self.clone();
            pending.spawn(async move { client.ask::<pb::TxnResponse>("/etcdserverpb.KV/Txn", &txn).await });
            if pending.len() >= 16
                && let Some(done) = pending.join_next().await
            {
                done??;
            }
        }
        while let Some(done) = pending.join_next().await {
            done??;
        }
        Ok(())
    }
}

pub(crate) fn put(key: &[u8], value: &[u8], lease: i64) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
        lease,
        ..Default::default()
    }
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}
