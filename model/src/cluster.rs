//! A cluster of the mesh: its name, its id, and how ids share the identity numbers.

use std::{fmt, ops::RangeInclusive, str::FromStr, sync::Arc};

use crate::NumericIdentity;

/// At most 32 of `a-z`, `0-9`, `-`; starts and ends with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Arc<str>);

/// 0 means "not in a mesh". At most 511; a mesh of 255 allows fewer ([`ClusterIdLayout::check`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClusterId(u32);

/// How many clusters a mesh can have; more clusters leave each with fewer identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ClusterIdLayout {
    #[default]
    Max255,
    Max511,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCluster {
    #[error("cluster name {0:?} is longer than {max} characters", max = ClusterName::MAX_LEN)]
    NameTooLong(String),
    #[error("cluster name {0:?} must be lower-case letters, digits and '-', with a letter or digit at both ends")]
    Name(String),
    #[error("cluster name \"default\" is reserved: name the cluster before giving it an id")]
    DefaultNameWithId,
    #[error("ClusterID {0} is not supported: at most {1}{more}", more = more(*.1))]
    IdTooLarge(u64, u32),
    #[error("ClusterID 0 is reserved")]
    IdZero,
    #[error("{0:?} is not a cluster id: a number from 0 to 255, or to 511 with --max-connected-clusters=511")]
    NotAnId(String),
    #[error("max-connected-clusters {0} is neither 255 nor 511")]
    Layout(u32),
    #[error("max-connected-clusters {0:?} is neither 255 nor 511")]
    NotALayout(String),
}

/// A small mesh can be made a large one.
fn more(limit: u32) -> &'static str {
    if limit == ClusterIdLayout::Max255.max_clusters() { ", or 511 with --max-connected-clusters=511" } else { "" }
}

/// The rule over both: a cluster in a mesh has a name of its own.
pub fn check_cluster(name: &ClusterName, id: ClusterId) -> Result<(), InvalidCluster> {
    if id != ClusterId::NONE && name.as_str() == ClusterName::DEFAULT {
        return Err(InvalidCluster::DefaultNameWithId);
    }
    Ok(())
}

// === impl ClusterName ===

impl ClusterName {
    pub const MAX_LEN: usize = 32;
    /// The name of a cluster that nobody named; it cannot join a mesh.
    pub const DEFAULT: &'static str = "default";

    pub fn try_new(name: &str) -> Result<Self, InvalidCluster> {
        if name.len() > Self::MAX_LEN {
            return Err(InvalidCluster::NameTooLong(name.to_owned()));
        }
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = name.as_bytes();
        let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
        if !ends || !bytes.iter().all(|b| plain(b) || *b == b'-') {
            return Err(InvalidCluster::Name(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself, for those who keep it in very many places.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for ClusterName {
    type Err = InvalidCluster;

    fn from_str(name: &str) -> Result<Self, InvalidCluster> {
        Self::try_new(name)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// === impl ClusterId ===

impl ClusterId {
    pub const NONE: Self = Self(0);
    pub const MAX: u32 = 511;

    pub fn try_new(id: u32) -> Result<Self, InvalidCluster> {
        if id > Self::MAX { Err(InvalidCluster::IdTooLarge(id.into(), Self::MAX)) } else { Ok(Self(id)) }
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

/// `--max-connected-clusters`.
impl FromStr for ClusterIdLayout {
    type Err = InvalidCluster;

    fn from_str(text: &str) -> Result<Self, InvalidCluster> {
        text.parse().map_or(Err(InvalidCluster::NotALayout(text.to_owned())), Self::try_new)
    }
}

impl FromStr for ClusterId {
    type Err = InvalidCluster;

    fn from_str(text: &str) -> Result<Self, InvalidCluster> {
        Self::try_new(text.parse().map_err(|_| InvalidCluster::NotAnId(text.to_owned()))?)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl ClusterIdLayout ===

impl ClusterIdLayout {
    pub fn try_new(max_connected_clusters: u32) -> Result<Self, InvalidCluster> {
        match max_connected_clusters {
            255 => Ok(Self::Max255),
            511 => Ok(Self::Max511),
            other => Err(InvalidCluster::Layout(other)),
        }
    }

    /// The number of clusters, which is also the largest id.
    pub fn max_clusters(self) -> u32 {
        match self {
            Self::Max255 => 255,
            Self::Max511 => 511,
        }
    }

    /// Bits of an identity that hold the cluster id.
    pub fn bits(self) -> u32 {
        match self {
            Self::Max255 => 8,
            Self::Max511 => 9,
        }
    }

    /// The lowest of these bits.
    pub fn shift(self) -> u32 {
        24 - self.bits()
    }

    /// A remote cluster's id: in 1..=max.
    pub fn check(self, id: ClusterId) -> Result<(), InvalidCluster> {
        match id.0 {
            0 => Err(InvalidCluster::IdZero),
            n if n > self.max_clusters() => Err(InvalidCluster::IdTooLarge(n.into(), self.max_clusters())),
            _ => Ok(()),
        }
    }

    /// The numbers that this cluster may give to identities. The whole range of the cluster's bits,
    /// but without a mesh the reserved numbers below 256 are left out.
    pub fn allocation_range(self, cluster: ClusterId) -> RangeInclusive<u32> {
        let base = cluster.0 << self.shift();
        let last = base + (1 << self.shift()) - 1;
        if cluster == ClusterId::NONE { NumericIdentity::MIN_ALLOCATED..=last } else { base..=last }
    }

    /// The cluster bits of an identity. Meaningful for identities of global scope only.
    pub fn cluster_of(self, identity: NumericIdentity) -> ClusterId {
        ClusterId((identity.get() >> self.shift()) & ((1 << self.bits()) - 1))
    }

    /// Whether the cluster may use this number: in its own range, and not above the mesh's ids.
    pub fn owns(self, cluster: ClusterId, identity: NumericIdentity) -> bool {
        self.allocation_range(cluster).contains(&identity.get())
    }
}

impl fmt::Display for ClusterIdLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.max_clusters().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_follow_ciliums_rule() {
        for good in ["a", "east", "east-2", "0", "a-b-c", &"x".repeat(32)] {
            assert!(ClusterName::try_new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "East", "a.b", "a_b", "a/b", &"x".repeat(33)] {
            assert!(ClusterName::try_new(bad).is_err(), "{bad}");
        }
        let default: ClusterName = "default".parse().unwrap();
        assert!(check_cluster(&default, ClusterId::NONE).is_ok());
        assert_eq!(check_cluster(&default, ClusterId(1)), Err(InvalidCluster::DefaultNameWithId));
    }

    #[test]
    fn ranges_are_those_of_the_reference() {
        let range = |layout: ClusterIdLayout, id| layout.allocation_range(ClusterId(id));
        assert_eq!(range(ClusterIdLayout::Max255, 0), 256..=65535);
        assert_eq!(range(ClusterIdLayout::Max255, 2), 131072..=196607);
        assert_eq!(range(ClusterIdLayout::Max511, 0), 256..=32767);
        assert_eq!(range(ClusterIdLayout::Max511, 2), 65536..=98303);
        // The same number belongs to another cluster when the mesh is larger.
        assert_eq!(ClusterIdLayout::Max255.cluster_of(NumericIdentity::new(131072)), ClusterId(2));
        assert_eq!(ClusterIdLayout::Max511.cluster_of(NumericIdentity::new(131072)), ClusterId(4));
    }

    #[test]
    fn remote_ids_are_checked_against_the_layout() {
        assert_eq!(ClusterIdLayout::Max255.check(ClusterId(0)), Err(InvalidCluster::IdZero));
        assert_eq!(ClusterIdLayout::Max255.check(ClusterId(256)), Err(InvalidCluster::IdTooLarge(256, 255)));
        assert!(ClusterIdLayout::Max511.check(ClusterId(511)).is_ok());
        assert!("512".parse::<ClusterId>().is_err());
    }

    proptest! {
        #[test]
        fn every_number_of_a_range_leads_back_to_its_cluster(id in 1u32..=511, local in any::<u32>()) {
            for layout in [ClusterIdLayout::Max255, ClusterIdLayout::Max511] {
                if id > layout.max_clusters() { continue }
                let range = layout.allocation_range(ClusterId(id));
                let number = range.start() + local % (range.end() - range.start() + 1);
                let identity = NumericIdentity::new(number);
                prop_assert_eq!(layout.cluster_of(identity), ClusterId(id));
                prop_assert!(layout.owns(ClusterId(id), identity));
                prop_assert_eq!(identity.scope(), crate::IdentityScope::Global);
            }
        }
    }
}
