//! What a user's roles add up to: disjoint spans of keys that may be read, and that may be written.

use bytes::{BufMut, Bytes, BytesMut};

use super::Access;
use crate::{
    core::span::Span,
    pb::authpb::{Permission, permission::Type},
};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Grants {
    reads: Spans,
    writes: Spans,
}

/// In order; they neither overlap nor touch. No end is the end of all keys.
#[derive(Debug, Clone, Default, PartialEq)]
struct Spans(Vec<(Bytes, Option<Bytes>)>);

// === impl Grants ===

impl Grants {
    pub(super) fn of<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Self {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for permission in permissions {
            let span = (permission.key.clone(), end(permission));
            // What a later version calls by a number unknown here grants nothing, as in etcd.
            match Type::try_from(permission.perm_type) {
                Ok(Type::Read) => reads.push(span),
                Ok(Type::Write) => writes.push(span),
                Ok(Type::Readwrite) => {
                    reads.push(span.clone());
                    writes.push(span);
                }
                Err(_) => {}
            }
        }
        Self { reads: Spans::of(reads), writes: Spans::of(writes) }
    }

    pub(super) fn allow(&self, access: Access, span: &Span) -> bool {
        match access {
            Access::Read => self.reads.cover(span),
            Access::Write => self.writes.cover(span),
        }
    }
}

/// Where a permission ends: behind its one key, before the end that it names, or nowhere.
fn end(permission: &Permission) -> Option<Bytes> {
    match &permission.range_end[..] {
        [] => {
            let mut after = BytesMut::with_capacity(permission.key.len() + 1);
            after.put_slice(&permission.key);
            after.put_u8(0);
            Some(after.freeze())
        }
        [0] => None,
        _ => Some(permission.range_end.clone()),
    }
}

// === impl Spans ===

impl Spans {
    fn of(mut spans: Vec<(Bytes, Option<Bytes>)>) -> Self {
        spans.sort_unstable();
        let mut merged: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for (start, end) in spans {
            match merged.last_mut() {
                Some((_, last)) if last.as_ref().is_none_or(|last| start <= *last) => {
                    let goes_on = match (&*last, &end) {
                        (Some(last), Some(end)) => end > last,
                        (Some(_), None) => true,
                        (None, _) => false,
                    };
                    if goes_on {
                        *last = end;
                    }
                }
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// Whether all of it is in. Of a range without keys the first has to be, as in etcd.
    fn cover(&self, span: &Span) -> bool {
        let at = self.0.partition_point(|(start, _)| start[..] <= *span.start());
        let Some((_, end)) = at.checked_sub(1).and_then(|at| self.0.get(at)) else { return false };
        let Some(end) = end else { return true };
        if *span.start() >= end[..] {
            return false;
        }
        span.one().is_some() || span.is_empty() || span.before().is_some_and(|before| *before <= end[..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permission(kind: Type, key: &[u8], end: &[u8]) -> Permission {
        Permission { perm_type: kind as i32, key: Bytes::copy_from_slice(key), range_end: Bytes::copy_from_slice(end) }
    }

    fn span(key: &[u8], end: &[u8]) -> Span {
        Span::new(Bytes::copy_from_slice(key), Bytes::copy_from_slice(end))
    }

    #[test]
    fn neighbours_add_up_and_gaps_do_not() {
        let all = [
            permission(Type::Read, b"a", b"c"),
            permission(Type::Read, b"c", b"e"),
            permission(Type::Readwrite, b"g", b""),
            permission(Type::Write, b"x", b"\0"),
        ];
        let grants = Grants::of(all.iter());
        let reads = |key: &[u8], end: &[u8]| grants.allow(Access::Read, &span(key, end));
        let writes = |key: &[u8], end: &[u8]| grants.allow(Access::Write, &span(key, end));
        assert!(reads(b"a", b"e") && reads(b"b", b"d") && reads(b"d", b""));
        assert!(!reads(b"a", b"f") && !reads(b"e", b"") && !reads(b"a", b"\0"));
        assert!(reads(b"g", b"") && reads(b"g", b"g\0") && !reads(b"g", b"h"));
        assert!(writes(b"x", b"\0") && writes(b"y", b"z") && writes(b"g", b"") && !writes(b"a", b""));
        assert!(reads(b"d", b"a"), "no keys, and the first is readable");
        assert!(!reads(b"f", b"a"));
    }

    proptest! {
        /// Against the definition: every key of the asked range is in some permission.
        #[test]
        fn what_is_covered_is_covered_key_by_key(
            permissions in proptest::collection::vec((0u8..8, 0u8..9), 0..6),
            asked in (0u8..8, 0u8..9),
        ) {
            let all: Vec<Permission> =
                permissions.iter().filter(|(from, to)| from < to)
                    .map(|(from, to)| permission(Type::Read, &[b'a' + from], &[b'a' + to])).collect();
            prop_assume!(asked.0 < asked.1);
            let inside = |key: u8| permissions.iter().any(|(from, to)| (*from..*to).contains(&key));
            let expected = (asked.0..asked.1).all(inside);
            let covered = Grants::of(all.iter()).allow(Access::Read, &span(&[b'a' + asked.0], &[b'a' + asked.1]));
            prop_assert_eq!(covered, expected);
        }
    }
}
