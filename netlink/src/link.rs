//! Interfaces.

use crate::{
    Error, Mac, Namespace, Netlink, Result,
    error::{or_absent, or_exists},
};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use std::os::fd::AsRawFd;

/// What an interface is, as far as anybody here asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Veth,
    Bridge,
    /// `external`: the tunnel key comes with each packet.
    Vxlan {
        external: bool,
        port: u16,
    },
    Other(String),
    /// Hardware, loopback.
    Plain,
}

/// An interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: LinkKind,
    pub mac: Option<Mac>,
    pub mtu: u32,
    pub up: bool,
    pub arp: bool,
    /// Bridge it is a port of.
    pub master: Option<u32>,
    /// The other end of a veth, by its index in its own namespace.
    pub peer: Option<u32>,
}

/// One end of a veth pair.
#[derive(Clone, Debug, Default)]
pub struct PeerSpec<'a> {
    pub name: &'a str,
    pub mac: Option<Mac>,
    pub mtu: Option<u32>,
    /// Where it is to live; `None`: in the socket's namespace.
    pub namespace: Option<&'a Namespace>,
}

#[derive(Clone, Debug, Default)]
pub struct VethSpec<'a> {
    pub host: PeerSpec<'a>,
    pub peer: PeerSpec<'a>,
}

/// A VXLAN device without peers of its own: eBPF names the destination of each packet.
#[derive(Clone, Debug)]
pub struct VxlanSpec<'a> {
    pub name: &'a str,
    pub port: u16,
    pub mtu: Option<u32>,
    pub mac: Option<Mac>,
}

// === impl Netlink ===

impl Netlink {
    /// # Errors
    /// [`Error::Request`], as everywhere below, when the kernel refuses.
    pub fn create_veth(&mut self, spec: &VethSpec<'_>) -> Result<()> {
        let mut message = end(&spec.host);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end(&spec.peer)))),
        ]));
        self.create("create veth", spec.host.name, message)
    }

    /// # Errors
    /// As above.
    pub fn create_vxlan(&mut self, spec: &VxlanSpec<'_>) -> Result<()> {
        let mut message = end(&PeerSpec { name: spec.name, mac: spec.mac, mtu: spec.mtu, namespace: None });
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vxlan),
            LinkInfo::Data(InfoData::Vxlan(vec![
                InfoVxlan::CollectMetadata(true),
                InfoVxlan::Learning(false),
                InfoVxlan::Port(spec.port),
            ])),
        ]));
        self.create("create vxlan", spec.name, message)
    }

    /// # Errors
    /// As above.
    pub fn create_bridge(&mut self, name: &str) -> Result<()> {
        let mut message = end(&PeerSpec { name, ..PeerSpec::default() });
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.create("create bridge", name, message)
    }

    /// # Errors
    /// As above; a link of that name, whatever its kind, is left as it is.
    pub fn ensure_veth(&mut self, spec: &VethSpec<'_>) -> Result<()> {
        or_exists(self.create_veth(spec))
    }

    /// # Errors
    /// As above.
    pub fn ensure_vxlan(&mut self, spec: &VxlanSpec<'_>) -> Result<()> {
        or_exists(self.create_vxlan(spec))
    }

    /// # Errors
    /// As above.
    pub fn ensure_bridge(&mut self, name: &str) -> Result<()> {
        or_exists(self.create_bridge(name))
    }

    /// All links of the namespace.
    ///
    /// # Errors
    /// As above.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let rows = self.dump("list links", RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(rows.into_iter().filter_map(as_link).collect())
    }

    /// The link of that name, if there is one.
    ///
    /// # Errors
    /// As above.
    pub fn find_link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.get("look up link", name, RouteNetlinkMessage::GetLink(message)) {
            Ok(answer) => Ok(answer.and_then(as_link)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The link of that name.
    ///
    /// # Errors
    /// [`Error::NoLink`] when there is none.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        self.find_link(name)?.ok_or_else(|| Error::NoLink(name.to_owned()))
    }

    /// # Errors
    /// As above.
    pub fn set_up(&mut self, index: u32) -> Result<()> {
        self.set_flags("bring up link", index, LinkFlags::Up, LinkFlags::Up)
    }

    /// # Errors
    /// As above.
    pub fn set_down(&mut self, index: u32) -> Result<()> {
        self.set_flags("take down link", index, LinkFlags::empty(), LinkFlags::Up)
    }

    /// Switches address resolution off, as on a point-to-point link.
    ///
    /// # Errors
    /// As above.
    pub fn set_noarp(&mut self, index: u32) -> Result<()> {
        self.set_flags("switch off ARP on link", index, LinkFlags::Noarp, LinkFlags::Noarp)
    }

    /// # Errors
    /// As above.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<()> {
        self.set("set MTU of link", index, LinkAttribute::Mtu(mtu))
    }

    /// # Errors
    /// As above.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> Result<()> {
        self.set("set MAC of link", index, LinkAttribute::Address(mac.0.to_vec()))
    }

    /// Makes the link a port of a bridge.
    ///
    /// # Errors
    /// As above.
    pub fn set_master(&mut self, index: u32, bridge: u32) -> Result<()> {
        self.set("add to a bridge link", index, LinkAttribute::Controller(bridge))
    }

    /// # Errors
    /// As above; the link must be down.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<()> {
        self.set("rename link", index, LinkAttribute::IfName(name.to_owned()))
    }

    /// Moves the link to another namespace; it arrives down.
    ///
    /// # Errors
    /// As above.
    pub fn set_namespace(&mut self, index: u32, namespace: &Namespace) -> Result<()> {
        self.set("move to another namespace link", index, LinkAttribute::NetNsFd(namespace.as_raw_fd()))
    }

    /// # Errors
    /// As above.
    pub fn delete_link(&mut self, name: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.execute("delete link", name, RouteNetlinkMessage::DelLink(message), 0)
    }

    /// True when it was there.
    ///
    /// # Errors
    /// As above.
    pub fn delete_link_if_exists(&mut self, name: &str) -> Result<bool> {
        or_absent(self.delete_link(name))
    }

    fn create(&mut self, operation: &'static str, name: &str, message: LinkMessage) -> Result<()> {
        self.execute(operation, name, RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn set_flags(&mut self, operation: &'static str, index: u32, flags: LinkFlags, mask: LinkFlags) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message.header.change_mask = mask;
        self.execute(operation, &index.to_string(), RouteNetlinkMessage::SetLink(message), 0)
    }

    fn set(&mut self, operation: &'static str, index: u32, attribute: LinkAttribute) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(attribute);
        self.execute(operation, &index.to_string(), RouteNetlinkMessage::SetLink(message), 0)
    }
}

fn end(spec: &PeerSpec<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(spec.name.to_owned()));
    if let Some(mac) = spec.mac {
        message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
    }
    if let Some(mtu) = spec.mtu {
        message.attributes.push(LinkAttribute::Mtu(mtu));
    }
    if let Some(namespace) = spec.namespace {
        message.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    }
    message
}

fn as_link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: LinkKind::Plain,
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        arp: !flags.contains(LinkFlags::Noarp),
        master: None,
        peer: None,
    };
    let mut lower = None;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes).ok().map(Mac),
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Link(index) => lower = Some(index),
            LinkAttribute::LinkInfo(infos) => link.kind = kind(infos),
            _ => {}
        }
    }
    if link.kind == LinkKind::Veth {
        link.peer = lower;
    }
    Some(link)
}

fn kind(infos: Vec<LinkInfo>) -> LinkKind {
    let mut kind = LinkKind::Plain;
    for info in infos {
        match info {
            LinkInfo::Kind(InfoKind::Veth) => kind = LinkKind::Veth,
            LinkInfo::Kind(InfoKind::Bridge) => kind = LinkKind::Bridge,
            LinkInfo::Kind(InfoKind::Vxlan) => kind = LinkKind::Vxlan { external: false, port: 0 },
            LinkInfo::Kind(other) => kind = LinkKind::Other(other.to_string()),
            LinkInfo::Data(InfoData::Vxlan(data)) => {
                let external = data.contains(&InfoVxlan::CollectMetadata(true));
                let port =
                    data.iter().find_map(|item| if let InfoVxlan::Port(port) = item { Some(*port) } else { None });
                kind = LinkKind::Vxlan { external, port: port.unwrap_or_default() };
            }
            _ => {}
        }
    }
    kind
}
