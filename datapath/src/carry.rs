//! Flows carried from the maps of another version into ours.
//!
//! A conntrack map whose layout or name differs cannot be used by our programs, and cannot be filled again from tables
//! either: only the kernel knows the flows. So its entries are copied before our programs take over, and once more
//! after, for flows that began in between; then its pin goes. Fields of an entry are only ever appended and zero means
//! "not known", so a longer value is cut and a shorter one is filled up.

use crate::{
    Error, MapId, pins,
    sys::{self, Existing, MapInfo},
};
use ebpf_abi::{MapSpec, maps};
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// A map of another version.
pub(crate) struct Outgrown {
    spec: &'static MapSpec,
    map: OwnedFd,
    info: MapInfo,
    /// Its pin, unless that is ours by now.
    pin: Option<PathBuf>,
}

/// Opens every conntrack map below `root` that is pinned under another version's name. Maps that tables fill are not
/// among them.
pub(crate) fn find(root: &Path) -> Result<Vec<Outgrown>, Error> {
    let mut found = Vec::new();
    for (spec, pin) in other_versions(root)? {
        if is_conntrack(spec) {
            let failed = |source| Error::CheckPin { path: pin.clone(), source };
            let map = sys::object_get(&pin).map_err(failed)?;
            found.extend(Outgrown::new(spec, map, Some(pin.clone())).map_err(failed)?);
        }
    }
    Ok(found)
}

/// Removes the pins of other versions: nobody uses them any more.
pub(crate) fn sweep(root: &Path) -> Result<(), Error> {
    for (_, path) in other_versions(root)? {
        fs::remove_file(&path).map_err(|source| Error::CheckPin { path: path.clone(), source })?;
        tracing::info!(pin = %path.display(), "pin of another version removed");
    }
    Ok(())
}

pub(crate) fn is_conntrack(spec: &MapSpec) -> bool {
    MapId::CONNTRACK.iter().any(|map| map.spec() == spec)
}

/// Pins that are named as one of our maps with another version.
fn other_versions(root: &Path) -> Result<Vec<(&'static MapSpec, PathBuf)>, Error> {
    let folder = pins::maps(root);
    let failed = |source| Error::PinDirectory { path: folder.clone(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((base, version)) = name.rsplit_once("_v") else { continue };
        if let Some(spec) = maps::ALL.iter().find(|spec| spec.name == base && spec.pin != name)
            && version.parse::<u32>().is_ok()
        {
            found.push((spec, path));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

// === impl Outgrown ===

impl Outgrown {
    /// `None` when its keys are others: then nothing of it means anything to us.
    pub(crate) fn new(spec: &'static MapSpec, map: OwnedFd, pin: Option<PathBuf>) -> io::Result<Option<Self>> {
        let info = sys::map_info(&map)?;
        let usable = info.key == spec.key && info.kind == spec.kind as u32;
        if !usable {
            tracing::warn!(map = spec.name, ?info, "flows of another version cannot be carried over");
        }
        Ok(usable.then_some(Self { spec, map, info, pin }))
    }

    /// Copies every entry that our map does not have; how many there were.
    ///
    /// # Errors
    /// [`Error::Carry`].
    pub(crate) fn copy(&self, root: &Path) -> Result<usize, Error> {
        let path = pins::map(root, self.spec);
        self.copy_into(&path).map_err(|source| Error::Carry { path, source })
    }

    fn copy_into(&self, path: &Path) -> io::Result<usize> {
        let into = sys::object_get(path)?;
        let rows = sys::dump(&self.map, self.info.key as usize, self.info.value as usize)?;
        let mut copied = 0;
        for (key, mut value) in rows {
            value.resize(self.spec.value as usize, 0);
            // What our programs have written since is newer.
            match sys::update_elem_if(into.as_fd(), &key, &value, Existing::Keep) {
                Ok(()) => copied += 1,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    pub(crate) fn name(&self) -> String {
        let pin = self.pin.as_ref().and_then(|pin| pin.file_name()).map(|name| name.to_string_lossy().into_owned());
        pin.unwrap_or_else(|| format!("{} of another layout", self.spec.name))
    }
}
