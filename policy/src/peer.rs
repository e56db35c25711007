//! What a rule names as its peers, as a key that equal selectors share.

use std::fmt;

use model::{CidrPeer, Entity, Labels, NumericIdentity, Peer, Selector};

/// A canonical peer selector. "Any peer" is none of these: it becomes a row for identity 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKey {
    /// Identities by their labels.
    Endpoints(Selector),
    /// A named group.
    Entity(Entity),
    /// A range.
    Cidr(CidrPeer),
}

impl PeerKey {
    /// The key of a rule's peer; `None` for entity `all`, which is every identity, known or not.
    pub fn of(peer: &Peer) -> Option<Self> {
        match peer {
            Peer::Endpoints(selector) => Some(Self::Endpoints(selector.clone())),
            Peer::Entity(Entity::All) => None,
            Peer::Entity(entity) => Some(Self::Entity(*entity)),
            Peer::Cidr(cidr) => Some(Self::Cidr(cidr.clone())),
        }
    }

    /// Whether it selects an identity; `own` is our cluster's name.
    pub fn selects(&self, identity: NumericIdentity, labels: &Labels, own: &str) -> bool {
        match self {
            Self::Endpoints(selector) => selector.matches(labels),
            Self::Entity(entity) => entity.selects(identity, labels, own),
            Self::Cidr(cidr) => cidr.selects(labels),
        }
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoints(selector) => selector.fmt(f),
            Self::Entity(entity) => write!(f, "entity:{entity}"),
            Self::Cidr(cidr) => cidr.fmt(f),
        }
    }
}
