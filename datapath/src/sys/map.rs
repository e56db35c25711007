//! Maps as bytes: single elements, batches, whole dumps, creation and layout.
#![expect(unsafe_code, reason = "system calls with pointers")]

use super::call::{Command, bpf, bpf_fd, pointer, raw};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Elements fetched by one dump call. A hash answers ENOSPC when one bucket holds more; then it doubles.
const DUMP_BATCH: u32 = 4096;

/// What the kernel knows of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) key: u32,
    pub(crate) value: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct ElemAttr {
    fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    fd: u32,
    elem_flags: u64,
    flags: u64,
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
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Makes an unnamed map, such as a policy set.
pub(crate) fn create_map(kind: u32, key: u32, value: u32, max_entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        map_type: kind,
        key_size: key,
        value_size: value,
        max_entries,
        map_flags: flags,
        ..CreateAttr::default()
    };
    // SAFETY: no pointers.
    unsafe { bpf_fd(Command::MapCreate, &mut attr) }
}

pub(crate) fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    unsafe { bpf_fd(Command::MapGetFdById, &mut IdAttr { id, next_id: 0, open_flags: 0 }) }
}

pub(crate) fn map_info(fd: impl AsFd) -> io::Result<MapInfo> {
    let mut info = RawInfo::default();
    let mut attr = InfoAttr {
        fd: raw(fd.as_fd()),
        len: size_of::<RawInfo>() as u32,
        info: pointer(std::ptr::from_mut(&mut info)),
    };
    // SAFETY: the kernel writes at most `len` bytes of `info`.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attr)? };
    Ok(MapInfo {
        kind: info.kind,
        id: info.id,
        key: info.key_size,
        value: info.value_size,
        max_entries: info.max_entries,
        flags: info.flags,
    })
}

/// The value of a key, `value_len` bytes; `None` when there is none.
pub(crate) fn lookup_elem(fd: impl AsFd, key: &[u8], value_len: usize) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; value_len];
    let mut attr = elem(fd, key, value.as_mut_ptr(), 0);
    // SAFETY: the caller passes a key and a length of this map's sizes; both outlive the call.
    match unsafe { bpf(Command::MapLookupElem, &mut attr) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The value of a key on each possible CPU.
pub(crate) fn lookup_per_cpu(fd: impl AsFd, key: &[u8], value_len: usize, cpus: usize) -> io::Result<Vec<Vec<u8>>> {
    let stride = value_len.next_multiple_of(8);
    let all = lookup_elem(fd, key, stride * cpus)?.unwrap_or_default();
    Ok(all.chunks(stride).map(|value| value[..value_len].to_vec()).collect())
}

/// What becomes of an element that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Overwrite = 0,
    /// It stays, and the update fails with `EEXIST`.
    Keep = 1,
}

pub(crate) fn update_elem(fd: impl AsFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    update_elem_if(fd, key, value, Existing::Overwrite)
}

pub(crate) fn update_elem_if(fd: impl AsFd, key: &[u8], value: &[u8], existing: Existing) -> io::Result<()> {
    let mut attr = elem(fd, key, value.as_ptr(), existing as u64);
    // SAFETY: as in `lookup_elem`; the kernel only reads.
    unsafe { bpf(Command::MapUpdateElem, &mut attr).map(drop) }
}

/// True when it was there.
pub(crate) fn delete_elem(fd: impl AsFd, key: &[u8]) -> io::Result<bool> {
    let mut attr = elem(fd, key, std::ptr::null(), 0);
    // SAFETY: as in `lookup_elem`.
    match unsafe { bpf(Command::MapDeleteElem, &mut attr) } {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes `count` elements; on failure says how many were written before.
pub(crate) fn update_batch(fd: impl AsFd, keys: &[u8], values: &[u8], count: u32) -> Result<(), (usize, io::Error)> {
    let mut attr = BatchAttr {
        in_batch: 0,
        out_batch: 0,
        keys: pointer(keys.as_ptr()),
        values: pointer(values.as_ptr()),
        count,
        fd: raw(fd.as_fd()),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the caller passes `count` keys and values of this map's sizes; the kernel only reads.
    unsafe { bpf(Command::MapUpdateBatch, &mut attr) }.map(drop).map_err(|error| (attr.count as usize, error))
}

/// Deletes `count` elements; on failure (ENOENT among others) says how many went before.
pub(crate) fn delete_batch(fd: impl AsFd, keys: &[u8], count: u32) -> Result<(), (usize, io::Error)> {
    let mut attr = BatchAttr {
        in_batch: 0,
        out_batch: 0,
        keys: pointer(keys.as_ptr()),
        values: 0,
        count,
        fd: raw(fd.as_fd()),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: as in `update_batch`.
    unsafe { bpf(Command::MapDeleteBatch, &mut attr) }.map(drop).map_err(|error| (attr.count as usize, error))
}

/// Every element. Concurrent writers may make one appear twice or not at all, as with any walk of a map.
pub(crate) fn dump(fd: impl AsFd, key_len: usize, value_len: usize) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // The cursor is a bucket number for hashes and a key elsewhere.
    let cursor_len = key_len.max(4);
    let mut cursor: Option<Vec<u8>> = None;
    let mut batch = DUMP_BATCH;
    let mut rows = Vec::new();
    loop {
        let mut next = vec![0u8; cursor_len];
        let mut keys = vec![0u8; key_len * batch as usize];
        let mut values = vec![0u8; value_len * batch as usize];
        let mut attr = BatchAttr {
            in_batch: cursor.as_ref().map_or(0, |cursor| pointer(cursor.as_ptr())),
            out_batch: pointer(next.as_mut_ptr()),
            keys: pointer(keys.as_mut_ptr()),
            values: pointer(values.as_mut_ptr()),
            count: batch,
            fd: raw(fd.as_fd()),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the buffers hold `count` elements of this map's sizes, and the cursor a key.
        let done = match unsafe { bpf(Command::MapLookupBatch, &mut attr) } {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                batch *= 2;
                continue;
            }
            Err(error) => return Err(error),
        };
        let pairs = keys.chunks_exact(key_len).zip(values.chunks_exact(value_len)).take(attr.count as usize);
        rows.extend(pairs.map(|(key, value)| (key.to_vec(), value.to_vec())));
        if done {
            return Ok(rows);
        }
        cursor = Some(next);
    }
}

fn elem(fd: impl AsFd, key: &[u8], value: *const u8, flags: u64) -> ElemAttr {
    ElemAttr { fd: raw(fd.as_fd()), pad: 0, key: pointer(key.as_ptr()), value: pointer(value), flags }
}
