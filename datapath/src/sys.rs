//! The kernel's bpf(2), as far as aya does not offer it, and the file system of pins.
//!
//! Everything here works on bytes and file descriptors; `kernel` gives it the maps' meaning.

mod bpffs;
mod call;
mod link;
mod map;
mod program;

pub(crate) use bpffs::{ensure_bpffs, fault as bpffs_fault};
pub(crate) use link::{Hook, link_create, link_detach, link_info, link_update};
pub(crate) use map::{
    Existing, MapInfo, create_map, delete_batch, delete_elem, dump, lookup_elem, lookup_per_cpu, map_by_id, map_info,
    update_batch, update_elem, update_elem_if,
};
pub use program::{TestRun, test_run};
pub(crate) use program::{jiffies, load_classifier};

pub(crate) use call::{object_get, object_pin};
