//! A copy-on-write B-tree: clones share every node, a change copies only the path to it.
//!
//! Ours because its memory decides what an agent of a large mesh weighs: entries lie densely in nodes of up to
//! [`MAX`], where hash tries and balanced binary trees pay an allocation an entry. An owner that holds the only clone
//! changes nodes in place, so bulk loads copy nothing.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

/// Entries a node: a node of pointers and small keys fills about a page, and a copy of the path stays below three.
const MAX: usize = 64;
/// Below this a node looks for a neighbour to merge with.
const MIN: usize = MAX / 4;
/// A node that is full to the brim gets room for so many more: twice the room, as vectors take, would stay half empty.
const ROOM: usize = 8;

/// An ordered map from `K` to `V` whose clone is O(1).
#[derive(Debug)]
pub struct Tree<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

/// A child with a lower bound of its keys.
type Child<K, V> = (K, Arc<Node<K, V>>);

#[derive(Debug)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// The first child's bound is not looked at.
    Inner(Vec<Child<K, V>>),
}

// === impl Tree ===

impl<K, V> Clone for Tree<K, V> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), len: self.len }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl<K, V> Tree<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, ascending.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.iter_from(|_| Ordering::Greater)
    }

    /// Entries ascending from the first one that `at` does not call `Less`.
    ///
    /// `at` compares an entry's key with the wanted start and must be monotone over the order of keys.
    pub fn iter_from(&self, at: impl Fn(&K) -> Ordering) -> Iter<'_, K, V> {
        let mut stack = Vec::with_capacity(4);
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let start = entries.partition_point(|(key, _)| at(key) == Ordering::Less);
                    return Iter { stack, leaf: entries[start..].iter() };
                }
                Node::Inner(children) => {
                    let above = children.partition_point(|(bound, _)| at(bound) == Ordering::Less);
                    let child = above.saturating_sub(1);
                    stack.push(children[child + 1..].iter());
                    node = &children[child].1;
                }
            }
        }
    }
}

impl<K: Ord, V> Tree<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let found = entries.binary_search_by(|(entry, _)| entry.borrow().cmp(key)).ok()?;
                    return Some(&entries[found].1);
                }
                Node::Inner(children) => node = &children[child_of(children, key)].1,
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> Tree<K, V> {
    /// Sets the value of a key and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let root = Arc::make_mut(&mut self.root);
        let (replaced, split) = root.insert(key, value);
        if let Some((bound, right)) = split {
            let left = std::mem::replace(root, Node::Inner(Vec::new()));
            let lowest = left.lowest().clone();
            *root = Node::Inner(vec![(lowest, Arc::new(left)), (bound, Arc::new(right))]);
        }
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Removes a key and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        // Without this look-up a removal of an absent key would copy the path for nothing.
        self.get(key)?;
        let root = Arc::make_mut(&mut self.root);
        let removed = root.remove(key)?;
        self.len -= 1;
        if let Node::Inner(children) = root
            && children.len() == 1
            && let Some((_, only)) = children.pop()
        {
            self.root = only;
        }
        Some(removed)
    }
}

// === impl Node ===

/// The child whose range holds `key`.
fn child_of<K: Borrow<Q>, V, Q: Ord + ?Sized>(children: &[(K, V)], key: &Q) -> usize {
    // Ascending loads end here.
    match children {
        [.., (bound, _)] if bound.borrow() <= key => children.len() - 1,
        _ => children.partition_point(|(bound, _)| bound.borrow() <= key).saturating_sub(1),
    }
}

/// Where a key stands in a leaf, or would.
fn place<K: Ord, V>(entries: &[(K, V)], key: &K) -> Result<usize, usize> {
    match entries.last() {
        Some((last, _)) if last < key => Err(entries.len()),
        _ => entries.binary_search_by(|(entry, _)| entry.cmp(key)),
    }
}

/// A copy is about to change.
impl<K: Clone, V: Clone> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        fn roomy<T: Clone>(entries: &[T]) -> Vec<T> {
            let mut copy = Vec::with_capacity(entries.len() + room(entries.len()));
            copy.extend_from_slice(entries);
            copy
        }
        match self {
            Self::Leaf(entries) => Self::Leaf(roomy(entries)),
            Self::Inner(children) => Self::Inner(roomy(children)),
        }
    }
}

/// How many entries more a node of so many shall have room for; one too many comes before a split.
fn room(len: usize) -> usize {
    ROOM.min((MAX + 1).saturating_sub(len))
}

fn insert_at<T>(entries: &mut Vec<T>, at: usize, entry: T) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact(room(entries.len()));
    }
    entries.insert(at, entry);
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    fn lowest(&self) -> &K {
        match self {
            Self::Leaf(entries) => &entries[0].0,
            Self::Inner(children) => &children[0].0,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.len(),
        }
    }

    /// Inserts below this node; returns the replaced value, and the new right sibling when the node had to split.
    fn insert(&mut self, key: K, value: V) -> (Option<V>, Option<(K, Self)>) {
        match self {
            Self::Leaf(entries) => match place(entries, &key) {
                Ok(at) => (Some(std::mem::replace(&mut entries[at].1, value)), None),
                Err(at) => {
                    insert_at(entries, at, (key, value));
                    let split = split(entries, at);
                    (None, split.map(|(bound, right)| (bound, Self::Leaf(right))))
                }
            },
            Self::Inner(children) => {
                let at = child_of(children, &key);
                let (replaced, grown) = Arc::make_mut(&mut children[at].1).insert(key, value);
                let Some((bound, right)) = grown else { return (replaced, None) };
                insert_at(children, at + 1, (bound, Arc::new(right)));
                let split = split(children, at + 1);
                (replaced, split.map(|(bound, right)| (bound, Self::Inner(right))))
            }
        }
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Leaf(entries) => {
                let at = entries.binary_search_by(|(entry, _)| entry.borrow().cmp(key)).ok()?;
                Some(entries.remove(at).1)
            }
            Self::Inner(children) => {
                let at = child_of(children, key);
                let child = Arc::make_mut(&mut children[at].1);
                let removed = child.remove(key)?;
                if child.size() < MIN {
                    merge(children, at);
                }
                Some(removed)
            }
        }
    }

    /// Moves the entries of `right`, whose keys are all greater, behind ours.
    fn append(&mut self, right: Self) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => left.extend(right),
            (Self::Inner(left), Self::Inner(right)) => left.extend(right),
            _ => unreachable!("siblings stand on the same level"),
        }
    }
}

/// Splits a node that outgrew [`MAX`]. Appending at the end (ascending bulk loads) leaves the left node full.
fn split<K: Clone, V>(entries: &mut Vec<(K, V)>, inserted: usize) -> Option<(K, Vec<(K, V)>)> {
    if entries.len() <= MAX {
        return None;
    }
    let at = if inserted + 1 == entries.len() { MAX } else { entries.len() / 2 };
    let right = entries.split_off(at);
    entries.shrink_to_fit();
    Some((right[0].0.clone(), right))
}

/// Merges the child at `at` with a neighbour where both fit into one node; drops it when it is empty.
fn merge<K: Ord + Clone, V: Clone>(children: &mut Vec<(K, Arc<Node<K, V>>)>, at: usize) {
    if children[at].1.size() == 0 && children.len() > 1 {
        children.remove(at);
        return;
    }
    let fits = |left: usize, right: usize| {
        right < children.len() && children[left].1.size() + children[right].1.size() <= MAX * 3 / 4
    };
    let left = match at {
        _ if fits(at, at + 1) => at,
        1.. if fits(at - 1, at) => at - 1,
        _ => return,
    };
    let (_, right) = children.remove(left + 1);
    let right = Arc::unwrap_or_clone(right);
    Arc::make_mut(&mut children[left].1).append(right);
}

// === impl Iter ===

/// Entries of a [`Tree`], ascending.
#[derive(Debug)]
pub struct Iter<'a, K, V> {
    stack: Vec<std::slice::Iter<'a, Child<K, V>>>,
    leaf: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            let (_, child) = loop {
                match self.stack.last_mut()?.next() {
                    Some(child) => break child,
                    None => self.stack.pop(),
                };
            };
            let mut node = &**child;
            while let Node::Inner(children) = node {
                let mut rest = children.iter();
                let Some((_, first)) = rest.next() else { break };
                self.stack.push(rest);
                node = first;
            }
            if let Node::Leaf(entries) = node {
                self.leaf = entries.iter();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16, u32),
        Remove(u16),
        Snapshot,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            5 => (0u16..700, any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            4 => (0u16..700).prop_map(Step::Remove),
            1 => Just(Step::Snapshot),
        ];
        proptest::collection::vec(step, 0..3000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_as_std_btreemap_and_leaves_snapshots_alone(steps in steps()) {
            let mut tree = Tree::default();
            let mut model = BTreeMap::new();
            let mut snapshots = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => prop_assert_eq!(tree.insert(key, value), model.insert(key, value)),
                    Step::Remove(key) => prop_assert_eq!(tree.remove(&key), model.remove(&key)),
                    Step::Snapshot => snapshots.push((tree.clone(), model.clone())),
                }
                prop_assert_eq!(tree.len(), model.len());
            }
            snapshots.push((tree, model));
            for (tree, model) in snapshots {
                prop_assert!(tree.iter().eq(model.iter()));
                for from in [0u16, 1, 63, 64, 65, 350, 699, 1000] {
                    let ours = tree.iter_from(|key| key.cmp(&from));
                    prop_assert!(ours.eq(model.range(from..)));
                }
            }
        }
    }

    /// Leaves that grew as vectors do were little more than half full: a quarter of a table's memory.
    #[test]
    fn leaves_have_little_room_to_spare_in_random_order_and_after_copies() {
        fn leaves(node: &Node<u32, ()>, look: &mut impl FnMut(&Vec<(u32, ())>)) {
            match node {
                Node::Leaf(entries) => look(entries),
                Node::Inner(children) => children.iter().for_each(|(_, child)| leaves(child, look)),
            }
        }
        let mut tree = Tree::default();
        let mut snapshot = tree.clone();
        for step in 0..20_000u32 {
            tree.insert(step.wrapping_mul(0x9e37_79b9), ());
            if step % 500 == 0 {
                snapshot = tree.clone();
            }
        }
        assert_eq!(snapshot.len(), 19_501);
        let (mut count, mut spare) = (0, 0);
        leaves(&tree.root, &mut |entries| {
            count += entries.len();
            spare = spare.max(entries.capacity() - entries.len());
        });
        assert_eq!((count, spare), (20_000, ROOM - 1));
    }

    #[test]
    fn ascending_load_fills_nodes() {
        let mut tree = Tree::default();
        for key in 0..64 * 64u32 {
            tree.insert(key, ());
        }
        let Node::Inner(children) = &*tree.root else { panic!("one level of inner nodes") };
        assert_eq!(children.len(), 64);
    }
}
