//! The system call and the two commands on paths.
#![expect(unsafe_code, reason = "a system call")]

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// Commands of bpf(2), with the kernel's numbers.
#[derive(Clone, Copy)]
#[repr(i64)]
pub(super) enum Command {
    MapCreate = 0,
    MapLookupElem = 1,
    MapUpdateElem = 2,
    MapDeleteElem = 3,
    ProgLoad = 5,
    ObjPin = 6,
    ObjGet = 7,
    ProgTestRun = 10,
    MapGetFdById = 14,
    ObjGetInfoByFd = 15,
    MapLookupBatch = 24,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkDetach = 34,
}

/// Calls bpf(2).
///
/// # Safety
/// `attr` is the command's attribute structure, and the pointers in it are valid for what the
/// command reads and writes.
pub(super) unsafe fn bpf<T>(command: Command, attr: &mut T) -> io::Result<i64> {
    // SAFETY: the caller's promise; the size is that of the structure.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as i64, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// As [`bpf`], for commands that return a file descriptor.
///
/// # Safety
/// As [`bpf`], and the command returns a descriptor.
pub(super) unsafe fn bpf_fd<T>(command: Command, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attr)? };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pointer as the attribute structures hold it.
pub(super) fn pointer<T>(value: *const T) -> u64 {
    value as u64
}

pub(super) fn raw(fd: BorrowedFd<'_>) -> u32 {
    // Descriptors are never negative while they are borrowed.
    fd.as_raw_fd().unsigned_abs()
}

#[repr(C)]
struct ObjectAttr {
    pathname: u64,
    fd: u32,
    flags: u32,
}

/// Opens a pinned object.
pub(crate) fn object_get(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr { pathname: pointer(path.as_ptr()), fd: 0, flags: 0 };
    // SAFETY: the path outlives the call.
    unsafe { bpf_fd(Command::ObjGet, &mut attr) }
}

/// Pins an object.
pub(crate) fn object_pin(fd: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr { pathname: pointer(path.as_ptr()), fd: raw(fd.as_fd()), flags: 0 };
    // SAFETY: the path outlives the call.
    unsafe { bpf(Command::ObjPin, &mut attr).map(drop) }
}
