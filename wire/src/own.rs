//! Keys of our own, outside Cilium's tree: never exported, never mirrored.

use std::net::IpAddr;
use std::sync::Arc;

use model::{ClusterName, DEFAULT_POOL, NodeName, NumericIdentity, PodRange, RangeDemand, Wanted};

pub fn prefix(cluster: &ClusterName) -> String {
    format!("causeway/v1/{cluster}/")
}

/// The lock path of the operators' election.
pub fn leader_path(cluster: &ClusterName) -> String {
    format!("{}leader", prefix(cluster))
}

/// Numbers that the collector gave back, each leased for as long as somebody may still use it.
pub fn freed_prefix(cluster: &ClusterName) -> String {
    format!("{}identity/freed/", prefix(cluster))
}

pub fn freed_key(cluster: &ClusterName, number: NumericIdentity) -> String {
    format!("{}{number}", freed_prefix(cluster))
}

/// Everything about ranges of pod addresses.
pub fn ipam_prefix(cluster: &ClusterName) -> String {
    format!("{}ipam/", prefix(cluster))
}

/// A node that wants ranges, leased for as long as it lives.
pub fn ipam_requests_prefix(cluster: &ClusterName) -> String {
    format!("{}requests/", ipam_prefix(cluster))
}

pub fn ipam_request_key(cluster: &ClusterName, node: &NodeName) -> String {
    format!("{}{node}", ipam_requests_prefix(cluster))
}

/// The ranges that a node was given; no lease.
pub fn ipam_nodes_prefix(cluster: &ClusterName) -> String {
    format!("{}nodes/", ipam_prefix(cluster))
}

pub fn ipam_node_key(cluster: &ClusterName, node: &NodeName) -> String {
    format!("{}{node}", ipam_nodes_prefix(cluster))
}

/// Written with every range that is given or taken back: who decided by an older state decides again.
pub fn ipam_turn_key(cluster: &ClusterName) -> String {
    format!("{}turn", ipam_prefix(cluster))
}

/// Ranges with commas between them, those of a pool that is not the default with its name and `=` in front.
pub fn encode_ranges(ranges: &[PodRange]) -> Vec<u8> {
    let one = |range: &PodRange| match &*range.pool {
        DEFAULT_POOL => range.cidr.to_string(),
        pool => format!("{pool}={}", range.cidr),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",").into_bytes()
}

/// `None`: no ranges of ours.
pub fn decode_ranges(value: &[u8]) -> Option<Vec<PodRange>> {
    let one = |text: &str| {
        let (pool, cidr) = text.split_once('=').unwrap_or((DEFAULT_POOL, text));
        (!pool.is_empty()).then_some(PodRange::new(pool, cidr.parse().ok()?))
    };
    std::str::from_utf8(value).ok()?.split(',').map(one).collect()
}

/// How many addresses of each pool a node wants, as `pool=ipv4/ipv6` with commas between them.
pub fn encode_demand(demand: &RangeDemand) -> Vec<u8> {
    let one = |(pool, wanted): (_, &Wanted)| format!("{pool}={}/{}", wanted.ipv4, wanted.ipv6);
    demand.iter().map(one).collect::<Vec<_>>().join(",").into_bytes()
}

/// What says nothing else is a node that wants one range of each family there is.
pub fn decode_demand(value: &[u8]) -> RangeDemand {
    let one = |text: &str| {
        let (pool, wanted) = text.split_once('=')?;
        let (ipv4, ipv6) = wanted.split_once('/')?;
        let wanted = Wanted { ipv4: ipv4.parse().ok()?, ipv6: ipv6.parse().ok()? };
        (!pool.is_empty()).then(|| (Arc::from(pool), wanted))
    };
    let demand: Option<RangeDemand> =
        std::str::from_utf8(value).ok().and_then(|text| text.split(',').map(one).collect());
    demand.unwrap_or_else(|| [(DEFAULT_POOL.into(), Wanted { ipv4: 1, ipv6: 1 })].into())
}

/// Which registration holds a node's name.
pub fn nodes_prefix(cluster: &ClusterName) -> String {
    format!("{}nodes/", prefix(cluster))
}

pub fn node_key(cluster: &ClusterName, node: &NodeName) -> String {
    format!("{}{node}", nodes_prefix(cluster))
}

/// The machine that holds a node's name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// Of the installation; it outlives reboots, and names and addresses that change.
    pub id: String,
    pub boot_id: String,
    /// By which the machine is known.
    pub addresses: Vec<IpAddr>,
}

/// Three words: id, boot id, and addresses with commas between them; `-` stands for nothing.
pub fn encode_registration(registration: &Registration) -> Vec<u8> {
    let word = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let addresses = registration.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    format!("{} {} {}", word(&registration.id), word(&registration.boot_id), word(&addresses)).into_bytes()
}

/// `None`: no registration of ours.
pub fn decode_registration(value: &[u8]) -> Option<Registration> {
    let mut words = std::str::from_utf8(value).ok()?.split(' ').map(|word| if word == "-" { "" } else { word });
    let (id, boot_id, addresses) = (words.next()?, words.next()?, words.next()?);
    let addresses = addresses.split(',').filter(|ip| !ip.is_empty()).map(|ip| ip.parse().ok());
    let addresses = addresses.collect::<Option<Vec<IpAddr>>>()?;
    let registration = Registration { id: id.to_owned(), boot_id: boot_id.to_owned(), addresses };
    words.next().is_none().then_some(registration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_stand_outside_ciliums_tree() {
        let east: ClusterName = "east".parse().unwrap();
        assert_eq!(leader_path(&east), "causeway/v1/east/leader");
        assert_eq!(freed_key(&east, NumericIdentity::new(7)), "causeway/v1/east/identity/freed/7");
        assert_eq!(ipam_request_key(&east, &"n".parse().unwrap()), "causeway/v1/east/ipam/requests/n");
        assert_eq!(ipam_node_key(&east, &"n".parse().unwrap()), "causeway/v1/east/ipam/nodes/n");
        assert_eq!(ipam_turn_key(&east), "causeway/v1/east/ipam/turn");
        let range = |pool: &str, cidr: &str| PodRange::new(pool, cidr.parse().unwrap());
        let ranges = [range("default", "10.0.0.0/24"), range("default", "fd00::/112"), range("blue", "10.5.0.0/28")];
        assert_eq!(encode_ranges(&ranges), b"10.0.0.0/24,fd00::/112,blue=10.5.0.0/28");
        assert_eq!(decode_ranges(&encode_ranges(&ranges)).unwrap(), ranges);
        for bad in ["10.0.0.0/24,", "=10.0.0.0/24", "blue=", ""] {
            assert_eq!(decode_ranges(bad.as_bytes()), None, "{bad}");
        }
        let demand: RangeDemand =
            [("blue".into(), Wanted { ipv4: 9, ipv6: 0 }), ("default".into(), Wanted { ipv4: 8, ipv6: 8 })].into();
        assert_eq!(encode_demand(&demand), b"blue=9/0,default=8/8");
        assert_eq!(decode_demand(&encode_demand(&demand)), demand);
        assert_eq!(decode_demand(b"cluster-pool")["default"], Wanted { ipv4: 1, ipv6: 1 });
        let registration = Registration {
            id: "1f".to_owned(),
            boot_id: String::new(),
            addresses: vec!["192.0.2.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        };
        let bytes = encode_registration(&registration);
        assert_eq!(bytes, b"1f - 192.0.2.1,fd00::1");
        assert_eq!(decode_registration(&bytes), Some(registration));
        let empty = Registration::default();
        assert_eq!(decode_registration(&encode_registration(&empty)), Some(empty));
        for bad in ["", "a b", "a b c", "a b 192.0.2.1 d", "a b 192.0.2.1,x"] {
            assert_eq!(decode_registration(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(node_key(&east, &"n".parse().unwrap()), "causeway/v1/east/nodes/n");
    }
}
