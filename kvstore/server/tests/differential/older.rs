//! What etcd 3.4 answers otherwise than 3.6, so that it can stand in where there is no Go to build 3.6.

use crate::{answer::Answer, op::Op, request::Moment};

/// Whether both versions answer this alike; what they do not is not sent.
pub(crate) fn alike(op: &Op, now: &Moment<'_>) -> bool {
    match op {
        // 3.4 takes an unknown order for none, and ends with a panic at an unknown target.
        Op::Range(range) => (0..3).contains(&range.order) && (0..5).contains(&range.target),
        // 3.4 makes the watch, and cancels it later with a header without a revision.
        Op::WatchCreate(watch) if now.rev(watch.start) < 0 => false,
        // 3.4 counts the compacted revision itself as compacted here, and 3.6 remembers hashes of those before.
        Op::HashKV { rev } => now.rev(*rev) == 0 || now.rev(*rev) > now.compacted,
        // 3.4 does not count what a nested transaction puts.
        Op::Alarm { action, .. } => *action != 1,
        // 3.4 loses a deletion at the compacted revision.
        Op::WatchCreate(watch) => now.rev(watch.start) != now.compacted || now.compacted == 0,
        _ => true,
    }
}

/// Leaves out the fields that 3.4 does not have.
pub(crate) fn mask(answer: &mut Answer) {
    match answer {
        Answer::Alarm(response) => response.header = None,
        Answer::HashKV(response) => (response.hash_revision, response.compact_revision) = (0, 0),
        Answer::Status(status) => {
            status.version.clear();
            status.storage_version.clear();
            status.db_size_quota = 0;
            status.downgrade_info = None;
        }
        // Of several reasons to refuse a transaction 3.4 finds another one first.
        Answer::Refused { code, message } if LATE.iter().any(|late| message.ends_with(late)) => {
            *code = 0;
            message.clear();
        }
        _ => {}
    }
}

/// What is found only when a request is applied.
const LATE: [&str; 4] = [
    "required revision is a future revision",
    "required revision has been compacted",
    "requested lease not found",
    "key not found",
];
