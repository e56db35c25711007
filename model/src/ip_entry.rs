//! What a cluster says about one address: its identity and the node it is reached through.

use std::net::IpAddr;

use crate::{IpTexts, NamedPort, NamedPorts, NumericIdentity, Prefix};

/// One row of `state/ip`. There are hundreds of thousands of these, so each is small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpEntry {
    pub prefix: Prefix,
    /// The node's address, where tunnels end.
    pub host_ip: Option<IpAddr>,
    pub identity: NumericIdentity,
    /// Encryption key index; 0 is none.
    pub key: u8,
    pub texts: IpTexts,
    /// Sorted by name.
    pub named_ports: NamedPorts,
}

// === impl IpEntry ===

impl IpEntry {
    /// An address with an identity, and nothing else known.
    pub fn new(prefix: Prefix, identity: NumericIdentity) -> Self {
        Self { prefix, host_ip: None, identity, key: 0, texts: IpTexts::default(), named_ports: NamedPorts::default() }
    }

    pub fn named_port(&self, name: &str) -> Option<&NamedPort> {
        self.named_ports.iter().find(|p| &*p.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    #[test]
    fn a_named_port_is_found_by_its_name() {
        let mut entry = IpEntry::new("10.0.0.1".parse().unwrap(), NumericIdentity::new(300));
        entry.named_ports = vec![NamedPort { name: "http".into(), port: 8080, proto: Protocol::Tcp }].into();
        assert_eq!(entry.named_port("http").map(|p| p.port), Some(8080));
        assert_eq!(entry.named_port("dns"), None);
    }

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<IpEntry>() <= 72, "{}", size_of::<IpEntry>());
    }
}
