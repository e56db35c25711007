//! Where pins lie below the bpf root: `maps/<name>_v<n>` and `links/<interface>_<hook>`.

use crate::sys::{self, Hook};
use ebpf_abi::MapSpec;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The overlay device.
pub const VXLAN_DEVICE: &str = "causeway_vxlan";
/// The host's end of the pair through which the host's stack reaches pods.
pub const HOST_DEVICE: &str = "causeway_host";
/// Its other end.
pub const NET_DEVICE: &str = "causeway_net";

pub(crate) fn maps(root: &Path) -> PathBuf {
    root.join("maps")
}

pub(crate) fn links(root: &Path) -> PathBuf {
    root.join("links")
}

pub(crate) fn map(root: &Path, spec: &MapSpec) -> PathBuf {
    maps(root).join(spec.pin)
}

pub(crate) fn link(root: &Path, interface: &str, hook: Hook) -> PathBuf {
    // bpffs refuses dots in names; interfaces may have them.
    links(root).join(format!("{}{}", interface.replace('.', ":"), suffix(hook)))
}

fn suffix(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => "_ingress",
        Hook::Egress => "_egress",
    }
}

/// Interfaces with pinned pod programs.
pub(crate) fn pod_interfaces(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, _) in pinned_links(root)? {
        if name != VXLAN_DEVICE && name != HOST_DEVICE && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Interface and path of every pinned link.
pub(crate) fn pinned_links(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(links(root)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let interface = [Hook::Ingress, Hook::Egress].iter().find_map(|hook| name.strip_suffix(suffix(*hook)));
        if let Some(interface) = interface {
            found.push((interface.replace(':', "."), path));
        }
    }
    found.sort();
    Ok(found)
}

/// Detaches and unpins; a link that is not there, or whose interface is gone, is as wanted.
pub(crate) fn remove_link(path: &Path) -> io::Result<()> {
    match sys::object_get(path) {
        Ok(link) => {
            match sys::link_detach(&link) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
                Err(error) => return Err(error),
            }
            fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
