//! All keys in order, counted: a B+ tree of key numbers whose inner nodes know how many keys, and how many live ones,
//! each child holds. Counts and pages cost O(log n).
//!
//! The tree holds numbers; what they spell is told by [`Keys`]. A node's separators are the numbers of the smallest keys
//! of its children, so a key is never spelled twice.

use super::keys::{KeyId, Keys};

const WIDTH: usize = 64;

#[derive(Debug)]
enum Node {
    Leaf(Vec<KeyId>),
    Inner(Vec<Child>),
}

#[derive(Debug, Clone, Copy)]
struct Child {
    node: u32,
    low: KeyId,
    live: u32,
}

#[derive(Debug)]
pub(crate) struct Index {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: u32,
}

// === impl Index ===

impl Index {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::Leaf(Vec::new())], free: Vec::new(), root: 0 }
    }

    /// Builds from keys in order.
    pub(crate) fn bulk(keys: &Keys, sorted: &[KeyId]) -> Self {
        let mut index = Self { nodes: Vec::new(), free: Vec::new(), root: 0 };
        let mut level: Vec<Child> = Vec::new();
        // Three quarters full: the next keys do not split every leaf at once.
        for chunk in sorted.chunks(WIDTH * 3 / 4) {
            let node = index.nodes.len() as u32;
            index.nodes.push(Node::Leaf(chunk.to_vec()));
            level.push(Child { node, low: chunk[0], live: live(keys, chunk) });
        }
        if level.is_empty() {
            return Self::new();
        }
        while level.len() > 1 {
            level = level
                .chunks(WIDTH * 3 / 4)
                .map(|children| {
                    let node = index.nodes.len() as u32;
                    index.nodes.push(Node::Inner(children.to_vec()));
                    Child { node, low: children[0].low, live: children.iter().map(|child| child.live).sum() }
                })
                .collect();
        }
        index.root = level[0].node;
        index
    }

    pub(crate) fn find(&self, keys: &Keys, key: &[u8]) -> Option<KeyId> {
        let mut node = self.root;
        loop {
            match &self.nodes[node as usize] {
                Node::Leaf(held) => {
                    return held.binary_search_by(|id| keys.spell(*id).cmp(key)).ok().map(|at| held[at]);
                }
                Node::Inner(children) => node = children[child_of(keys, children, key)].node,
            }
        }
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, keys: &Keys, id: KeyId) {
        if let Some(split) = self.insert_in(keys, self.root, id, keys.spell(id)) {
            let (low, live) = match &self.nodes[self.root as usize] {
                Node::Leaf(held) => (held[0], live(keys, held)),
                Node::Inner(children) => (children[0].low, children.iter().map(|child| child.live).sum()),
            };
            let lower = Child { node: self.root, low, live };
            self.root = self.add(Node::Inner(vec![lower, split]));
        }
    }

    /// Takes a key out. Its number must still spell it.
    pub(crate) fn remove(&mut self, keys: &Keys, id: KeyId) {
        self.remove_in(keys, self.root, keys.spell(id), u32::from(keys.is_live(id)));
        while let Node::Inner(children) = &self.nodes[self.root as usize] {
            match children.len() {
                0 => {
                    self.nodes[self.root as usize] = Node::Leaf(Vec::new());
                }
                1 => {
                    let only = children[0].node;
                    self.free.push(self.root);
                    self.root = only;
                }
                _ => break,
            }
        }
    }

    /// A key began or ceased to live.
    pub(crate) fn recount(&mut self, keys: &Keys, id: KeyId, lives: bool) {
        let key = keys.spell(id);
        let mut node = self.root;
        while let Node::Inner(children) = &mut self.nodes[node as usize] {
            let at = child_of(keys, children, key);
            let child = &mut children[at];
            child.live = if lives { child.live + 1 } else { child.live - 1 };
            node = child.node;
        }
    }

    /// Live keys before this one.
    pub(crate) fn rank(&self, keys: &Keys, key: &[u8]) -> u64 {
        let mut node = self.root;
        let mut before = 0;
        loop {
            match &self.nodes[node as usize] {
                Node::Leaf(held) => {
                    let at = held.partition_point(|id| keys.spell(*id) < key);
                    return before + u64::from(live(keys, &held[..at]));
                }
                Node::Inner(children) => {
                    let at = child_of(keys, children, key);
                    before += children[..at].iter().map(|child| u64::from(child.live)).sum::<u64>();
                    node = children[at].node;
                }
            }
        }
    }

    /// All live keys.
    pub(crate) fn live(&self, keys: &Keys) -> u64 {
        u64::from(match &self.nodes[self.root as usize] {
            Node::Leaf(held) => live(keys, held),
            Node::Inner(children) => children.iter().map(|child| child.live).sum(),
        })
    }

    /// Keys from this one on, dead ones too, in order.
    pub(crate) fn from<'a>(&'a self, keys: &'a Keys, key: &[u8]) -> impl Iterator<Item = KeyId> + use<'a> {
        // The way down to the next key: each node with the place to go on at.
        let mut way = Vec::new();
        let mut node = self.root;
        loop {
            match &self.nodes[node as usize] {
                Node::Leaf(held) => {
                    way.push((node, held.partition_point(|id| keys.spell(*id) < key)));
                    break;
                }
                Node::Inner(children) => {
                    let at = child_of(keys, children, key);
                    way.push((node, at + 1));
                    node = children[at].node;
                }
            }
        }
        std::iter::from_fn(move || {
            loop {
                let (node, at) = way.last_mut()?;
                let below = match &self.nodes[*node as usize] {
                    Node::Leaf(held) => match held.get(*at) {
                        Some(id) => {
                            *at += 1;
                            return Some(*id);
                        }
                        None => None,
                    },
                    Node::Inner(children) => children.get(*at).map(|child| child.node),
                };
                match below {
                    Some(below) => {
                        *at += 1;
                        way.push((below, 0));
                    }
                    None => {
                        way.pop();
                    }
                }
            }
        })
    }

    /// The upper half, when the node was split.
    fn insert_in(&mut self, keys: &Keys, node: u32, id: KeyId, key: &[u8]) -> Option<Child> {
        let (at, next) = match &mut self.nodes[node as usize] {
            Node::Leaf(held) => {
                held.insert(held.partition_point(|other| keys.spell(*other) < key), id);
                let upper = (held.len() > WIDTH).then(|| held.split_off(WIDTH / 2))?;
                let (low, live) = (upper[0], live(keys, &upper));
                return Some(Child { node: self.add(Node::Leaf(upper)), low, live });
            }
            Node::Inner(children) => {
                let at = child_of(keys, children, key);
                children[at].live += u32::from(keys.is_live(id));
                if at == 0 && key < keys.spell(children[0].low) {
                    children[0].low = id;
                }
                (at, children[at].node)
            }
        };
        let split = self.insert_in(keys, next, id, key)?;
        let children = self.children(node);
        children[at].live -= split.live;
        children.insert(at + 1, split);
        let upper = (children.len() > WIDTH).then(|| children.split_off(WIDTH / 2))?;
        let (low, live) = (upper[0].low, upper.iter().map(|child| child.live).sum());
        Some(Child { node: self.add(Node::Inner(upper)), low, live })
    }

    /// The subtree's smallest key now, or `None` when it is empty.
    fn remove_in(&mut self, keys: &Keys, node: u32, key: &[u8], lived: u32) -> Option<KeyId> {
        let (at, next) = match &mut self.nodes[node as usize] {
            Node::Leaf(held) => {
                if let Ok(at) = held.binary_search_by(|other| keys.spell(*other).cmp(key)) {
                    held.remove(at);
                }
                return held.first().copied();
            }
            Node::Inner(children) => {
                let at = child_of(keys, children, key);
                children[at].live -= lived;
                (at, children[at].node)
            }
        };
        let low = self.remove_in(keys, next, key, lived);
        match low {
            Some(low) => self.children(node)[at].low = low,
            None => {
                self.free.push(next);
                self.children(node).remove(at);
            }
        }
        self.merge(node, at);
        self.children(node).first().map(|child| child.low)
    }

    /// Two neighbours that fit in half a node become one.
    fn merge(&mut self, node: u32, at: usize) {
        let children = self.children(node);
        if at + 1 >= children.len() {
            return;
        }
        let (left, right) = (children[at], children[at + 1]);
        if self.width(left.node) + self.width(right.node) > WIDTH / 2 {
            return;
        }
        let taken = std::mem::replace(&mut self.nodes[right.node as usize], Node::Inner(Vec::new()));
        match (&mut self.nodes[left.node as usize], taken) {
            (Node::Leaf(keys), Node::Leaf(more)) => keys.extend(more),
            (Node::Inner(children), Node::Inner(more)) => children.extend(more),
            _ => unreachable!("siblings are of one kind"),
        }
        self.free.push(right.node);
        let children = self.children(node);
        children[at].live += right.live;
        children.remove(at + 1);
    }

    fn width(&self, node: u32) -> usize {
        match &self.nodes[node as usize] {
            Node::Leaf(keys) => keys.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn children(&mut self, node: u32) -> &mut Vec<Child> {
        match &mut self.nodes[node as usize] {
            Node::Inner(children) => children,
            Node::Leaf(_) => unreachable!("only an inner node has children"),
        }
    }

    fn add(&mut self, node: Node) -> u32 {
        if let Some(number) = self.free.pop() {
            self.nodes[number as usize] = node;
            return number;
        }
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }
}

fn child_of(keys: &Keys, children: &[Child], key: &[u8]) -> usize {
    children[1..].partition_point(|child| keys.spell(child.low) <= key)
}

fn live(keys: &Keys, held: &[KeyId]) -> u32 {
    held.iter().filter(|id| keys.is_live(**id)).count() as u32
}
