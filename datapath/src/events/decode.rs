//! One record of the ring as a `DatapathEvent`.

use ebpf_abi::{Event, EventFlags, EventKind as Kind};
use model::{
    DatapathEvent, Direction, DropReason, EndpointId, EventKind, EventTuple, MatchType, NumericIdentity, TracePoint,
    TraceReason, Verdict,
};
use std::net::IpAddr;

const ETHERNET: usize = 14;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
/// IPv6 extension headers walked at most, as in the programs.
const EXTENSIONS: usize = 4;

/// The event; `None` for a kind of another version.
#[must_use]
pub fn decode(event: &Event) -> Option<DatapathEvent> {
    let direction = if event.flags & EventFlags::EGRESS != 0 { Direction::Egress } else { Direction::Ingress };
    let kind = match event.kind {
        Kind::DROP => EventKind::Drop {
            reason: DropReason(event.code),
            direction: Some(direction),
            file: event.file,
            line: event.line,
        },
        Kind::TRACE => {
            EventKind::Trace { point: TracePoint::from_code(event.code)?, reason: TraceReason::from_code(event.state) }
        }
        Kind::VERDICT => EventKind::PolicyVerdict {
            direction,
            verdict: Verdict::from_code(event.verdict),
            match_type: MatchType::from_code(event.matched)?,
            audited: event.flags & EventFlags::AUDITED != 0,
        },
        _ => return None,
    };
    let captured = event.data.get(..usize::from(event.captured)).unwrap_or(&event.data);
    Some(DatapathEvent {
        endpoint: EndpointId(event.endpoint),
        src_identity: NumericIdentity::new(event.src_identity),
        dst_identity: NumericIdentity::new(event.dst_identity),
        dst_endpoint: EndpointId(event.to_endpoint),
        ifindex: event.ifindex,
        packet_len: event.len,
        tuple: captured.get(ETHERNET..).and_then(tuple),
        kind,
    })
}

/// Addresses and ports of a captured packet, from its IP header on.
fn tuple(packet: &[u8]) -> Option<EventTuple> {
    let (src, dst, proto, rest): (IpAddr, IpAddr, u8, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = packet.get(..20)?;
            let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?));
            let length = usize::from(header[0] & 0xf) * 4;
            // A later fragment has no ports.
            let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
            let rest = if fragment { &[] } else { packet.get(length..).unwrap_or_default() };
            (address(12)?, address(16)?, header[9], rest)
        }
        6 => {
            let header = packet.get(..40)?;
            let address = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?));
            let (proto, rest) = skip_extensions(header[6], packet.get(40..).unwrap_or_default());
            (address(8)?, address(24)?, proto, rest)
        }
        _ => return None,
    };
    let port = |at: usize| rest.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let (src_port, dst_port) = match proto {
        TCP | UDP | SCTP => (port(0), port(2)),
        ICMP | ICMPV6 => (0, rest.first().copied().map_or(0, u16::from)),
        _ => (0, 0),
    };
    let tcp_flags = if proto == TCP { rest.get(13).copied().unwrap_or_default() } else { 0 };
    Some(EventTuple { src, dst, proto, src_port, dst_port, tcp_flags })
}

fn skip_extensions(mut next: u8, mut rest: &[u8]) -> (u8, &[u8]) {
    for _ in 0..EXTENSIONS {
        let (Some(&following), Some(&length)) = (rest.first(), rest.get(1)) else { break };
        let skip = match next {
            0 | 43 | 60 => (usize::from(length) + 1) * 8,
            51 => (usize::from(length) + 2) * 4,
            44 if rest.get(2..4).is_some_and(|offset| u16::from_be_bytes([offset[0], offset[1]]) & 0xfff8 != 0) => {
                return (following, &[]);
            }
            44 => 8,
            _ => break,
        };
        next = following;
        rest = rest.get(skip..).unwrap_or_default();
    }
    (next, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebpf_abi::CAPTURE_BYTES;

    fn event(kind: u8, code: u8, packet: &[u8]) -> Event {
        let mut data = [0; CAPTURE_BYTES];
        data[..packet.len()].copy_from_slice(packet);
        Event {
            time: 1,
            kind,
            code,
            endpoint: 7,
            hash: 0,
            len: 60,
            captured: packet.len() as u16,
            to_endpoint: 8,
            src_identity: 1001,
            dst_identity: 1002,
            ifindex: 3,
            verdict: -133,
            state: 0,
            flags: EventFlags::EGRESS,
            matched: 2,
            file: 7,
            line: 42,
            dport: 0,
            data,
        }
    }

    #[test]
    fn records_become_events_with_their_tuple() {
        let mut packet = vec![0; 14];
        packet.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([0x9c, 0x40, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        let drop = decode(&event(Kind::DROP, 133, &packet)).unwrap();
        let tuple = drop.tuple.unwrap();
        assert_eq!(
            (tuple.src.to_string().as_str(), tuple.src_port, tuple.dst_port, tuple.tcp_flags),
            ("10.0.0.1", 40000, 8080, 2)
        );
        assert_eq!(
            drop.kind,
            EventKind::Drop {
                reason: DropReason::POLICY_DENIED,
                direction: Some(Direction::Egress),
                file: 7,
                line: 42
            }
        );
        let verdict = decode(&event(Kind::VERDICT, 6, &packet)).unwrap();
        assert_eq!(
            verdict.kind,
            EventKind::PolicyVerdict {
                direction: Direction::Egress,
                verdict: Verdict::Deny(DropReason::POLICY_DENIED),
                match_type: MatchType::L3L4,
                audited: false
            }
        );
        // Truncated captures and foreign kinds are no reason to fail.
        for length in 0..packet.len() {
            let _ = decode(&event(Kind::TRACE, 0, &packet[..length])).unwrap();
        }
        assert_eq!(decode(&event(99, 0, &packet)), None);
        assert_eq!(decode(&event(Kind::TRACE, 99, &packet)), None);
    }
}
