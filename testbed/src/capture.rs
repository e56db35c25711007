//! What is on the wire: VXLAN packets seen by a raw socket on a node's uplink.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netlink::Namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use std::os::fd::AsRawFd;

/// The tunnel's UDP port.
const VXLAN_PORT: u16 = 8472;
/// Ethernet, IPv4 without options, UDP, VXLAN.
const INNER: usize = 14 + 20 + 8 + 8;

/// A VXLAN packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encapsulated {
    /// The sending node.
    pub source: Ipv4Addr,
    /// The receiving node.
    pub destination: Ipv4Addr,
    /// The network identifier: the sender's identity.
    pub vni: u32,
    /// The inner packet, from its Ethernet header on.
    pub inner: Vec<u8>,
}

/// An open raw socket in a namespace: every packet of every link in it.
#[derive(Debug)]
pub struct Capture(OwnedFd);

impl Capture {
    /// Starts to capture in a namespace.
    ///
    /// # Errors
    ///
    /// When the socket cannot be opened.
    pub fn start(netns: &str) -> Result<Self> {
        let namespace = Namespace::open(netns)?;
        let open = || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let socket = namespace.enter(open)?.with_context(|| format!("open a raw socket in {netns}"))?;
        Ok(Self(socket))
    }

    /// The first VXLAN packet for which `wanted` holds.
    ///
    /// # Errors
    ///
    /// When none is seen in time.
    pub fn find(&self, within: Duration, wanted: impl Fn(&Encapsulated) -> bool) -> Result<Encapsulated> {
        let deadline = Instant::now() + within;
        let mut buffer = vec![0; 65_536];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            anyhow::ensure!(!left.is_zero(), "no such packet within {} s", within.as_secs_f64());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, timeout).context("wait for packets")? == 0 {
                continue;
            }
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).context("read a packet")?;
            if let Some(found) = parse(&buffer[..length]).filter(|packet| wanted(packet)) {
                return Ok(found);
            }
        }
    }
}

/// The VXLAN packet in a frame; `None` for anything else.
pub fn parse(frame: &[u8]) -> Option<Encapsulated> {
    let number = |at: usize| frame.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let address = |at: usize| frame.get(at..at + 4)?.try_into().ok().map(|bytes: [u8; 4]| Ipv4Addr::from(bytes));
    let is_udp = number(12)? == 0x0800 && *frame.get(14)? == 0x45 && *frame.get(23)? == 17;
    if !is_udp || number(36)? != VXLAN_PORT {
        return None;
    }
    let vni = frame.get(46..49)?;
    Some(Encapsulated {
        source: address(26)?,
        destination: address(30)?,
        vni: u32::from_be_bytes([0, vni[0], vni[1], vni[2]]),
        inner: frame.get(INNER..)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vni_is_read_from_a_frame_and_other_frames_are_left_out() {
        let mut frame = vec![0; INNER + 14];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[23] = 17;
        frame[26..30].copy_from_slice(&[192, 168, 240, 11]);
        frame[30..34].copy_from_slice(&[192, 168, 240, 12]);
        frame[36..38].copy_from_slice(&VXLAN_PORT.to_be_bytes());
        frame[46..49].copy_from_slice(&[1, 2, 3]);
        let found = parse(&frame).unwrap();
        assert_eq!((found.vni, found.source), (0x0001_0203, Ipv4Addr::new(192, 168, 240, 11)));
        frame[23] = 6;
        assert_eq!(parse(&frame), None);
        assert_eq!(parse(&[0; 10]), None);
    }
}
