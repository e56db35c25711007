//! etcd's Lock and Election services: built, as in etcd, from what any client could ask for itself. Who comes first is
//! who created its key first; a key lives as long as its lease.
//!
//! Sources: etcd server/etcdserver/api/{v3lock,v3election}, client/v3/concurrency, of 3.6.

mod election;
mod lock;
mod observe;
mod session;
mod waiting;

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use super::{Served, grpc::decode};
use crate::core::Caller;

pub(super) use observe::Observing;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Lock,
    Unlock,
    Campaign,
    Proclaim,
    Leader,
    Resign,
}

pub(super) const OBSERVE: &str = "/v3electionpb.Election/Observe";

// === impl Method ===

impl Method {
    pub(super) fn find(service: &str, method: &str) -> Option<Self> {
        Some(match (service, method) {
            ("v3lockpb.Lock", "Lock") => Self::Lock,
            ("v3lockpb.Lock", "Unlock") => Self::Unlock,
            ("v3electionpb.Election", "Campaign") => Self::Campaign,
            ("v3electionpb.Election", "Proclaim") => Self::Proclaim,
            ("v3electionpb.Election", "Leader") => Self::Leader,
            ("v3electionpb.Election", "Resign") => Self::Resign,
            _ => return None,
        })
    }
}

pub(super) async fn ask(served: &Served, caller: Caller, method: Method, raw: Bytes) -> Result<Bytes, Status> {
    let session = session::Session::new(served.clone(), caller);
    Ok(match method {
        Method::Lock => encoded(&lock::lock(&session, decode(&raw)?).await?),
        Method::Unlock => encoded(&lock::unlock(&session, decode(&raw)?).await?),
        Method::Campaign => encoded(&election::campaign(&session, decode(&raw)?).await?),
        Method::Proclaim => encoded(&election::proclaim(&session, decode(&raw)?).await?),
        Method::Leader => encoded(&election::leader(&session, &decode(&raw)?).await?),
        Method::Resign => encoded(&election::resign(&session, decode(&raw)?).await?),
    })
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// etcd answers here with plain errors of Go, to which gRPC gives this code, whatever code the cause had.
fn plain(text: &str) -> Status {
    Status::new(Code::Unknown, text)
}
