//! One watch stream to one server, and what its watches delivered.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use kvstore_server::pb::{
    etcdserverpb::{
        WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
        watch_request::RequestUnion,
    },
    mvccpb::Event,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming, client::Grpc, codegen::tokio_stream::Stream, transport::Channel};
use tonic_prost::ProstCodec;

/// The watch that every stream begins with, so that a stream always has one that is up to date. Its key is never written.
pub(crate) const ANCHOR: i64 = 1_000_000;
const ANCHOR_KEY: &[u8] = b"~";

/// Responses that belong to all watches of a stream.
pub(crate) const ALL: i64 = -1;

/// How long a watch may take to say what is due.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What one watch said, apart from how it was cut into responses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Created,
    Event(Box<Event>),
    Cancelled {
        compacted: i64,
        reason: String,
    },
    /// A rule that every stream keeps was broken.
    Broken(String),
}

/// Everything that was said on a stream, by watch.
pub(crate) type Log = BTreeMap<i64, Vec<Said>>;

pub(crate) struct WatchStream {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    pub(crate) log: Log,
    /// The revision up to which the last answer to a progress request promised everything.
    progress: i64,
    /// The last header's and the last event's revision of each watch; after a promise, nothing older may follow it.
    last: BTreeMap<i64, (i64, i64)>,
    /// An unfinished response, by watch.
    partial: BTreeMap<i64, Vec<Event>>,
    pub(crate) fragments: u64,
    /// The id of the last watch that was created.
    created: Option<i64>,
    /// Watches that the server cancelled for a compaction. etcd keeps their ids until the client cancels them too, and
    /// promises no progress meanwhile.
    buried: BTreeSet<i64>,
    /// Whether those are cancelled at once.
    pub(crate) burying: bool,
}

struct Outgoing(mpsc::Receiver<WatchRequest>);

impl Stream for Outgoing {
    type Item = WatchRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchRequest>> {
        self.0.poll_recv(context)
    }
}

// === impl WatchStream ===

impl WatchStream {
    pub(crate) async fn open(grpc: &mut Grpc<Channel>) -> Result<Self, Status> {
        let anchor = WatchCreateRequest { key: ANCHOR_KEY.into(), watch_id: ANCHOR, ..Default::default() };
        let mut stream = Self::open_with(grpc, anchor).await?;
        stream.until(|stream| stream.log.contains_key(&ANCHOR)).await;
        stream.log.clear();
        Ok(stream)
    }

    /// Opens a stream with this watch as its first.
    pub(crate) async fn open_with(grpc: &mut Grpc<Channel>, first: WatchCreateRequest) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(256);
        requests.try_send(create(first)).expect("the channel is empty");
        grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let path = http::uri::PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let responses = grpc.streaming(tonic::Request::new(Outgoing(outgoing)), path, codec).await?.into_inner();
        let (log, last, partial, buried) = Default::default();
        Ok(Self {
            requests,
            responses,
            log,
            progress: 0,
            last,
            partial,
            fragments: 0,
            created: None,
            buried,
            burying: true,
        })
    }

    /// The id that the server gave; [`ALL`] if it refused.
    pub(crate) async fn create(&mut self, watch: WatchCreateRequest) -> Option<i64> {
        self.created = None;
        self.send(create(watch)).await;
        self.until(|stream| stream.created.is_some()).await;
        self.created
    }

    pub(crate) async fn cancel(&mut self, watch_id: i64) {
        self.send(request(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))).await;
    }

    /// Asks for progress until everything up to this revision was promised to have come; false if that takes too long.
    pub(crate) async fn settle(&mut self, revision: i64) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            self.progress = 0;
            self.send(request(RequestUnion::ProgressRequest(WatchProgressRequest {}))).await;
            let wait = Duration::from_millis(20);
            let next = tokio::time::Instant::now() + wait;
            while tokio::time::Instant::now() < next {
                if !self.read(wait).await {
                    break;
                }
                if self.progress >= revision {
                    return true;
                }
            }
        }
        false
    }

    pub(crate) async fn send(&mut self, request: WatchRequest) {
        // A server that closed the stream is noticed when it is read.
        let _ = self.requests.send(request).await;
    }

    /// Reads until this holds; false if that takes too long.
    pub(crate) async fn until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !done(self) {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() || !self.read(left).await {
                return done(self);
            }
        }
        true
    }

    /// Reads until nothing has come for so long; whether a request for progress was answered.
    pub(crate) async fn quiet(&mut self, wait: Duration) -> bool {
        self.progress = 0;
        self.send(request(RequestUnion::ProgressRequest(WatchProgressRequest {}))).await;
        self.still(wait).await;
        self.progress != 0
    }

    /// Reads until nothing has come for so long, and asks for nothing: etcd 3.4 promises progress that it has not made.
    pub(crate) async fn still(&mut self, wait: Duration) {
        while self.read(wait).await {}
    }

    /// Takes the next response; false if none came in time.
    async fn read(&mut self, wait: Duration) -> bool {
        match timeout(wait, self.responses.message()).await {
            Ok(Ok(Some(response))) => {
                self.take(response);
                true
            }
            Ok(ended) => {
                let broken = Said::Broken(format!("the stream ended: {ended:?}"));
                let said = self.log.entry(ALL).or_default();
                if said.last() != Some(&broken) {
                    said.push(broken);
                }
                false
            }
            Err(_) => false,
        }
    }

    fn take(&mut self, response: WatchResponse) {
        let id = response.watch_id;
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        let mut said = Vec::new();
        if response.created {
            said.push(Said::Created);
            self.created = Some(id);
            self.last.remove(&id);
            self.buried.remove(&id);
        }
        let (last_header, last_event) = self.last.get(&id).copied().unwrap_or_default();
        if revision < last_header && !response.canceled {
            said.push(Said::Broken(format!("header revision {revision} after {last_header}")));
        }
        let mut newest = last_event;
        let whole = if response.fragment {
            self.fragments += 1;
            self.partial.entry(id).or_default().extend(response.events);
            Vec::new()
        } else {
            let mut events = self.partial.remove(&id).unwrap_or_default();
            events.extend(response.events);
            events
        };
        if let Some(first) = whole.first().and_then(|event| event.kv.as_ref())
            && first.mod_revision <= last_event
        {
            said.push(Said::Broken(format!("revision {} in two responses, or late", first.mod_revision)));
        }
        for event in whole {
            let at = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            if at < newest || at > revision {
                said.push(Said::Broken(format!("an event of {at} after {newest}, in a response of {revision}")));
            }
            newest = newest.max(at);
            said.push(Said::Event(Box::new(event)));
        }
        if response.canceled && response.compact_revision == 0 && self.buried.remove(&id) {
            return;
        }
        if response.canceled {
            if response.compact_revision != 0 && self.burying {
                self.buried.insert(id);
                let _ =
                    self.requests.try_send(request(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id })));
            }
            said.push(Said::Cancelled { compacted: response.compact_revision, reason: response.cancel_reason });
            self.last.remove(&id);
        } else {
            // A created watch is told the store's revision; from its first events on the revision is how far it has come.
            let told = if response.created { 0 } else { revision };
            self.last.insert(id, (told, newest));
        }
        if said.is_empty() && id == ALL {
            self.progress = revision;
            for (header, event) in self.last.values_mut() {
                *header = revision.max(*header);
                *event = revision.max(*event);
            }
        } else if !said.is_empty() {
            self.log.entry(id).or_default().extend(said);
        }
    }
}

fn request(union: RequestUnion) -> WatchRequest {
    WatchRequest { request_union: Some(union) }
}

fn create(watch: WatchCreateRequest) -> WatchRequest {
    request(RequestUnion::CreateRequest(watch))
}
