//! Rows of the kernel changed behind the agent's back: to show that checks notice.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use aya::maps::{HashMap, Map, MapData};
use ebpf_abi::{Endpoint, IpcacheEntry, MapSpec, Plain, maps};

type Rows<const N: usize> = HashMap<MapData, [u8; 4], [u8; N]>;

/// A removed row. [`Removed::put_back`] mends it.
#[must_use = "the row stays away until it is put back"]
pub(crate) struct Removed<const N: usize> {
    map: Rows<N>,
    key: [u8; 4],
    value: [u8; N],
}

/// Removes an address from the ipcache: who it is, is forgotten.
pub(crate) fn forget_identity(bpf_root: &Path, ip: Ipv4Addr) -> Result<Removed<{ size_of::<IpcacheEntry>() }>> {
    remove(open(bpf_root, &maps::IPCACHE4)?, ip)
}

/// Removes a local pod's address: packets to it have nowhere to go.
pub(crate) fn forget_endpoint(bpf_root: &Path, ip: Ipv4Addr) -> Result<Removed<{ size_of::<Endpoint>() }>> {
    remove(open(bpf_root, &maps::ENDPOINTS4)?, ip)
}

/// Gives the pod with this address another identity where senders are looked up; its own.
pub(crate) fn disguise(bpf_root: &Path, ip: Ipv4Addr, identity: u32) -> Result<u32> {
    let mut map: Rows<{ size_of::<Endpoint>() }> = open(bpf_root, &maps::IFACES)?;
    for row in map.iter() {
        let (key, value) = row.context("read the interfaces of pods")?;
        let mut endpoint = Endpoint::from_bytes(&value).context("a row has its size")?;
        // In memory as in a packet: network order.
        if endpoint.addr4.to_ne_bytes() == ip.octets() {
            let own = std::mem::replace(&mut endpoint.identity, identity);
            let value: [u8; size_of::<Endpoint>()] = endpoint.as_bytes().try_into().context("a row has its size")?;
            map.insert(key, value, 0).context("write an interface's row")?;
            return Ok(own);
        }
    }
    bail!("no pod here has the address {ip}")
}

fn remove<const N: usize>(mut map: Rows<N>, ip: Ipv4Addr) -> Result<Removed<N>> {
    let key = ip.octets();
    let value = map.get(&key, 0).with_context(|| format!("look {ip} up"))?;
    map.remove(&key).with_context(|| format!("remove {ip}"))?;
    Ok(Removed { map, key, value })
}

fn open<const N: usize>(bpf_root: &Path, spec: &MapSpec) -> Result<Rows<N>> {
    let pin = bpf_root.join("maps").join(spec.pin);
    let map = MapData::from_pin(&pin).with_context(|| format!("open the pinned map {}", pin.display()))?;
    HashMap::try_from(Map::HashMap(map)).with_context(|| format!("{} is another map", pin.display()))
}

// === impl Removed ===

impl<const N: usize> Removed<N> {
    pub(crate) fn put_back(mut self) -> Result<()> {
        self.map.insert(self.key, self.value, 0).context("put a row back")
    }
}
