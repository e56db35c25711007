//! One request of the table, and its answer as a text.

use kvstore_server::pb::{
    etcdserverpb::{
        self as pb, DowngradeRequest, MemberAddRequest, MemberListRequest, MemberListResponse, MemberPromoteRequest,
        MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, SnapshotRequest, SnapshotResponse,
    },
    v3electionpb, v3lockpb,
};
use tonic::Status;

use crate::{answer::Answer, op::Op, peer::Peer};

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Op(Op),
    Watch {
        key: Vec<u8>,
        end: Vec<u8>,
    },
    Member(&'static str),
    /// At once: nobody holds it.
    Lock(&'static str),
    Unlock(&'static str),
    Leader(&'static str),
    MoveLeader,
    Downgrade,
    Snapshot,
}

// === impl Ask ===

impl Ask {
    /// What it is answered: "ok", or why not.
    pub(super) async fn of(&self, peer: &mut Peer) -> String {
        let done =
            |result: Result<(), Status>| result.map_or_else(|status| status.message().to_owned(), |()| "ok".to_owned());
        match self {
            Ask::Op(op) => match peer.answer(op, 1_000, 0).await {
                // The head is not followed here: a compaction of the future is one that was let through.
                Answer::Refused { message, .. } => message,
                _ => "ok".to_owned(),
            },
            Ask::Watch { key, end } => {
                let (key, range_end) = (key.clone().into(), end.clone().into());
                let mut watch = peer.watch(pb::WatchCreateRequest { key, range_end, ..Default::default() }).await;
                let answer = watch.message().await.unwrap().expect("an answer");
                if answer.canceled { answer.cancel_reason } else { "ok".to_owned() }
            }
            Ask::Member("MemberAdd") => {
                // One that is there already: nothing comes of it.
                let list: Result<MemberListResponse, _> =
                    peer.unary("Cluster/MemberList", MemberListRequest { linearizable: false }).await;
                let peer_ur_ls = list.map(|list| list.members[0].peer_ur_ls.clone());
                // Who may not see it may not add either.
                let peer_ur_ls = peer_ur_ls.unwrap_or_else(|_| vec!["http://127.0.0.1:9".to_owned()]);
                let request = MemberAddRequest { peer_ur_ls, is_learner: false };
                done(peer.unary::<_, pb::MemberAddResponse>("Cluster/MemberAdd", request).await.map(drop))
            }
            Ask::Member("MemberRemove") => done(
                peer.unary::<_, pb::MemberRemoveResponse>("Cluster/MemberRemove", MemberRemoveRequest { id: 404 })
                    .await
                    .map(drop),
            ),
            Ask::Member("MemberUpdate") => {
                let request = MemberUpdateRequest { id: 404, peer_ur_ls: vec!["http://127.0.0.1:9".to_owned()] };
                done(peer.unary::<_, pb::MemberUpdateResponse>("Cluster/MemberUpdate", request).await.map(drop))
            }
            Ask::Member(_) => done(
                peer.unary::<_, pb::MemberPromoteResponse>("Cluster/MemberPromote", MemberPromoteRequest { id: 404 })
                    .await
                    .map(drop),
            ),
            Ask::Lock(name) => {
                let request = v3lockpb::LockRequest { name: name.as_bytes().into(), lease: 0 };
                let got = peer.unary::<_, v3lockpb::LockResponse>("v3lockpb.Lock/Lock", request).await;
                if let Ok(got) = &got {
                    let request = v3lockpb::UnlockRequest { key: got.key.clone() };
                    let given = peer.unary::<_, v3lockpb::UnlockResponse>("v3lockpb.Lock/Unlock", request).await;
                    given.expect("who may lock may unlock");
                }
                done(got.map(drop))
            }
            Ask::Unlock(key) => {
                let request = v3lockpb::UnlockRequest { key: key.as_bytes().into() };
                done(peer.unary::<_, v3lockpb::UnlockResponse>("v3lockpb.Lock/Unlock", request).await.map(drop))
            }
            Ask::Leader(name) => {
                let request = v3electionpb::LeaderRequest { name: name.as_bytes().into() };
                let path = "v3electionpb.Election/Leader";
                done(peer.unary::<_, v3electionpb::LeaderResponse>(path, request).await.map(drop))
            }
            Ask::MoveLeader => {
                let request = MoveLeaderRequest { target_id: 404 };
                done(peer.unary::<_, pb::MoveLeaderResponse>("Maintenance/MoveLeader", request).await.map(drop))
            }
            Ask::Downgrade => {
                let request = DowngradeRequest { action: 0, version: "3.5.0".to_owned() };
                done(peer.unary::<_, pb::DowngradeResponse>("Maintenance/Downgrade", request).await.map(drop))
            }
            Ask::Snapshot => {
                done(peer.many::<_, SnapshotResponse>("Maintenance/Snapshot", SnapshotRequest {}).await.map(drop))
            }
        }
    }
}
