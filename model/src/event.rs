//! What the datapath reports about a packet.

use std::net::IpAddr;

use crate::{Direction, DropReason, EndpointId, NumericIdentity, Protocol};

/// One event of the ring buffer, decoded. Labels and names are joined by whoever prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatapathEvent {
    /// The endpoint whose program reported; 0 for programs that serve no endpoint.
    pub endpoint: EndpointId,
    pub src_identity: NumericIdentity,
    pub dst_identity: NumericIdentity,
    /// 0 where unknown.
    pub dst_endpoint: EndpointId,
    pub ifindex: u32,
    /// Length of the packet, of which an event carries the first bytes only.
    pub packet_len: u32,
    /// Absent if the captured bytes are no IP packet.
    pub tuple: Option<EventTuple>,
    pub kind: EventKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// `file` and `line` say where in the program.
    Drop {
        reason: DropReason,
        direction: Option<Direction>,
        file: u8,
        line: u16,
    },
    Trace {
        point: TracePoint,
        reason: TraceReason,
    },
    PolicyVerdict {
        direction: Direction,
        verdict: Verdict,
        match_type: MatchType,
        audited: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTuple {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// The number in the IP header; [`Protocol::from_number`] names those we know.
    pub proto: u8,
    /// 0 for protocols without ports.
    pub src_port: u16,
    /// The ICMP type for ICMP.
    pub dst_port: u16,
    pub tcp_flags: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Allow,
    Deny(DropReason),
    /// To the proxy on this port.
    Redirect(u16),
}

/// Which part of a policy entry was specific.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchType {
    None,
    L3Only,
    L3L4,
    L4Only,
    All,
    L3Proto,
    ProtoOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TracePoint {
    ToEndpoint,
    ToProxy,
    ToHost,
    ToStack,
    ToOverlay,
    FromEndpoint,
    FromProxy,
    FromHost,
    FromStack,
    FromOverlay,
    FromNetwork,
    ToNetwork,
    FromCrypto,
    ToCrypto,
}

/// What conntrack knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TraceReason {
    New,
    Established,
    Reply,
    Related,
    Reserved,
    Unknown,
}

// === impl Verdict ===

impl Verdict {
    /// From the datapath's signed code: negative is minus the drop reason, positive a proxy port.
    pub fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Allow,
            1.. => Self::Redirect(u16::try_from(code).unwrap_or(u16::MAX)),
            _ => Self::Deny(DropReason(u8::try_from(code.unsigned_abs()).unwrap_or(u8::MAX))),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny(_) => "deny",
            Self::Redirect(_) => "redirect",
        }
    }
}

// === impl MatchType ===

impl MatchType {
    const ALL: [Self; 7] =
        [Self::None, Self::L3Only, Self::L3L4, Self::L4Only, Self::All, Self::L3Proto, Self::ProtoOnly];

    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::L3Only => "L3-Only",
            Self::L3L4 => "L3-L4",
            Self::L4Only => "L4-Only",
            Self::All => "all",
            Self::L3Proto => "L3-Proto",
            Self::ProtoOnly => "Proto-Only",
        }
    }
}

// === impl TracePoint ===

impl TracePoint {
    const ALL: [Self; 14] = [
        Self::ToEndpoint,
        Self::ToProxy,
        Self::ToHost,
        Self::ToStack,
        Self::ToOverlay,
        Self::FromEndpoint,
        Self::FromProxy,
        Self::FromHost,
        Self::FromStack,
        Self::FromOverlay,
        Self::FromNetwork,
        Self::ToNetwork,
        Self::FromCrypto,
        Self::ToCrypto,
    ];

    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToEndpoint => "to-endpoint",
            Self::ToProxy => "to-proxy",
            Self::ToHost => "to-host",
            Self::ToStack => "to-stack",
            Self::ToOverlay => "to-overlay",
            Self::FromEndpoint => "from-endpoint",
            Self::FromProxy => "from-proxy",
            Self::FromHost => "from-host",
            Self::FromStack => "from-stack",
            Self::FromOverlay => "from-overlay",
            Self::FromNetwork => "from-network",
            Self::ToNetwork => "to-network",
            Self::FromCrypto => "from-crypto",
            Self::ToCrypto => "to-crypto",
        }
    }
}

// === impl TraceReason ===

impl TraceReason {
    /// The high bit says "encrypted" and is no part of the reason.
    pub fn from_code(code: u8) -> Self {
        match code & 0x7f {
            0 => Self::New,
            1 => Self::Established,
            2 => Self::Reply,
            3 => Self::Related,
            4 => Self::Reserved,
            _ => Self::Unknown,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Established => "established",
            Self::Reply => "reply",
            Self::Related => "related",
            Self::Reserved => "reserved",
            Self::Unknown => "unknown",
        }
    }
}

// === impl EventTuple ===

impl EventTuple {
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::from_number(self.proto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_datapaths() {
        assert_eq!(Verdict::from_code(0), Verdict::Allow);
        assert_eq!(Verdict::from_code(-133), Verdict::Deny(DropReason::POLICY_DENIED));
        assert_eq!(Verdict::from_code(10080), Verdict::Redirect(10080));
        assert_eq!(Verdict::from_code(i32::MIN), Verdict::Deny(DropReason(255)));
        assert_eq!(TracePoint::from_code(9), Some(TracePoint::FromOverlay));
        assert_eq!(TracePoint::from_code(14), None);
        assert_eq!(MatchType::from_code(2), Some(MatchType::L3L4));
        assert_eq!(TraceReason::from_code(0x81), TraceReason::Established);
    }
}
