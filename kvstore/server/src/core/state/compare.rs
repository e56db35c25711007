//! What a transaction asks before it chooses its branch.

use std::{cmp::Ordering, ops::ControlFlow};

use crate::{
    core::{
        span::Span,
        store::{Kv, Store},
    },
    pb::etcdserverpb::{
        self as pb,
        compare::{CompareResult, CompareTarget, TargetUnion},
    },
};

/// An absent key as a compare sees it; its value cannot be compared.
const ABSENT: Kv = Kv { key: &[], value: &[], created: 0, modified: 0, version: 0, lease: 0 };

/// Every key of the compare's range meets it; an absent one counts as one of version 0.
pub(super) fn holds(store: &Store, revision: i64, compare: &pb::Compare) -> bool {
    let span = Span::new(compare.key.clone(), compare.range_end.clone());
    let (mut any, mut all) = (false, true);
    store.each(&span, revision, |kv| {
        any = true;
        all = meets(compare, &kv);
        if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if any { all } else { compare.target != CompareTarget::Value as i32 && meets(compare, &ABSENT) }
}

/// A target without its value compares with nothing: 0, or no bytes.
fn meets(compare: &pb::Compare, kv: &Kv) -> bool {
    let wanted = &compare.target_union;
    let number = |is: i64, wanted: Option<i64>| is.cmp(&wanted.unwrap_or(0));
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => kv.value.cmp(match wanted {
            Some(TargetUnion::Value(value)) => value,
            _ => &[],
        }),
        Ok(CompareTarget::Create) => number(
            kv.created,
            match wanted {
                Some(TargetUnion::CreateRevision(wanted)) => Some(*wanted),
                _ => None,
            },
        ),
        Ok(CompareTarget::Mod) => number(
            kv.modified,
            match wanted {
                Some(TargetUnion::ModRevision(wanted)) => Some(*wanted),
                _ => None,
            },
        ),
        Ok(CompareTarget::Version) => number(
            kv.version,
            match wanted {
                Some(TargetUnion::Version(wanted)) => Some(*wanted),
                _ => None,
            },
        ),
        Ok(CompareTarget::Lease) => number(
            kv.lease,
            match wanted {
                Some(TargetUnion::Lease(wanted)) => Some(*wanted),
                _ => None,
            },
        ),
        // etcd compares nothing with nothing.
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order == Ordering::Equal,
        Ok(CompareResult::NotEqual) => order != Ordering::Equal,
        Ok(CompareResult::Greater) => order == Ordering::Greater,
        Ok(CompareResult::Less) => order == Ordering::Less,
        Err(_) => true,
    }
}
