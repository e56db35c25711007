//! The Lock service: the lock is its who created the oldest key below the name.

use tonic::Status;

use super::{
    plain,
    session::Session,
    waiting::{Place, Queue, found, only_if, put, range},
};
use crate::pb::{etcdserverpb as pb, v3lockpb};

pub(super) async fn lock(session: &Session, asked: v3lockpb::LockRequest) -> Result<v3lockpb::LockResponse, Status> {
    let lease = session.lease(asked.lease).await?;
    let queue = Queue::new(&asked.name);
    let key = queue.key(lease);
    let get = || range(pb::RangeRequest { key: key.clone(), ..Default::default() });
    let mut txn = only_if(&key, 0, put(&key, Default::default(), lease));
    txn.success.push(range(queue.first()));
    // A lease that has the lock already has it still.
    txn.failure = vec![get(), range(queue.first())];
    let taken = session.txn(&txn).await?;
    let revision = taken.header.map_or(0, |header| header.revision);
    let ours = if taken.succeeded { revision } else { found(&taken, 0).map_or(0, |kv| kv.create_revision) };
    let done = |header| Ok(v3lockpb::LockResponse { header, key: key.clone() });
    if found(&taken, 1).is_none_or(|first| first.create_revision == ours) {
        return done(taken.header);
    }
    let place = Place::new(session, key.clone(), None);
    queue.wait(session, ours - 1).await?;
    // The lease may have ended meanwhile, and the key with it.
    let own = session.range(&pb::RangeRequest { key: key.clone(), ..Default::default() }).await?;
    place.keep();
    if own.kvs.is_empty() {
        return Err(plain("mutex: session is expired"));
    }
    done(own.header)
}

pub(super) async fn unlock(
    session: &Session,
    asked: v3lockpb::UnlockRequest,
) -> Result<v3lockpb::UnlockResponse, Status> {
    let deleted = session.delete(asked.key).await?;
    Ok(v3lockpb::UnlockResponse { header: deleted.header })
}
