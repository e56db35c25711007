//! A set of labels with at most one label per key.

use std::{fmt, sync::Arc};

use crate::Label;

/// Labels sorted by key (byte order; the source takes no part). Of two labels with one key the
/// last given wins. Cloning is one reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Arc<[Label]>);

// === impl Labels ===

impl Labels {
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The label of that key; with a source other than `any`, only if it comes from there.
    pub fn get(&self, source: Option<&str>, key: &str) -> Option<&Label> {
        let found = &self.0[self.0.binary_search_by(|label| label.key().cmp(key)).ok()?];
        match source {
            None | Some(Label::ANY) => Some(found),
            Some(source) => (found.source() == source).then_some(found),
        }
    }

    pub fn value(&self, source: Option<&str>, key: &str) -> Option<&str> {
        self.get(source, key).map(Label::value)
    }

    /// The cluster that these labels say they belong to.
    pub fn cluster(&self) -> Option<&str> {
        self.value(Some(Label::K8S), crate::keys::POLICY_CLUSTER)
    }

    pub fn namespace(&self) -> Option<&str> {
        self.value(Some(Label::K8S), crate::keys::POD_NAMESPACE)
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        let mut all: Vec<Label> = labels.into_iter().collect();
        // Stable, so the last given of one key is the last of its run.
        all.sort_by(|a, b| a.key().cmp(b.key()));
        let mut kept: Vec<Label> = Vec::with_capacity(all.len());
        for label in all {
            match kept.last_mut() {
                Some(last) if last.key() == label.key() => *last = label,
                _ => kept.push(label),
            }
        }
        Self(kept.into())
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, label) in self.iter().enumerate() {
            write!(f, "{}{label}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> Labels {
        text.split(',').map(|l| l.parse().unwrap()).collect()
    }

    #[test]
    fn sorted_by_key_and_last_of_a_key_wins() {
        let set = labels("z:b=1,k8s:c=2,a:b=3,k8s:a=4");
        assert_eq!(set.to_string(), "k8s:a=4,a:b=3,k8s:c=2");
        assert_eq!(set.value(None, "b"), Some("3"));
        assert_eq!(set.value(Some("any"), "b"), Some("3"));
        assert_eq!(set.value(Some("z"), "b"), None);
        assert_eq!(set.value(None, "d"), None);
    }

    proptest! {
        #[test]
        fn order_of_distinct_keys_does_not_matter(mut keys in proptest::collection::btree_set("[a-c./]{1,4}", 0..6)
            .prop_map(|s| s.into_iter().collect::<Vec<_>>()), seed in any::<u64>()) {
            let build = |keys: &[String]| keys.iter().map(|k| Label::k8s(k, "v").unwrap()).collect::<Labels>();
            let straight = build(&keys);
            keys.sort_by_key(|k| k.len() as u64 ^ seed.rotate_left(k.as_bytes()[0].into()));
            prop_assert_eq!(&straight, &build(&keys));
            for key in &keys {
                prop_assert!(straight.get(Some("k8s"), key).is_some());
            }
        }
    }
}
