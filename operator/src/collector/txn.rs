//! Taking back one number, as a transaction.

use bytes::Bytes;
use kvstore::{Compare, LeaseId, Op, Txn};
use model::ClusterName;
use wire::{identity, own};

use super::Unused;

/// Deletes the master key if nobody uses, touched, locks or allocates it; `held` proves that the collector's lock on the
/// number is ours. The number is then out of use for as long as `freed` lives.
pub(super) fn build(unused: &Unused, held: Compare, cluster: &ClusterName, freed: LeaseId) -> Txn {
    let master: Bytes = identity::id_key(unused.number).into();
    let users = format!("{}{}/", identity::value_prefix_all(), unused.labels);
    let allocators = format!("{}{}/", identity::locks_prefix(), unused.labels);
    Txn::when([
        held,
        Compare::ModRevision(master.clone(), unused.mod_revision),
        Compare::PrefixEmpty(users.into()),
        Compare::PrefixEmpty(allocators.into()),
    ])
    .then([Op::delete(master), Op::put(own::freed_key(cluster, unused.number), "", Some(freed))])
}
