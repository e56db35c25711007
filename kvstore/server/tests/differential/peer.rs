//! One server as the sequence's only client sees it.

use std::{collections::BTreeMap, time::Duration};

use http::uri::PathAndQuery;
use kvstore_server::pb::etcdserverpb::{
    AlarmRequest, CompactionRequest, DefragmentRequest, HashKvRequest, HashRequest, LeaseGrantRequest,
    LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, MemberListRequest, ResponseHeader, StatusRequest, StatusResponse, WatchCreateRequest,
    WatchRequest, WatchResponse, watch_request::RequestUnion,
};
use prost::Message;
use tokio::time::timeout;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codegen::tokio_stream,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    admin,
    answer::{Answer, Names},
    op::{Guise, Lease, Op, Who},
    request::Moment,
    stream::WatchStream,
};

/// Streams that a sequence may use.
pub(crate) const STREAMS: usize = 3;

/// No request of a sequence may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

const STRANGER: u64 = 0xdead;

pub(crate) struct Peer {
    grpc: Grpc<Channel>,
    pub(crate) streams: [Option<WatchStream>; STREAMS],
    /// The lease ids that the server chose.
    pub(crate) chosen: Vec<i64>,
    pub(crate) member: u64,
    cluster: u64,
    term: u64,
    pub(crate) guise: Guise,
    /// By user, those that [`Op::Login`] got.
    pub(crate) tokens: BTreeMap<u8, String>,
}

// === impl Peer ===

impl Peer {
    /// Waits until the server answers and has a leader.
    pub(crate) async fn connect(url: &str) -> Self {
        let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect_lazy();
        let grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX);
        let (streams, chosen) = Default::default();
        let (guise, tokens) = (Guise::Nobody, BTreeMap::new());
        let mut peer = Self { grpc, streams, chosen, member: 0, cluster: 0, term: 0, guise, tokens };
        for _ in 0..400 {
            let status: Result<StatusResponse, _> = peer.unary("Maintenance/Status", StatusRequest {}).await;
            if status.as_ref().is_err_and(|status| status.message().ends_with("user name is empty")) {
                // It was restarted, and asks who this is.
                return peer;
            }
            if let Ok(status) = status
                && status.leader != 0
                && (!status.storage_version.is_empty() || status.version.starts_with("3.4"))
            {
                let header = status.header.unwrap();
                (peer.member, peer.cluster) = (header.member_id, header.cluster_id);
                return peer;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the server at {url} did not come up");
    }

    /// Goes on with the server at another address: it was restarted.
    pub(crate) async fn reconnect(&mut self, url: &str) {
        self.grpc = Self::connect(url).await.grpc;
        self.tokens.clear();
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names { member: self.member, chosen: &self.chosen }
    }

    pub(crate) fn moment(&self, head: i64, compacted: i64) -> Moment<'_> {
        Moment { head, compacted, chosen: &self.chosen }
    }

    /// Sends an operation that is not about watches, and waits for its answer.
    pub(crate) async fn answer(&mut self, op: &Op, head: i64, compacted: i64) -> Answer {
        match timeout(PATIENCE, self.call(op, head, compacted)).await {
            Ok(Ok(mut answer)) => {
                if let Some(header) = answer.header() {
                    let header = *header;
                    self.check(&header);
                }
                answer
            }
            Ok(Err(status)) => Answer::Refused { code: status.code().into(), message: status.message().to_owned() },
            Err(_) => Answer::Silence,
        }
    }

    async fn call(&mut self, op: &Op, head: i64, compacted: i64) -> Result<Answer, Status> {
        let now = Moment { head, compacted, chosen: &self.chosen };
        let lease = |lease: &Lease| now.lease(*lease);
        Ok(match op {
            Op::Range(range) => Answer::Range(self.unary("KV/Range", now.range(range)).await?),
            Op::Put(put) => Answer::Put(self.unary("KV/Put", now.put(put)).await?),
            Op::DeleteRange(delete) => Answer::DeleteRange(self.unary("KV/DeleteRange", now.delete(delete)).await?),
            Op::Txn(txn) => Answer::Txn(self.unary("KV/Txn", now.txn(txn)).await?),
            Op::Compact { rev, physical } => {
                let request = CompactionRequest { revision: now.rev(*rev), physical: *physical };
                Answer::Compact(self.unary("KV/Compact", request).await?)
            }
            Op::LeaseGrant { id, ttl } => {
                let request = LeaseGrantRequest { ttl: *ttl, id: *id };
                let grant: LeaseGrantResponse = self.unary("Lease/LeaseGrant", request).await?;
                if *id == 0 {
                    self.chosen.push(grant.id);
                }
                Answer::Grant(grant)
            }
            Op::LeaseRevoke { id } => {
                Answer::Revoke(self.unary("Lease/LeaseRevoke", LeaseRevokeRequest { id: lease(id) }).await?)
            }
            Op::LeaseKeepAlive { ids } => {
                let ids = ids.iter().map(lease).collect();
                Answer::KeepAlive(self.keep_alive(ids).await?)
            }
            Op::LeaseTimeToLive { id, keys } => {
                let request = LeaseTimeToLiveRequest { id: lease(id), keys: *keys };
                Answer::TimeToLive(self.unary("Lease/LeaseTimeToLive", request).await?)
            }
            Op::LeaseLeases => Answer::Leases(self.unary("Lease/LeaseLeases", LeaseLeasesRequest {}).await?),
            Op::MemberList { linearizable } => {
                let request = MemberListRequest { linearizable: *linearizable };
                Answer::Members(self.unary("Cluster/MemberList", request).await?)
            }
            Op::Status => Answer::Status(self.unary("Maintenance/Status", StatusRequest {}).await?),
            Op::Alarm { action, who, alarm } => {
                let member_id = match who {
                    Who::Everyone => 0,
                    Who::Own => self.member,
                    Who::Stranger => STRANGER,
                };
                let request = AlarmRequest { action: *action, member_id, alarm: *alarm };
                Answer::Alarm(self.unary("Maintenance/Alarm", request).await?)
            }
            Op::Defragment => Answer::Defragment(self.unary("Maintenance/Defragment", DefragmentRequest {}).await?),
            Op::Hash => Answer::Hash(self.unary("Maintenance/Hash", HashRequest {}).await?),
            Op::HashKV { rev } => {
                let request = HashKvRequest { revision: now.rev(*rev) };
                Answer::HashKV(self.unary("Maintenance/HashKV", request).await?)
            }
            Op::As(guise) => {
                self.guise = *guise;
                Answer::Watch
            }
            op if admin::is(op) => self.admin(op).await?,
            _ => Answer::Watch,
        })
    }

    pub(crate) async fn unary<Q, A>(&mut self, method: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        let request = self.signed(request);
        Ok(self.grpc.unary(request, path(method), codec).await?.into_inner())
    }

    /// Everything that a server streams.
    pub(crate) async fn many<Q, A>(&mut self, method: &'static str, request: Q) -> Result<Vec<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        let mut stream = self.grpc.server_streaming(self.signed(request), path(method), codec).await?.into_inner();
        let mut all = Vec::new();
        while let Some(message) = stream.message().await? {
            all.push(message);
        }
        Ok(all)
    }

    async fn keep_alive(&mut self, ids: Vec<i64>) -> Result<Vec<LeaseKeepAliveResponse>, Status> {
        self.grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let codec = ProstCodec::<LeaseKeepAliveRequest, LeaseKeepAliveResponse>::default();
        let requests: Vec<_> = ids.into_iter().map(|id| LeaseKeepAliveRequest { id }).collect();
        let request = self.signed(tokio_stream::iter(requests));
        let mut stream = self.grpc.streaming(request, path("Lease/LeaseKeepAlive"), codec).await?.into_inner();
        let mut responses = Vec::new();
        while let Some(response) = stream.message().await? {
            responses.push(response);
        }
        Ok(responses)
    }

    /// A stream with one watch.
    pub(crate) async fn watch(&mut self, create: WatchCreateRequest) -> Streaming<WatchResponse> {
        self.grpc.ready().await.expect("the server is there");
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // The stream goes on until it is dropped.
        let requests = tokio_stream::StreamExt::chain(tokio_stream::once(create), tokio_stream::pending());
        self.grpc.streaming(self.signed(requests), path("Watch/Watch"), codec).await.unwrap().into_inner()
    }

    /// With the token of the one whose request it is.
    fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = match self.guise {
            Guise::Nobody => None,
            Guise::Forged => Some("forged.1"),
            Guise::U(user) => self.tokens.get(&user).map(String::as_str),
        };
        if let Some(token) = token {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        request
    }

    /// The stream of this number, opened if it is not open.
    pub(crate) async fn stream(&mut self, number: usize) -> &mut WatchStream {
        let number = number % STREAMS;
        if self.streams[number].is_none() {
            let stream = WatchStream::open(&mut self.grpc).await.expect("a watch stream opens");
            self.streams[number] = Some(stream);
        }
        self.streams[number].as_mut().expect("it was opened above")
    }

    /// A server is one member of one cluster, and its terms do not fall.
    fn check(&mut self, header: &ResponseHeader) {
        assert_eq!((header.member_id, header.cluster_id), (self.member, self.cluster), "ids of the server changed");
        assert!(header.raft_term >= self.term, "the term fell from {} to {}", self.term, header.raft_term);
        self.term = header.raft_term;
    }
}

fn path(method: &'static str) -> PathAndQuery {
    // Locks and elections have packages of their own.
    let package = if method.starts_with("v3") { "" } else { "etcdserverpb." };
    format!("/{package}{method}").parse().expect("a service and a method")
}
