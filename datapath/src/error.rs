//! What starting, listening or cleaning up can fail with.

use std::{io, path::PathBuf};

/// A failed operation and its object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("prepare the pin directory {path}")]
    PinDirectory { path: PathBuf, source: io::Error },
    #[error("check pinned map {path}")]
    CheckPin { path: PathBuf, source: io::Error },
    #[error("carry flows over into {path}")]
    Carry { path: PathBuf, source: io::Error },
    #[error("read the kernel's tick rate")]
    Clock(#[source] io::Error),
    #[error("load the eBPF object")]
    Object(#[source] Box<aya::EbpfError>),
    #[error("the eBPF object has no program {0}")]
    NoProgram(&'static str),
    #[error("load eBPF program {name}")]
    Program { name: &'static str, source: Box<aya::programs::ProgramError> },
    #[error("attach to {interface}")]
    Attach { interface: String, source: io::Error },
    #[error("set up device {device}")]
    Device { device: String, source: netlink::Error },
    #[error("set kernel parameters")]
    Sysctl(#[source] netlink::Error),
    #[error("set routes to pods")]
    Routes(#[source] netlink::Error),
    #[error("open the ring buffer {path}")]
    Ring { path: PathBuf, source: Box<aya::maps::MapError> },
    #[error("use the maps")]
    Kernel(#[from] crate::kernel::KernelError),
    #[error("remove {path}")]
    Remove { path: PathBuf, source: io::Error },
    #[error("remove device {device}")]
    RemoveDevice { device: &'static str, source: netlink::Error },
}
