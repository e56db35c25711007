//! Ranges of addresses outside all clusters, as peers of policies and as labels of identities.

use std::fmt;

use crate::{Label, Labels, Prefix, ReservedIdentity};

/// Whom `toCIDR` and its siblings mean: everybody in a range that no pod has an address of, but for some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CidrPeer {
    pub cidr: Prefix,
    /// Ranges within it that are not meant.
    pub except: Vec<Prefix>,
    /// What strangers of its family are: whom a range of no bits means too.
    pub world: ReservedIdentity,
}

/// The families that pods have addresses of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    pub ipv4: bool,
    pub ipv6: bool,
}

// === impl CidrPeer ===

impl CidrPeer {
    /// The ranges that need an identity of their own for this peer to be told from others. What has no bits is the world.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> + '_ {
        [self.cidr].into_iter().chain(self.except.iter().copied()).filter(|prefix| prefix.bits() > 0)
    }

    pub fn selects(&self, labels: &Labels) -> bool {
        match prefix_of(labels) {
            Some(prefix) => self.cidr.covers(prefix) && !self.except.iter().any(|except| except.covers(prefix)),
            None => self.cidr.bits() == 0 && labels.get(Some(Label::RESERVED), self.world.name()).is_some(),
        }
    }
}

impl fmt::Display for CidrPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cidr:{}/{}", self.cidr.addr(), self.cidr.bits())?;
        match &self.except[..] {
            [] => Ok(()),
            except => {
                let except = except.iter().map(ToString::to_string).collect::<Vec<_>>();
                write!(f, "-[{}]", except.join(","))
            }
        }
    }
}

// === impl Families ===

impl Families {
    /// What strangers of a family are. With one family there is one world.
    pub fn world(self, ipv4: bool) -> ReservedIdentity {
        match (ipv4, self.ipv4, self.ipv6) {
            (true, _, true) => ReservedIdentity::WorldIpv4,
            (false, true, _) => ReservedIdentity::WorldIpv6,
            _ => ReservedIdentity::World,
        }
    }

    /// The labels of a range's identity.
    pub fn labels(self, prefix: Prefix) -> Labels {
        let world = Label::reserved(self.world(prefix.is_ipv4()).name());
        [Label::cidr(prefix), world].into_iter().collect()
    }
}

// === impl Label ===

impl Label {
    /// `cidr:<address>/<bits>`, with `-` for the colons of IPv6 and a 0 where one would begin or end it.
    fn cidr(prefix: Prefix) -> Self {
        let address = prefix.addr().to_string().replace(':', "-");
        let lead = if address.starts_with('-') { "0" } else { "" };
        let tail = if address.ends_with('-') { "0" } else { "" };
        let key = format!("{lead}{address}{tail}/{}", prefix.bits());
        Self::of_cidr(&key)
    }
}

/// The range that an identity with these labels stands for.
pub fn prefix_of(labels: &Labels) -> Option<Prefix> {
    let label = labels.iter().find(|label| label.source() == Label::CIDR)?;
    let (address, bits) = label.key().rsplit_once('/')?;
    let address = match address.contains('-') {
        true => address.replace('-', ":"),
        false => address.to_owned(),
    };
    Prefix::try_new(address.parse().ok()?, bits.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Families = Families { ipv4: true, ipv6: true };

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn peer(cidr: &str, except: &[&str]) -> CidrPeer {
        let cidr = prefix(cidr);
        let except = except.iter().map(|text| prefix(text)).collect();
        CidrPeer { cidr, except, world: BOTH.world(cidr.is_ipv4()) }
    }

    #[test]
    fn labels_are_ciliums_and_name_their_range() {
        fn check(text: &str, labels: &str) {
            let found = BOTH.labels(prefix(text));
            assert_eq!(found.to_string(), labels);
            assert_eq!(prefix_of(&found), Some(prefix(text)));
        }
        check("10.0.0.0/8", "cidr:10.0.0.0/8,reserved:world-ipv4");
        check("192.0.2.1", "cidr:192.0.2.1/32,reserved:world-ipv4");
        check("fd00::/8", "cidr:fd00--0/8,reserved:world-ipv6");
        check("::1", "cidr:0--1/128,reserved:world-ipv6");
        check("2001:db8::1", "cidr:2001-db8--1/128,reserved:world-ipv6");
        let single = Families { ipv4: true, ipv6: false };
        assert_eq!(single.labels(prefix("10.0.0.0/8")).to_string(), "cidr:10.0.0.0/8,reserved:world");
        assert_eq!(single.labels(prefix("fd00::/8")).to_string(), "cidr:fd00--0/8,reserved:world-ipv6");
        assert_eq!(prefix_of(&ReservedIdentity::WorldIpv4.labels()), None);
    }

    #[test]
    fn a_peer_is_every_range_within_it_but_those_excepted_and_never_a_pod() {
        let within = |peer: &CidrPeer, text: &str| peer.selects(&BOTH.labels(prefix(text)));
        let some = peer("10.0.0.0/8", &["10.96.0.0/12"]);
        assert_eq!(some.to_string(), "cidr:10.0.0.0/8-[10.96.0.0/12]");
        assert!(within(&some, "10.0.0.0/8") && within(&some, "10.1.2.3"));
        assert!(!within(&some, "10.96.0.0/12") && !within(&some, "10.97.1.1") && !within(&some, "0.0.0.0/1"));
        assert!(!some.selects(&ReservedIdentity::WorldIpv4.labels()));
        let all = peer("0.0.0.0/0", &["10.0.0.0/8"]);
        assert!(all.selects(&ReservedIdentity::WorldIpv4.labels()) && within(&all, "11.0.0.0/8"));
        assert!(!all.selects(&ReservedIdentity::WorldIpv6.labels()) && !within(&all, "10.0.0.0/8"));
        assert!(
            !all.selects(&ReservedIdentity::Host.labels())
                && !all.selects(&"k8s:app=a".parse::<Label>().into_iter().collect())
        );
        assert_eq!(all.prefixes().collect::<Vec<_>>(), [prefix("10.0.0.0/8")], "the world has its identity");
    }
}
