//! One rule of a network policy, normalised: what Kubernetes-isms mean is already worked out.

use std::{fmt, sync::Arc};

use crate::{CidrPeer, Label, Labels, NumericIdentity, PortProto, Selector};

/// Who may talk to, or be talked to by, the endpoints that `subject` selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub resource: RuleResource,
    pub subject: Selector,
    /// Empty: the rule says nothing about this direction.
    pub ingress: Vec<RuleEntry>,
    pub egress: Vec<RuleEntry>,
    pub default_deny: DefaultDeny,
}

/// Where the rule comes from, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleResource {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub file: Option<Arc<str>>,
    pub line: Option<u32>,
}

/// Peers and ports must both match. An empty element `{}` of a policy allows nothing: it is an entry
/// with `Some(empty)` peers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleEntry {
    /// `None`: any peer. `Some(empty)`: no peer at all.
    pub peers: Option<Vec<Peer>>,
    /// Empty: every port.
    pub ports: Vec<PortProto>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    Endpoints(Selector),
    Entity(Entity),
    /// Never a pod.
    Cidr(CidrPeer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    All,
    World,
    Host,
    RemoteNode,
    Cluster,
}

/// Whether traffic that no rule allows is dropped, once this rule selects an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultDeny {
    pub ingress: bool,
    pub egress: bool,
}

/// Seen from the endpoint: traffic to it, or from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Ingress,
    Egress,
}

// === impl Rule ===

impl Rule {
    pub fn entries(&self, direction: Direction) -> &[RuleEntry] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    pub fn denies_by_default(&self, direction: Direction) -> bool {
        match direction {
            Direction::Ingress => self.default_deny.ingress,
            Direction::Egress => self.default_deny.egress,
        }
    }
}

impl fmt::Display for RuleResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            (None, _) => Ok(()),
        }
    }
}

// === impl Entity ===

impl Entity {
    pub const ALL: [Self; 5] = [Self::All, Self::World, Self::Host, Self::RemoteNode, Self::Cluster];

    /// As policies write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::World => "world",
            Self::Host => "host",
            Self::RemoteNode => "remote-node",
            Self::Cluster => "cluster",
        }
    }

    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.as_str() == text)
    }

    /// Whether the entity stands for this identity, seen from cluster `own`.
    ///
    /// `cluster` is all that the own cluster manages: its pods, and the reserved identities of
    /// nodes, health, init, ingress, unmanaged pods and the API server.
    pub fn selects(self, identity: NumericIdentity, labels: &Labels, own: &str) -> bool {
        use NumericIdentity as Id;
        match self {
            Self::All => true,
            // Ranges of it that policies name have numbers of their own.
            Self::World => {
                let world = |name| labels.get(Some(Label::RESERVED), name).is_some();
                matches!(identity, Id::WORLD | Id::WORLD_IPV4 | Id::WORLD_IPV6)
                    || ["world", "world-ipv4", "world-ipv6"].into_iter().any(world)
            }
            Self::Host => identity == Id::HOST,
            Self::RemoteNode => matches!(identity, Id::REMOTE_NODE | Id::KUBE_APISERVER),
            Self::Cluster => match identity {
                Id::HOST | Id::UNMANAGED | Id::HEALTH | Id::INIT => true,
                Id::REMOTE_NODE | Id::KUBE_APISERVER | Id::INGRESS => true,
                _ => labels.cluster() == Some(own),
            },
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Direction ===

impl Direction {
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_stand_for_identities() {
        fn check(entity: Entity, identity: u32, labels: &str, selects: bool) {
            let labels: Labels = labels.split(',').filter(|l| !l.is_empty()).map(|l| l.parse().unwrap()).collect();
            assert_eq!(entity.selects(NumericIdentity::new(identity), &labels, "east"), selects, "{entity} {identity}");
        }
        let east = "k8s:io.cilium.k8s.policy.cluster=east";
        let west = "k8s:io.cilium.k8s.policy.cluster=west";
        check(Entity::All, 70000, west, true);
        check(Entity::World, 2, "", true);
        check(Entity::World, 9, "", true);
        check(Entity::World, 6, "", false);
        check(Entity::World, 0x100_0001, "cidr:10.0.0.0/8,reserved:world-ipv4", true);
        check(Entity::Cluster, 0x100_0001, "cidr:10.0.0.0/8,reserved:world-ipv4", false);
        check(Entity::Host, 1, "", true);
        check(Entity::Host, 6, "", false);
        check(Entity::RemoteNode, 6, "", true);
        check(Entity::Cluster, 1, "", true);
        check(Entity::Cluster, 6, "", true);
        check(Entity::Cluster, 9, "", false);
        check(Entity::Cluster, 70000, east, true);
        check(Entity::Cluster, 140000, west, false);
    }

    #[test]
    fn a_rule_names_its_place() {
        let mut resource = RuleResource { namespace: "shop".into(), name: "cart".into(), file: None, line: None };
        assert_eq!(resource.to_string(), "shop/cart");
        resource.file = Some("p.yaml".into());
        resource.line = Some(7);
        assert_eq!(resource.to_string(), "shop/cart (p.yaml:7)");
    }
}
