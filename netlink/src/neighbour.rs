//! Permanent neighbours: MACs that are known, not asked for.

use crate::{Mac, Netlink, Result, error::or_absent};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};
use std::net::IpAddr;

impl Netlink {
    /// Sets the MAC of `address` on `link` for good.
    ///
    /// # Errors
    /// [`crate::Error::Request`] when the kernel refuses.
    pub fn ensure_neighbour(&mut self, link: u32, address: IpAddr, mac: Mac) -> Result<()> {
        let mut message = message(link, address);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        self.execute(
            "set neighbour",
            &format!("{address} on link {link}"),
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// True when it was there.
    ///
    /// # Errors
    /// As above.
    pub fn delete_neighbour_if_exists(&mut self, link: u32, address: IpAddr) -> Result<bool> {
        or_absent(self.execute(
            "delete neighbour",
            &format!("{address} on link {link}"),
            RouteNetlinkMessage::DelNeighbour(message(link, address)),
            0,
        ))
    }

    /// Addresses and MACs known on `link`.
    ///
    /// # Errors
    /// As above.
    pub fn neighbours(&mut self, link: u32) -> Result<Vec<(IpAddr, Mac)>> {
        let rows = self.dump("list neighbours", RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let RouteNetlinkMessage::NewNeighbour(row) = row else { return None };
                let (mut address, mut mac) = (None, None);
                for attribute in row.attributes {
                    match attribute {
                        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(v4)),
                        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(v6)),
                        NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes).ok().map(Mac),
                        _ => {}
                    }
                }
                (row.header.ifindex == link).then_some((address?, mac?))
            })
            .collect())
    }
}

fn message(link: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = link;
    let (family, destination) = match address {
        IpAddr::V4(v4) => (AddressFamily::Inet, NeighbourAddress::Inet(v4)),
        IpAddr::V6(v6) => (AddressFamily::Inet6, NeighbourAddress::Inet6(v6)),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(destination));
    message
}
