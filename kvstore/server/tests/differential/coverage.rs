//! Which options of which requests were met with which result, and how often.

use std::collections::BTreeMap;

use crate::{
    admin,
    op::{Against, Compare, Delete, End, Key, Lease, Op, Put, Range, Rev, Step, Txn, Watch, Who},
    stream::Said,
};

mod permissions;
mod required;

#[derive(Default)]
pub(crate) struct Coverage {
    /// By request, option and result.
    counts: BTreeMap<(&'static str, String, String), u64>,
    pub(crate) operations: u64,
}

// === impl Coverage ===

impl Coverage {
    pub(crate) fn count(&mut self, op: &Op, result: &str) {
        self.operations += 1;
        let (request, mut options) = labels(op);
        options.push("any".to_owned());
        options.sort();
        options.dedup();
        for option in options {
            let result = result.strip_prefix("etcdserver: ").unwrap_or(result).to_owned();
            *self.counts.entry((request, option, result)).or_default() += 1;
        }
    }

    /// What a watch delivered.
    pub(crate) fn watched(&mut self, said: &[Said]) {
        for said in said {
            let option = match said {
                Said::Event(event) if event.r#type == 0 && event.prev_kv.is_some() => "put with prev_kv",
                Said::Event(event) if event.r#type == 0 => "put",
                Said::Event(event) if event.prev_kv.is_some() => "delete with prev_kv",
                Said::Event(_) => "delete",
                Said::Cancelled { compacted: 1.., .. } => "compacted",
                Said::Created | Said::Cancelled { .. } | Said::Broken(_) => continue,
            };
            self.add_one("Watch", option);
        }
    }

    pub(crate) fn add_one(&mut self, request: &'static str, option: &str) {
        *self.counts.entry((request, option.to_owned(), "ok".to_owned())).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
    }

    /// The listed pairs that were met less often than they must in so many operations.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.missing_of(required::ROWS)
    }

    /// Those of a run with users.
    pub(crate) fn missing_with_users(&self) -> Vec<String> {
        self.missing_of(permissions::ROWS)
    }

    fn missing_of(&self, rows: &[required::Row]) -> Vec<String> {
        // 50 in a full run of 200,000.
        let bound = 50 * self.operations / 200_000;
        let mut missing = Vec::new();
        for (request, result, options) in rows {
            for option in *options {
                let key = (*request, (*option).to_owned(), (*result).to_owned());
                let count = self.counts.get(&key).copied().unwrap_or(0);
                if count < bound {
                    missing.push(format!("{request} / {option} / {result}: {count} of {bound}"));
                }
            }
        }
        missing
    }

    /// Every pair with its count, one a line.
    pub(crate) fn table(&self) -> String {
        let rows = self.counts.iter();
        rows.map(|((request, option, result), count)| format!("{count:7}  {request} / {option} / {result}\n")).collect()
    }
}

/// The request's name, and the options that it uses.
fn labels(op: &Op) -> (&'static str, Vec<String>) {
    let mut options = Vec::new();
    let mut has = |given: bool, option: &str| {
        if given {
            options.push(option.to_owned());
        }
    };
    let request = match op {
        Op::Range(range) => {
            options.extend(range_labels(range));
            "Range"
        }
        Op::Put(put) => {
            options.extend(put_labels(put));
            "Put"
        }
        Op::DeleteRange(delete) => {
            options.extend(delete_labels(delete));
            "DeleteRange"
        }
        Op::Txn(txn) => {
            txn_labels(txn, 0, &mut options);
            "Txn"
        }
        Op::Compact { physical, .. } => {
            has(*physical, "physical");
            "Compact"
        }
        Op::WatchCreate(watch) => {
            options.extend(watch_labels(watch));
            "WatchCreate"
        }
        Op::WatchCancel { .. } => "WatchCancel",
        Op::WatchProgress { .. } => "WatchProgress",
        Op::WatchClose { .. } | Op::Settle | Op::Restart => "Settle",
        Op::LeaseGrant { id, ttl } => {
            has(*id == 0, "chosen id");
            has(*ttl < 2, "short TTL");
            "LeaseGrant"
        }
        Op::LeaseRevoke { id } => {
            has(matches!(id, Lease::Chosen(_)), "chosen id");
            has(*id == Lease::L(0), "id 0");
            "LeaseRevoke"
        }
        Op::LeaseKeepAlive { ids } => {
            has(ids.len() > 1, "several");
            has(ids.contains(&Lease::L(0)), "id 0");
            "LeaseKeepAlive"
        }
        Op::LeaseTimeToLive { keys, .. } => {
            has(*keys, "keys");
            "LeaseTimeToLive"
        }
        Op::LeaseLeases => "LeaseLeases",
        Op::MemberList { linearizable } => {
            has(*linearizable, "linearizable");
            "MemberList"
        }
        Op::Status => "Status",
        Op::Alarm { action, who, .. } => {
            has(*who == Who::Stranger, "of a stranger");
            has(true, ["get", "activate", "deactivate"][usize::try_from(*action).unwrap_or(0) % 3]);
            "Alarm"
        }
        Op::Defragment => "Defragment",
        Op::Hash => "Hash",
        Op::HashKV { rev } => {
            has(*rev != Rev::At(0), "revision");
            "HashKV"
        }
        Op::RoleGrantNothing { .. } => {
            has(true, "nothing");
            "RoleGrantPermission"
        }
        Op::UserAdd { no_password, .. } => {
            has(*no_password, "no password");
            "UserAdd"
        }
        other => admin::name(other).unwrap_or("As"),
    };
    (request, options)
}

fn chosen(pairs: &[(bool, &str)]) -> Vec<String> {
    pairs.iter().filter(|(given, _)| *given).map(|(_, option)| (*option).to_owned()).collect()
}

fn range_labels(range: &Range) -> Vec<String> {
    let none = Rev::At(0);
    let mut labels = chosen(&[
        (range.key == Key::Empty, "no key"),
        (range.end == End::One, "one key"),
        (range.end == End::Prefix, "prefix"),
        (range.end == End::FromKey, "from key"),
        (matches!(range.end, End::To(_)), "range"),
        (backwards(range.key, range.end), "backwards"),
        (range.limit > 0, "limit"),
        (range.limit < 0, "negative limit"),
        (range.rev != none, "revision"),
        (range.serializable, "serializable"),
        (range.keys_only, "keys_only"),
        (range.count_only, "count_only"),
        (range.mods.0 != none, "min_mod_revision"),
        (range.mods.1 != none, "max_mod_revision"),
        (range.creates.0 != none, "min_create_revision"),
        (range.creates.1 != none, "max_create_revision"),
    ]);
    labels.push(format!("sort_order {}", range.order));
    labels.push(format!("sort_target {}", range.target));
    labels
}

fn put_labels(put: &Put) -> Vec<String> {
    chosen(&[
        (put.key == Key::Empty, "no key"),
        (put.lease != Lease::L(0), "lease"),
        (put.prev_kv, "prev_kv"),
        (put.ignore_value, "ignore_value"),
        (put.ignore_lease, "ignore_lease"),
    ])
}

fn delete_labels(delete: &Delete) -> Vec<String> {
    chosen(&[
        (delete.key == Key::Empty, "no key"),
        (delete.end == End::One, "one key"),
        (delete.end == End::Prefix, "prefix"),
        (delete.end == End::FromKey, "from key"),
        (matches!(delete.end, End::To(_)), "range"),
        (backwards(delete.key, delete.end), "backwards"),
        (delete.prev_kv, "prev_kv"),
    ])
}

fn txn_labels(txn: &Txn, depth: usize, labels: &mut Vec<String>) {
    labels.push(format!("depth {depth}"));
    labels.extend(txn.compare.iter().flat_map(compare_labels));
    for step in txn.success.iter().chain(&txn.failure) {
        match step {
            Step::Get(range) => labels.extend(range_labels(range).into_iter().map(|label| format!("range: {label}"))),
            Step::Set(put) => labels.extend(put_labels(put).into_iter().map(|label| format!("put: {label}"))),
            Step::Del(delete) => {
                labels.extend(delete_labels(delete).into_iter().map(|label| format!("delete: {label}")))
            }
            Step::Sub(txn) => txn_labels(txn, depth + 1, labels),
            Step::Void => labels.push("nothing".to_owned()),
        }
    }
}

fn compare_labels(compare: &Compare) -> Vec<String> {
    let target = match compare.against {
        Against::Version(_) => "version",
        Against::Create(_) => "create",
        Against::Mod(_) => "mod",
        Against::Bytes(_) => "value",
        Against::Lease(_) => "lease",
        Against::Missing(_) => "nothing",
    };
    let result = match compare.result {
        0 => "equal",
        1 => "greater",
        2 => "less",
        3 => "not equal",
        _ => "unknown",
    };
    let range = if compare.end == End::One { "" } else { " of a range" };
    vec![format!("compare {target}{range}"), format!("compare {target} {result}")]
}

fn watch_labels(watch: &Watch) -> Vec<String> {
    chosen(&[
        (watch.id == 0, "chosen id"),
        (watch.end == End::One, "one key"),
        (watch.end == End::Prefix, "prefix"),
        (watch.end == End::FromKey, "from key"),
        (matches!(watch.end, End::To(_)), "range"),
        (backwards(watch.key, watch.end), "backwards"),
        (watch.filters.contains(&0), "no puts"),
        (watch.filters.contains(&1), "no deletes"),
        (watch.prev_kv, "prev_kv"),
        (watch.fragment, "fragment"),
        (watch.progress_notify, "progress_notify"),
        (watch.start != Rev::At(0), "revision"),
        (matches!(watch.start, Rev::Head(1..)), "revision to come"),
        (matches!(watch.start, Rev::Compacted(_)), "revision about the compaction"),
    ])
}

fn backwards(key: Key, end: End) -> bool {
    matches!((key, end), (Key::K(first), End::To(Key::K(last))) if last <= first)
}
