//! tcx links: made, replaced atomically, taken off, looked at.
#![expect(unsafe_code, reason = "system calls with pointers")]

use super::call::{Command, bpf, bpf_fd, pointer, raw};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Where a program sits on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Ingress,
    Egress,
}

/// What the kernel knows of a tcx link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    pub(crate) program: u32,
    /// 0 once the interface is gone.
    pub(crate) ifindex: u32,
}

#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    program_fd: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    pad: u32,
    expected_revision: u64,
}

#[repr(C)]
struct UpdateAttr {
    link_fd: u32,
    program_fd: u32,
    flags: u32,
    old_program_fd: u32,
}

#[repr(C)]
struct DetachAttr {
    link_fd: u32,
}

#[repr(C)]
struct InfoAttr {
    fd: u32,
    len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct RawInfo {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
    ifindex: u32,
    attach_type: u32,
}

impl Hook {
    fn attach_type(self) -> u32 {
        // BPF_TCX_INGRESS and BPF_TCX_EGRESS.
        match self {
            Self::Ingress => 46,
            Self::Egress => 47,
        }
    }
}

/// Attaches a program to an interface of the calling thread's namespace.
pub(crate) fn link_create(program: impl AsFd, ifindex: u32, hook: Hook) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        program_fd: raw(program.as_fd()),
        ifindex,
        attach_type: hook.attach_type(),
        ..CreateAttr::default()
    };
    // SAFETY: no pointers.
    unsafe { bpf_fd(Command::LinkCreate, &mut attr) }
}

/// Puts another program in the place of a link's, with no packet in between that meets none.
pub(crate) fn link_update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let mut attr =
        UpdateAttr { link_fd: raw(link.as_fd()), program_fd: raw(program.as_fd()), flags: 0, old_program_fd: 0 };
    // SAFETY: no pointers.
    unsafe { bpf(Command::LinkUpdate, &mut attr).map(drop) }
}

pub(crate) fn link_detach(link: impl AsFd) -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe { bpf(Command::LinkDetach, &mut DetachAttr { link_fd: raw(link.as_fd()) }).map(drop) }
}

pub(crate) fn link_info(link: impl AsFd) -> io::Result<LinkInfo> {
    let mut info = RawInfo::default();
    let mut attr = InfoAttr {
        fd: raw(link.as_fd()),
        len: size_of::<RawInfo>() as u32,
        info: pointer(std::ptr::from_mut(&mut info)),
    };
    // SAFETY: the kernel writes at most `len` bytes of `info`.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attr)? };
    Ok(LinkInfo { program: info.program, ifindex: info.ifindex })
}
