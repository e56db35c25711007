//! What a prefix's keys mean: the one part of an import that differs from table to table.

use kvstore::KeyValue;
use model::ClusterName;
use statedb::Row;

use crate::Mark;

/// Keys of one prefix to rows of one table.
pub trait Decode: Send + Sync + 'static {
    /// The row that a key becomes.
    type Row: Row;

    /// For status, alarms and metrics: `nodes`, `ip`, `identities`, `services`, `endpointslices`.
    const RESOURCE: &'static str;

    /// Whether a refused update also ends what the key said before. For addresses it does: the owner said that the old
    /// claim ended. For everything else the last valid row stays in force.
    const REFUSAL_WITHDRAWS: bool;

    /// Which deletes are held until their owner had time to put the keys again.
    const HELD: Held;

    /// What the key says. `name` is the rest of it after the prefix.
    ///
    /// # Errors
    ///
    /// What, where and which rule: the key is then quarantined.
    fn decode(&self, key: &str, name: &str, kv: &KeyValue) -> Result<Decoded<Self::Row>, String>;

    /// What of a well-formed row may be used, given what everybody else has said, and what was left out of it.
    ///
    /// # Errors
    ///
    /// Whose it is, when nothing of it may be used. It may come out differently later.
    fn admit(&self, row: Self::Row) -> Result<(Self::Row, Option<String>), String>;

    /// The rest of a key that becomes this row.
    fn name(&self, row: &Self::Row) -> String;

    /// The row that a key of this name would become; `None` when it can be none of ours.
    fn row_key(&self, name: &str) -> Option<<Self::Row as Row>::Key>;

    /// Whether a row in the table is one that this import may replace and delete.
    fn owns(&self, row: &Self::Row) -> bool;

    /// Whether a row of this cluster comes from an earlier run's disk.
    fn is_restored(&self, row: &Self::Row) -> bool;

    /// What of a change shows in the kernel, so that its way there can be measured; `None` for an absent row.
    fn marks(_before: Option<&Self::Row>, _after: Option<&Self::Row>) -> Vec<Mark> {
        Vec::new()
    }

    /// The cluster that speaks.
    fn cluster(&self) -> &ClusterName;
}

/// Which deletes wait, whatever their number. A mass delete waits in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// None: the keys carry no lease, so somebody meant it.
    None,
    /// Those of several keys at one revision: so does a lease end, and with it its keys. Writers delete one by one.
    AtOnce,
    /// Each: a node that leaves takes its lease along, and one that only lost it comes back (Cilium's delay of node
    /// deletes).
    Each,
}

/// What a valid key says.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded<R> {
    /// This row.
    Row(R),
    /// The same as no key.
    Absent,
}
