//! Identities whose number is the same everywhere and that never travel through etcd.

use std::fmt;

use crate::{Label, Labels, NumericIdentity};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservedIdentity {
    Unknown,
    Host,
    World,
    Unmanaged,
    Health,
    Init,
    RemoteNode,
    KubeApiserver,
    Ingress,
    WorldIpv4,
    WorldIpv6,
    OverlayToEncrypt,
}

// === impl ReservedIdentity ===

impl ReservedIdentity {
    /// In the order of their numbers, which start at 0.
    pub const ALL: [Self; 12] = [
        Self::Unknown,
        Self::Host,
        Self::World,
        Self::Unmanaged,
        Self::Health,
        Self::Init,
        Self::RemoteNode,
        Self::KubeApiserver,
        Self::Ingress,
        Self::WorldIpv4,
        Self::WorldIpv6,
        Self::OverlayToEncrypt,
    ];

    pub fn number(self) -> NumericIdentity {
        NumericIdentity::new(self as u32)
    }

    pub fn from_number(number: NumericIdentity) -> Option<Self> {
        Self::ALL.get(usize::try_from(number.get()).ok()?).copied()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Host => "host",
            Self::World => "world",
            Self::Unmanaged => "unmanaged",
            Self::Health => "health",
            Self::Init => "init",
            Self::RemoteNode => "remote-node",
            Self::KubeApiserver => "kube-apiserver",
            Self::Ingress => "ingress",
            Self::WorldIpv4 => "world-ipv4",
            Self::WorldIpv6 => "world-ipv6",
            Self::OverlayToEncrypt => "overlay-to-encrypt",
        }
    }

    /// `reserved:<name>`. The API server runs on a node, so it carries that label too.
    pub fn labels(self) -> Labels {
        let also = (self == Self::KubeApiserver).then(|| Label::reserved(Self::RemoteNode.name()));
        also.into_iter().chain([Label::reserved(self.name())]).collect()
    }
}

impl fmt::Display for ReservedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_are_ciliums() {
        for identity in ReservedIdentity::ALL {
            assert_eq!(ReservedIdentity::from_number(identity.number()), Some(identity));
        }
        assert_eq!(ReservedIdentity::WorldIpv6.number(), NumericIdentity::WORLD_IPV6);
        assert_eq!(ReservedIdentity::RemoteNode.number(), NumericIdentity::REMOTE_NODE);
        assert_eq!(ReservedIdentity::Host.labels().to_string(), "reserved:host");
        assert_eq!(
            ReservedIdentity::KubeApiserver.labels().to_string(),
            "reserved:kube-apiserver,reserved:remote-node"
        );
        assert_eq!(NumericIdentity::new(12).reserved(), None);
        assert_eq!(NumericIdentity::new(u32::MAX).reserved(), None);
    }
}
