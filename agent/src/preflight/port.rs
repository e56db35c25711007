//! The tunnel's port, and who else has it.

use std::fs;
use std::net::UdpSocket;

use anyhow::{Result, bail};
use netlink::{LinkKind, Netlink};

/// Fails when another process or device has the port, and names it.
pub(super) fn check(port: u16, netlink: &mut Netlink) -> Result<()> {
    let links = netlink.links()?;
    let tunnel = |link: &&netlink::Link| matches!(link.kind, LinkKind::Vxlan { port: of, .. } if of == port);
    // The device of an earlier run holds the port for us.
    if links.iter().filter(tunnel).any(|link| link.name == datapath::VXLAN_DEVICE) {
        return Ok(());
    }
    if let Some(other) = links.iter().find(tunnel) {
        bail!("--tunnel-port {port} is that of device {}: remove it, or choose another port for all nodes", other.name);
    }
    if UdpSocket::bind(("0.0.0.0", port)).is_ok() {
        return Ok(());
    }
    bail!(
        "--tunnel-port {port} is in use by {}: end it, or choose another port for all nodes",
        holder(port).unwrap_or_else(|| "another socket".to_owned())
    )
}

/// Name and pid of the process with a UDP socket on a port.
fn holder(port: u16) -> Option<String> {
    let socket = ["udp", "udp6"].iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        text.lines().skip(1).find_map(|line| inode(line, port))
    })?;
    let link = format!("socket:[{socket}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        // Neither /proc/self nor what is no process at all.
        if process.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        if files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|target| *target == *link)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {})", name.trim(), process.file_name().display()));
        }
    }
    None
}

/// The inode in a line of `/proc/net/udp` when it is about this local port.
fn inode(line: &str, port: u16) -> Option<u64> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    (u16::from_str_radix(local, 16).ok()? == port).then_some(())?;
    fields.get(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let held = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let found = holder(port).unwrap();
        assert!(found.contains(&format!("(pid {})", std::process::id())), "{found}");
        drop(held);
        assert_eq!(holder(port), None);
    }
}
