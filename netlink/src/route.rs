//! Routes of the main table.

use crate::{Netlink, Result, error::or_absent};
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
        RouteScope as Scope, RouteType,
    },
};
use std::net::IpAddr;

/// How far a destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteScope {
    /// Behind a gateway, or anywhere.
    #[default]
    Universe,
    /// On the link itself.
    Link,
}

/// A route of the main table. Equal destinations replace each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    pub link: u32,
    pub via: Option<IpAddr>,
    /// The gateway is on the link although no address says so.
    pub onlink: bool,
    pub source: Option<IpAddr>,
    pub mtu: Option<u32>,
    pub scope: RouteScope,
}

impl Route {
    /// A route through a link, without gateway.
    #[must_use]
    pub fn on_link(destination: IpNet, link: u32) -> Self {
        Self { destination, link, via: None, onlink: false, source: None, mtu: None, scope: RouteScope::Link }
    }

    /// A route through a gateway.
    #[must_use]
    pub fn via(destination: IpNet, link: u32, gateway: IpAddr) -> Self {
        Self { via: Some(gateway), scope: RouteScope::Universe, ..Self::on_link(destination, link) }
    }
}

impl Netlink {
    /// Adds the route or replaces the one to the same destination.
    ///
    /// # Errors
    /// [`crate::Error::Request`] when the kernel refuses.
    pub fn ensure_route(&mut self, route: &Route) -> Result<()> {
        let mut message = message(route.destination, route.link);
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        // IPv6 knows no scopes; the kernel ignores or refuses them.
        if route.scope == RouteScope::Link && route.destination.addr().is_ipv4() {
            message.header.scope = Scope::Link;
        }
        if route.onlink {
            message.header.flags |= RouteFlags::Onlink;
        }
        if let Some(via) = route.via {
            message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(via)));
        }
        if let Some(source) = route.source {
            message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(source)));
        }
        if let Some(mtu) = route.mtu {
            message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
        }
        self.execute(
            "add route",
            &format!("{} through link {}", route.destination, route.link),
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// True when it was there.
    ///
    /// # Errors
    /// As above.
    pub fn delete_route_if_exists(&mut self, destination: IpNet, link: u32) -> Result<bool> {
        let mut message = message(destination, link);
        message.header.scope = Scope::NoWhere;
        or_absent(self.execute(
            "delete route",
            &format!("{destination} through link {link}"),
            RouteNetlinkMessage::DelRoute(message),
            0,
        ))
    }

    /// Unicast routes of the main table through `link`; through all when `None`.
    ///
    /// # Errors
    /// As above.
    pub fn routes(&mut self, link: Option<u32>) -> Result<Vec<Route>> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let rows = self.dump("list routes", RouteNetlinkMessage::GetRoute(message))?;
            found.extend(rows.into_iter().filter_map(|row| as_route(family, row)));
        }
        found.retain(|route| link.is_none_or(|link| link == route.link));
        Ok(found)
    }
}

fn message(destination: IpNet, link: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match destination.addr() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(destination.network())));
    message.attributes.push(RouteAttribute::Oif(link));
    message
}

fn as_route(family: AddressFamily, row: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(row) = row else { return None };
    if row.header.kind != RouteType::Unicast || row.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let any: IpAddr = if family == AddressFamily::Inet { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let mut destination = any;
    let mut route = Route::on_link(IpNet::new(any, 0).ok()?, 0);
    route.scope = if row.header.scope == Scope::Link { RouteScope::Link } else { RouteScope::Universe };
    route.onlink = row.header.flags.contains(RouteFlags::Onlink);
    for attribute in row.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(&address)?,
            RouteAttribute::Gateway(address) => route.via = ip(&address),
            RouteAttribute::PrefSource(address) => route.source = ip(&address),
            RouteAttribute::Oif(link) => route.link = link,
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    route.destination = IpNet::new(destination, row.header.destination_prefix_length).ok()?;
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
