//! The Election service: the leader is who created the oldest key below the name; what it proclaims is the key's value.

use bytes::Bytes;
use tonic::Status;

use super::{
    plain,
    session::Session,
    waiting::{Place, Queue, delete, found, only_if, put, range},
};
use crate::pb::{
    etcdserverpb as pb,
    v3electionpb::{self as election, LeaderKey},
};

pub(super) async fn campaign(
    session: &Session,
    asked: election::CampaignRequest,
) -> Result<election::CampaignResponse, Status> {
    let lease = session.lease(asked.lease).await?;
    let queue = Queue::new(&asked.name);
    let key = queue.key(lease);
    let mut txn = only_if(&key, 0, put(&key, asked.value.clone(), lease));
    txn.failure = vec![range(pb::RangeRequest { key: key.clone(), ..Default::default() })];
    let entered = session.txn(&txn).await?;
    let mut rev = entered.header.map_or(0, |header| header.revision);
    if let Some(own) = found(&entered, 0).filter(|_| !entered.succeeded) {
        rev = own.create_revision;
        if own.value != asked.value {
            let place = Place::new(session, key.clone(), Some(rev));
            proclaimed(session, (&key, rev, lease), asked.value).await?;
            place.keep();
        }
    }
    let place = Place::new(session, key.clone(), Some(rev));
    let waited = queue.wait(session, rev - 1).await;
    // Only who goes while it waits gives its place up.
    place.keep();
    waited?;
    let leader = Some(LeaderKey { name: asked.name, key, rev, lease });
    Ok(election::CampaignResponse { header: entered.header, leader })
}

pub(super) async fn proclaim(
    session: &Session,
    asked: election::ProclaimRequest,
) -> Result<election::ProclaimResponse, Status> {
    let leader = named(asked.leader)?;
    let lease = session.lease(leader.lease).await?;
    let header = proclaimed(session, (&leader.key, leader.rev, lease), asked.value).await?;
    Ok(election::ProclaimResponse { header })
}

pub(super) async fn leader(
    session: &Session,
    asked: &election::LeaderRequest,
) -> Result<election::LeaderResponse, Status> {
    let found = session.range(&Queue::new(&asked.name).first()).await?;
    match found.kvs.into_iter().next() {
        Some(kv) => Ok(election::LeaderResponse { header: found.header, kv: Some(kv) }),
        None => Err(plain("election: no leader")),
    }
}

pub(super) async fn resign(
    session: &Session,
    asked: election::ResignRequest,
) -> Result<election::ResignResponse, Status> {
    let leader = named(asked.leader)?;
    session.lease(leader.lease).await?;
    let left = session.txn(&only_if(&leader.key, leader.rev, delete(&leader.key))).await?;
    Ok(election::ResignResponse { header: left.header })
}

async fn proclaimed(
    session: &Session,
    (key, rev, lease): (&Bytes, i64, i64),
    value: Bytes,
) -> Result<Option<pb::ResponseHeader>, Status> {
    let said = session.txn(&only_if(key, rev, put(key, value, lease))).await?;
    if said.succeeded { Ok(said.header) } else { Err(plain("election: not leader")) }
}

fn named(leader: Option<LeaderKey>) -> Result<LeaderKey, Status> {
    leader.ok_or_else(|| plain(r#""leader" field must be provided"#))
}
