//! What the kernel and this process must be able to do, found out without changing anything.

use crate::sys;
use ebpf_abi::{MapKind, maps};
use std::{fs, io, path::Path};

/// `CAP_*`, with the kernel's numbers.
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// tcx links came with this kernel.
const TCX: (u32, u32) = (6, 6);

/// One thing that the datapath needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    /// Why it is not there, and how to mend that.
    pub missing: Option<String>,
}

/// Everything that [`crate::Datapath::start`] needs, with pins below `bpf_root`.
#[must_use]
pub fn features(bpf_root: &Path) -> Vec<Feature> {
    let capabilities = effective();
    let has = |wanted: &[u32]| wanted.iter().any(|bit| capabilities & (1 << bit) != 0);
    let capability = |name, wanted: &[u32]| {
        let missing = (!has(wanted)).then(|| "run as root, or grant it to the process".to_owned());
        Feature { name, missing }
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let old = version(&release).is_none_or(|version| version < TCX);
    let kernel = old.then(|| format!("this is {}: tcx links need {}.{}", release.trim(), TCX.0, TCX.1));
    let mut features = vec![
        Feature { name: "kernel 6.6", missing: kernel },
        capability("CAP_NET_ADMIN", &[NET_ADMIN]),
        capability("CAP_BPF", &[BPF, SYS_ADMIN]),
        capability("CAP_PERFMON", &[PERFMON, SYS_ADMIN]),
        Feature { name: "bpffs", missing: sys::bpffs_fault(bpf_root, has(&[SYS_ADMIN])) },
    ];
    // Without the capability every map would be missing, and that is said already.
    if has(&[BPF, SYS_ADMIN]) {
        for (name, kind) in
            [("hash maps", MapKind::Hash), ("LPM tries", MapKind::LpmTrie), ("LRU hashes", MapKind::LruHash)]
        {
            features.push(Feature { name, missing: probe(kind).err().map(|error| error.to_string()) });
        }
    }
    features
}

/// Makes a map of a kind and lets it go again.
fn probe(kind: MapKind) -> io::Result<()> {
    let spec = maps::ALL.iter().find(|spec| spec.kind as u32 == kind as u32);
    let spec = spec.ok_or_else(|| io::Error::other("no map of this kind is in use"))?;
    sys::create_map(spec.kind as u32, spec.key, spec.value, 8, spec.flags).map(drop)
}

/// The capabilities in force for this thread.
fn effective() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or_default()
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version("6.18.44-x"), Some((6, 18)));
        assert!(version("6.5.0") < Some(TCX) && version("10.0") > Some(TCX));
        assert_eq!(version("x"), None);
    }

    #[test]
    fn a_file_is_no_place_for_pins() {
        let file = std::env::temp_dir().join(format!("causeway-features-{}", std::process::id()));
        fs::write(&file, "x").unwrap();
        let found = features(&file);
        let bpffs = found.iter().find(|feature| feature.name == "bpffs").unwrap();
        assert!(bpffs.missing.as_ref().unwrap().contains("is not a directory"), "{found:?}");
        fs::remove_file(&file).unwrap();
    }
}
