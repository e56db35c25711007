//! What operators ask: members, the state of the store, a copy of it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use prost::Message as _;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{Served, grpc::status, unary::recorded};
use crate::{
    core::{Caller, Failure, Request as Ask, auth::Need},
    pb::etcdserverpb as pb,
};

/// What etcd calls its version where it goes back by one.
const MINOR_VERSION: &str = "3.6";
/// Parts of a snapshot that wait for the client.
const PARTS: usize = 64;

pub(super) struct Snapshotting(pub(super) Served, pub(super) Caller);

async fn header(served: &Served, caller: Caller, what: &str, need: Need) -> Result<Option<pb::ResponseHeader>, Status> {
    let answer = recorded(served, caller, || what.to_owned(), Ask::Header(need)).await?;
    header_of(&answer)
}

fn header_of(answer: &Bytes) -> Result<Option<pb::ResponseHeader>, Status> {
    let answer = pb::MemberListResponse::decode(answer.clone()).map_err(|error| Status::internal(error.to_string()))?;
    Ok(answer.header)
}

/// A linearizable list waits until everything acknowledged before is applied.
pub(super) async fn members(served: &Served, caller: Caller, request: pb::MemberListRequest) -> Result<Bytes, Status> {
    let header = if request.linearizable {
        header_of(&recorded(served, caller, || "MemberList".to_owned(), Ask::Barrier(Need::User)).await?)?
    } else {
        header(served, caller, "MemberList", Need::User).await?
    };
    let header = header.map(|header| pb::ResponseHeader { revision: 0, ..header });
    let members = vec![served.shared.member.clone()];
    Ok(pb::MemberListResponse { header, members }.encode_to_vec().into())
}

/// Memory is reused in place, so there is nothing to move.
/// The answer has no header, as etcd's has none.
pub(super) fn defragment() -> Bytes {
    tracing::info!("defragment was asked for: slots of deleted versions are reused in place, nothing is moved");
    pb::DefragmentResponse::default().encode_to_vec().into()
}

/// There is no older version of this store to go back to, so each target is an invalid one, in etcd's words. To give up
/// what was not begun is no mistake there.
pub(super) async fn downgrade(served: &Served, caller: Caller, asked: pb::DowngradeRequest) -> Result<Bytes, Status> {
    let answer = recorded(served, caller, || "Downgrade".to_owned(), Ask::Header(Need::Root)).await?;
    if asked.action() == pb::downgrade_request::DowngradeAction::Cancel {
        let (header, version) = (header_of(&answer)?, MINOR_VERSION.to_owned());
        return Ok(pb::DowngradeResponse { header, version }.encode_to_vec().into());
    }
    let parts: Vec<&str> = asked.version.split('.').collect();
    let numbers = parts.iter().all(|part| part.parse::<u32>().is_ok());
    let known = (2..=3).contains(&parts.len()) && numbers;
    Err(status(if known { Failure::DowngradeTarget } else { Failure::DowngradeVersion }))
}

/// Of everything at the current revision.
pub(super) async fn hash(served: &Served, caller: Caller) -> Result<Bytes, Status> {
    let answer = recorded(served, caller, || "Hash".to_owned(), Ask::HashKv { revision: 0 }).await?;
    let hash = pb::HashKvResponse::decode(answer).map_err(|error| Status::internal(error.to_string()))?;
    Ok(pb::HashResponse { header: hash.header, hash: hash.hash }.encode_to_vec().into())
}

impl tower_service::Service<Request<Bytes>> for Snapshotting {
    type Response = Response<Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let (served, caller) = (self.0.clone(), self.1.clone());
        Box::pin(async move {
            // Users and their passwords are in it.
            let header = header(&served, caller, "Snapshot", Need::Root).await?;
            let (sender, parts) = tokio::sync::mpsc::channel(PARTS);
            served.handle.snapshot(sender);
            let version = crate::status::ETCD_VERSION.to_owned();
            let parts = ReceiverStream::new(parts).map(move |part: Result<(Bytes, u64), Failure>| {
                let (blob, remaining_bytes) = part.map_err(status)?;
                let part = pb::SnapshotResponse { header, remaining_bytes, blob, version: version.clone() };
                Ok(Bytes::from(part.encode_to_vec()))
            });
            Ok(Response::new(Box::pin(parts) as Pin<Box<dyn Stream<Item = _> + Send>>))
        })
    }
}
