//! A node's ipcache, raw from its pins.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{HashMap, Map, MapData};
use ebpf_abi::{IpcacheEntry, MapSpec, Plain, maps};

use super::Entry;

/// A row's value as the kernel has it.
type Value = [u8; size_of::<IpcacheEntry>()];

/// The exact rows of both families.
pub(super) fn ipcache(bpf_root: &Path) -> Result<BTreeMap<IpAddr, Entry>> {
    let mut rows = BTreeMap::new();
    for row in open::<[u8; 4]>(bpf_root, &maps::IPCACHE4)?.iter() {
        let (key, value) = row.context("read the ipcache")?;
        rows.insert(IpAddr::from(key), entry(&value)?);
    }
    for row in open::<[u8; 16]>(bpf_root, &maps::IPCACHE6)?.iter() {
        let (key, value) = row.context("read the ipcache")?;
        rows.insert(IpAddr::from(key), entry(&value)?);
    }
    Ok(rows)
}

fn open<K: aya::Pod>(bpf_root: &Path, spec: &MapSpec) -> Result<HashMap<MapData, K, Value>> {
    let pin = bpf_root.join("maps").join(spec.pin);
    let map = MapData::from_pin(&pin).with_context(|| format!("open the pinned map {}", pin.display()))?;
    HashMap::try_from(Map::HashMap(map)).with_context(|| format!("{} is another map", pin.display()))
}

fn entry(value: &Value) -> Result<Entry> {
    let entry = IpcacheEntry::from_bytes(value).context("a row has its size")?;
    // In memory as in a packet: network order.
    let tunnel = IpAddr::from(entry.tunnel.to_ne_bytes());
    Ok((entry.identity, Some(tunnel).filter(|tunnel| !tunnel.is_unspecified())))
}
