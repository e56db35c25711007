//! Who may have a name and its addresses.

use std::net::IpAddr;
use std::time::Duration;

use model::{AddressKind, Node, NodeName};
use wire::own::Registration;

/// Somebody who holds our name, or one of our addresses under another name.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) name: NodeName,
    /// Without an id where only a node's key says so.
    pub(super) registration: Registration,
    /// Until its lease ends; `None`: it has ended.
    pub(super) left: Option<Duration>,
}

/// The addresses by which a machine is known.
pub(super) fn internal(node: &Node) -> impl Iterator<Item = IpAddr> + '_ {
    node.addresses.iter().filter(|address| address.kind == AddressKind::InternalIp).map(|address| address.ip)
}

/// Addresses for people.
pub(super) fn text(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why we may not be this node; `None` when we may.
pub(super) fn judge(name: &NodeName, own: &Registration, holders: &[Holder], take_over: bool) -> Option<String> {
    holders.iter().filter(|_| !take_over).find_map(|holder| {
        let theirs = &holder.registration;
        // This installation, under another name or with other addresses: it was renamed or moved.
        if theirs.id == own.id {
            return None;
        }
        let shared = theirs.addresses.iter().find(|ip| own.addresses.contains(ip));
        let left = holder.left?.as_secs();
        let boot_id = if theirs.boot_id.is_empty() { "unknown" } else { &theirs.boot_id };
        match (holder.name == *name, shared) {
            // The same machine, set up again.
            (true, Some(_)) => None,
            (true, None) => Some(format!(
                "node name {name} is held by {} (boot id {boot_id}) for another {left} s at least: give this node another \
                 --node-name, or --take-over when that one is gone",
                text(&theirs.addresses)
            )),
            (false, Some(ip)) => Some(format!(
                "address {ip} is held by node {} (boot id {boot_id}) for another {left} s at least: give this node its own \
                 address, or --take-over when that one is gone",
                holder.name
            )),
            (false, None) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(id: &str, ip: &str) -> Registration {
        Registration { id: id.to_owned(), boot_id: "b0".to_owned(), addresses: vec![ip.parse().unwrap()] }
    }

    fn check(name: &str, id: &str, ip: &str, left: Option<u64>, expected: Option<&str>) {
        let holder = Holder {
            name: name.parse().unwrap(),
            registration: registration(id, ip),
            left: left.map(Duration::from_secs),
        };
        let own = registration("us", "192.0.2.1");
        let refused = judge(&"n1".parse().unwrap(), &own, std::slice::from_ref(&holder), false);
        match (refused, expected) {
            (None, None) => {}
            (Some(refused), Some(expected)) => assert!(refused.contains(expected), "{refused}"),
            (refused, _) => panic!("{name} {id} {ip} {left:?}: {refused:?}"),
        }
        assert_eq!(judge(&"n1".parse().unwrap(), &own, &[holder], true), None, "--take-over");
    }

    #[test]
    fn a_name_and_an_address_belong_to_one_machine_while_its_lease_lives() {
        let held = "node name n1 is held by 192.0.2.9 (boot id b0) for another 812 s";
        check("n1", "them", "192.0.2.9", Some(812), Some(held));
        check("n1", "", "192.0.2.9", Some(812), Some(held));
        check("n1", "them", "192.0.2.9", None, None);
        // The same machine with a new disk.
        check("n1", "them", "192.0.2.1", Some(812), None);
        // The same disk with a new address, and with a new name.
        check("n1", "us", "192.0.2.9", Some(812), None);
        check("n2", "us", "192.0.2.1", Some(812), None);
        let held = "address 192.0.2.1 is held by node n2 (boot id b0) for another 812 s";
        check("n2", "them", "192.0.2.1", Some(812), Some(held));
        check("n2", "them", "192.0.2.1", None, None);
    }
}
