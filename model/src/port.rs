//! A port with its protocol, and a port at an address.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::Protocol;

/// In a policy, port 0 means every port of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortProto {
    pub port: u16,
    pub proto: Protocol,
}

/// Where a frontend or a backend listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct L3n4Addr {
    pub ip: IpAddr,
    pub port: u16,
    pub proto: Protocol,
}

// === impl PortProto ===

impl PortProto {
    pub const fn new(port: u16, proto: Protocol) -> Self {
        Self { port, proto }
    }

    /// Whether this entry of a policy allows that port of a packet or a backend.
    pub fn covers(self, other: Self) -> bool {
        (self.port == 0 || self.port == other.port) && (self.proto == Protocol::Any || self.proto == other.proto)
    }
}

impl fmt::Display for PortProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.proto)
    }
}

// === impl L3n4Addr ===

impl L3n4Addr {
    pub const fn new(ip: IpAddr, port: u16, proto: Protocol) -> Self {
        Self { ip, port, proto }
    }
}

/// `10.0.0.1:80/TCP`, `[fd00::1]:80/TCP`.
impl fmt::Display for L3n4Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", SocketAddr::new(self.ip, self.port), self.proto))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_any_are_wildcards() {
        let tcp80 = PortProto::new(80, Protocol::Tcp);
        assert!(PortProto::new(0, Protocol::Any).covers(tcp80));
        assert!(PortProto::new(80, Protocol::Any).covers(tcp80));
        assert!(PortProto::new(0, Protocol::Tcp).covers(tcp80));
        assert!(!PortProto::new(0, Protocol::Udp).covers(tcp80));
        assert!(!tcp80.covers(PortProto::new(81, Protocol::Tcp)));
    }

    #[test]
    fn addresses_print_as_cilium_prints_them() {
        assert_eq!(L3n4Addr::new("10.0.0.1".parse().unwrap(), 80, Protocol::Tcp).to_string(), "10.0.0.1:80/TCP");
        assert_eq!(L3n4Addr::new("fd00::1".parse().unwrap(), 53, Protocol::Udp).to_string(), "[fd00::1]:53/UDP");
    }
}
