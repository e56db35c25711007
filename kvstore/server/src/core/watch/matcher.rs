//! Which groups want a key: single keys and prefixes by look-up, other ranges one by one.
//!
//! A key is looked up once for each length that some watched prefix has, which are few.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::GroupId;
use crate::core::span::Span;

#[derive(Debug, Default)]
pub(super) struct Matcher {
    exact: HashMap<Bytes, Vec<GroupId>>,
    prefixes: BTreeMap<usize, HashMap<Bytes, Vec<GroupId>>>,
    others: Vec<(Span, GroupId)>,
}

// === impl Matcher ===

impl Matcher {
    pub(super) fn add(&mut self, span: &Span, group: GroupId) {
        if let Some(key) = span.one() {
            self.exact.entry(Bytes::copy_from_slice(key)).or_default().push(group);
        } else if let Some(prefix) = prefix(span) {
            let of_length = self.prefixes.entry(prefix.len()).or_default();
            of_length.entry(Bytes::copy_from_slice(prefix)).or_default().push(group);
        } else {
            self.others.push((span.clone(), group));
        }
    }

    pub(super) fn remove(&mut self, span: &Span, group: GroupId) {
        if let Some(key) = span.one() {
            take(&mut self.exact, key, group);
        } else if let Some(prefix) = prefix(span) {
            if let Some(of_length) = self.prefixes.get_mut(&prefix.len()) {
                take(of_length, prefix, group);
                if of_length.is_empty() {
                    self.prefixes.remove(&prefix.len());
                }
            }
        } else {
            self.others.retain(|(_, other)| *other != group);
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> impl Iterator<Item = GroupId> {
        let exact = self.exact.get(key).into_iter().flatten();
        let prefixes = self.prefixes.range(..=key.len());
        let prefixes = prefixes.filter_map(move |(length, of_length)| of_length.get(&key[..*length])).flatten();
        let others = self.others.iter().filter(move |(span, _)| span.contains(key)).map(|(_, group)| group);
        exact.chain(prefixes).chain(others).copied()
    }
}

/// The prefix that a range is, if it is one: its end is its start with the last byte one higher.
fn prefix(span: &Span) -> Option<&[u8]> {
    let (start, end) = (span.start(), span.before()?);
    let (last, head) = start.split_last()?;
    let (end_last, end_head) = end.split_last()?;
    (head == end_head && *last < u8::MAX && *end_last == last + 1).then_some(start)
}

fn take(rows: &mut HashMap<Bytes, Vec<GroupId>>, key: &[u8], group: GroupId) {
    if let Some(groups) = rows.get_mut(key) {
        groups.retain(|other| *other != group);
        if groups.is_empty() {
            rows.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the spans are, a key finds exactly those that contain it.
        #[test]
        fn finds_what_contains_the_key(
            spans in prop::collection::vec(("[a-c]{1,3}", "[a-d]{0,3}"), 1..20), gone: u8, key in "[a-d]{1,4}"
        ) {
            let mut matcher = Matcher::default();
            let spans: Vec<Span> = spans.into_iter().map(|(start, end)| Span::new(start.into(), end.into())).collect();
            spans.iter().zip(0..).for_each(|(span, group)| matcher.add(span, group));
            let gone = u32::from(gone) % spans.len() as u32;
            matcher.remove(&spans[gone as usize], gone);
            let mut found: Vec<u32> = matcher.find(key.as_bytes()).collect();
            found.sort_unstable();
            let wanted = (0..spans.len() as u32).filter(|group| *group != gone && spans[*group as usize].contains(key.as_bytes()));
            prop_assert_eq!(found, wanted.collect::<Vec<_>>());
        }
    }
}
