//! The number that stands for a set of labels, in policy maps and on the wire as VNI.

use std::{fmt, num::ParseIntError, str::FromStr};

use crate::{ClusterId, ClusterIdLayout, ReservedIdentity};

/// `scope (8 bits) | cluster id (8 or 9 bits) | local id`. Below 256 in global scope: reserved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NumericIdentity(u32);

/// Where a number means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityScope {
    /// The whole mesh, reserved identities included. The only scope that travels through etcd.
    Global,
    /// This node: identities of CIDRs.
    Cidr,
    /// This node: identities of remote nodes.
    RemoteNode,
    /// Not used by any known version.
    Unknown(u8),
}

// === impl NumericIdentity ===

impl NumericIdentity {
    pub const UNKNOWN: Self = Self(0);
    pub const HOST: Self = Self(1);
    pub const WORLD: Self = Self(2);
    pub const UNMANAGED: Self = Self(3);
    pub const HEALTH: Self = Self(4);
    pub const INIT: Self = Self(5);
    pub const REMOTE_NODE: Self = Self(6);
    pub const KUBE_APISERVER: Self = Self(7);
    pub const INGRESS: Self = Self(8);
    pub const WORLD_IPV4: Self = Self(9);
    pub const WORLD_IPV6: Self = Self(10);

    /// The first of the reserved numbers that users may fix.
    pub const MIN_USER_RESERVED: u32 = 128;

    /// The first number that an allocator outside a mesh may give away.
    pub const MIN_ALLOCATED: u32 = 256;

    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    pub const fn get(self) -> u32 {
        self.0
    }

    pub fn scope(self) -> IdentityScope {
        match self.0 >> 24 {
            0 => IdentityScope::Global,
            1 => IdentityScope::Cidr,
            2 => IdentityScope::RemoteNode,
            // The shift leaves 8 bits.
            other => IdentityScope::Unknown(other as u8),
        }
    }

    pub fn cluster_id(self, layout: ClusterIdLayout) -> ClusterId {
        layout.cluster_of(self)
    }

    /// Below 256: numbers with the same meaning everywhere, also those that users may fix.
    pub fn is_reserved(self) -> bool {
        self.0 < Self::MIN_ALLOCATED
    }

    /// 128 to 255: users may fix these.
    pub fn is_user_reserved(self) -> bool {
        self.is_reserved() && self.0 >= Self::MIN_USER_RESERVED
    }

    /// The reserved identity of this number, if it has one.
    pub fn reserved(self) -> Option<ReservedIdentity> {
        ReservedIdentity::from_number(self)
    }
}

impl fmt::Display for NumericIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NumericIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Decimal digits only: `+5` is not a key that anybody writes.
impl FromStr for NumericIdentity {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let digits = if text.starts_with('+') { "+" } else { text };
        digits.parse().map(Self)
    }
}

impl From<NumericIdentity> for u32 {
    fn from(identity: NumericIdentity) -> u32 {
        identity.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_reserved_numbers() {
        assert_eq!(NumericIdentity::new(131072).scope(), IdentityScope::Global);
        assert_eq!(NumericIdentity::new(0x0100_0001).scope(), IdentityScope::Cidr);
        assert_eq!(NumericIdentity::new(0x0200_0001).scope(), IdentityScope::RemoteNode);
        assert_eq!(NumericIdentity::new(0xff00_0001).scope(), IdentityScope::Unknown(255));
        assert!(NumericIdentity::new(255).is_reserved());
        assert!(!NumericIdentity::new(256).is_reserved());
        assert!("+5".parse::<NumericIdentity>().is_err());
        assert_eq!("131072".parse(), Ok(NumericIdentity::new(131072)));
    }
}
