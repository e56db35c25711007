//! What random sequences found, and was mended.

use crate::{
    cases::same,
    op::{
        Against, Compare, Delete,
        End::{FromKey, One},
        Key::{K, Nul},
        Lease::L,
        Op, Put, Range,
        Rev::{At, Compacted, Head},
        Step, Txn,
        Value::{Nothing, V},
        Watch, Who,
    },
};

fn put(key: u8, value: u8) -> Put {
    Put { key: K(key), value: V(value), lease: L(0), prev_kv: false, ignore_value: false, ignore_lease: false }
}

fn all(range: Range) -> Range {
    Range { key: Nul, end: FromKey, ..range }
}

fn watch(start: crate::op::Rev) -> Op {
    Op::WatchCreate(Watch {
        stream: 0,
        id: 5,
        key: Nul,
        end: FromKey,
        start,
        filters: Vec::new(),
        prev_kv: true,
        fragment: false,
        progress_notify: false,
    })
}

/// A transaction that takes a branch without a put was answered as a read.
#[test]
fn without_space_what_could_put_is_refused_whichever_branch_it_takes() {
    let compare = vec![Compare { key: K(1), end: One, result: 0, against: Against::Version(1) }];
    same(&[
        Op::Alarm { action: 1, who: Who::Own, alarm: 1 },
        Op::Txn(Txn { compare, success: vec![Step::Set(put(0, 0))], failure: Vec::new() }),
        Op::Alarm { action: 1, who: Who::Everyone, alarm: 1 },
        Op::Status,
    ]);
}

/// An unknown target was held to be equal to anything.
#[test]
fn an_unknown_target_compares_nothing_with_nothing() {
    for result in 0..5 {
        let compare = vec![Compare { key: K(1), end: One, result, against: Against::Missing(9) }];
        same(&[Op::Put(put(1, 1)), Op::Txn(Txn { compare, ..Txn::default() })]);
    }
}

/// A negative revision was the newest everywhere.
#[test]
fn a_negative_revision_is_the_newest_only_of_a_range() {
    let mut ops = Vec::new();
    for rev in [At(-1), At(-2)] {
        let range = all(Range { rev, ..Range::one() });
        ops.extend([
            Op::Range(range.clone()),
            Op::Txn(Txn { success: vec![Step::Get(range)], ..Txn::default() }),
            Op::HashKV { rev },
            watch(rev),
            Op::Put(put(1, 1)),
            Op::Put(put(2, 1)),
            Op::Compact { rev: Head(-1), physical: true },
        ]);
    }
    same(&ops);
}

/// Nothing was before 0, so it was compacted.
#[test]
fn revision_0_can_be_compacted_once() {
    same(&[
        Op::Compact { rev: At(-1), physical: false },
        Op::Compact { rev: At(0), physical: true },
        Op::Compact { rev: At(0), physical: true },
        Op::Txn(Txn { success: vec![Step::Get(Range { rev: At(-1), ..Range::one() })], ..Txn::default() }),
    ]);
}

/// All were sorted, and then the limit was applied.
#[test]
fn without_an_order_only_what_the_limit_lets_through_is_sorted() {
    let mut ops: Vec<Op> = [3, 1, 5, 2, 4].into_iter().map(|key| Op::Put(put(key, key))).collect();
    for target in 0..5 {
        for limit in 0..6 {
            for order in 0..3 {
                ops.push(Op::Range(all(Range { target, limit, order, ..Range::one() })));
            }
        }
    }
    same(&ops);
}

/// The value from before the revision came with it.
#[test]
fn a_key_that_is_deleted_and_created_in_one_revision_has_no_previous_value() {
    let delete = Step::Del(Delete { key: K(0), end: FromKey, prev_kv: false });
    same(&[
        watch(At(0)),
        Op::Put(put(3, 1)),
        Op::Txn(Txn { success: vec![delete, Step::Set(put(3, 2))], ..Txn::default() }),
        Op::Put(Put { value: Nothing, ignore_value: true, ..put(3, 0) }),
        Op::Settle,
        Op::Compact { rev: Head(0), physical: true },
        Op::WatchClose { stream: 0 },
        watch(Compacted(0)),
    ]);
}
