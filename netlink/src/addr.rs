//! Addresses of links.

use crate::{
    Netlink, Result,
    error::{or_absent, or_exists},
};
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
};
use std::net::IpAddr;

impl Netlink {
    /// Adds an address. IPv6 addresses skip duplicate detection: ours are unique by allocation,
    /// and detection would keep a pod without address for a second.
    ///
    /// # Errors
    /// [`crate::Error::Request`] when the kernel refuses.
    pub fn add_address(&mut self, link: u32, address: IpNet) -> Result<()> {
        let mut message = message(link, address);
        if address.addr().is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.execute(
            "add address",
            &format!("{address} to link {link}"),
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// # Errors
    /// As above.
    pub fn ensure_address(&mut self, link: u32, address: IpNet) -> Result<()> {
        or_exists(self.add_address(link, address))
    }

    /// True when it was there.
    ///
    /// # Errors
    /// As above.
    pub fn delete_address_if_exists(&mut self, link: u32, address: IpNet) -> Result<bool> {
        or_absent(self.execute(
            "delete address",
            &format!("{address} of link {link}"),
            RouteNetlinkMessage::DelAddress(message(link, address)),
            0,
        ))
    }

    /// The link's addresses; of all links when `None`.
    ///
    /// # Errors
    /// As above.
    pub fn addresses(&mut self, link: Option<u32>) -> Result<Vec<(u32, IpNet)>> {
        let rows = self.dump("list addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let RouteNetlinkMessage::NewAddress(row) = row else { return None };
                let mut local = None;
                for attribute in &row.attributes {
                    match attribute {
                        AddressAttribute::Local(address) => local = Some(*address),
                        AddressAttribute::Address(address) if local.is_none() => local = Some(*address),
                        _ => {}
                    }
                }
                let net = IpNet::new(local?, row.header.prefix_len).ok()?;
                link.is_none_or(|link| link == row.header.index).then_some((row.header.index, net))
            })
            .collect())
    }
}

fn message(link: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link;
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.family = match address.addr() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    message
}
