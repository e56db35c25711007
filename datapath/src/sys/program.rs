//! Running a loaded program on a packet of our making.
#![expect(unsafe_code, reason = "system calls with pointers")]

use super::call::{Command, bpf, bpf_fd, pointer, raw};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

/// Size of `struct __sk_buff`.
const CONTEXT: usize = 192;
const MARK: usize = 8;
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;
/// Largest packet that comes back.
const PACKET_OUT: usize = 4096;

/// What a program did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The action: 0 pass, 2 drop, 7 redirect.
    pub action: u32,
    /// The packet as the program left it.
    pub packet: Vec<u8>,
    pub mark: u32,
    /// Mean time of one run.
    pub duration: Duration,
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kernel_version: u32,
    flags: u32,
}

/// Loads a classifier made of ready instructions.
pub(crate) fn load_classifier(instructions: &[u64]) -> io::Result<OwnedFd> {
    let mut attr = LoadAttr {
        // BPF_PROG_TYPE_SCHED_CLS.
        program_type: 3,
        instruction_count: instructions.len() as u32,
        instructions: pointer(instructions.as_ptr()),
        license: pointer(c"GPL".as_ptr()),
        ..LoadAttr::default()
    };
    // SAFETY: the instructions and the licence outlive the call; the verifier judges the rest.
    unsafe { bpf_fd(Command::ProgLoad, &mut attr) }
}

/// `jiffies >> shift`, by a program of four instructions.
pub(crate) fn jiffies(shift: u32) -> io::Result<u32> {
    // call jiffies64; r0 >>= shift; exit
    let code = [118 << 32 | 0x85, u64::from(shift) << 32 | 0x77, 0x95];
    let program = load_classifier(&code)?;
    Ok(test_run(&program, &[0; 64], 0, 0, 1)?.action)
}

#[repr(C)]
struct RunAttr {
    program_fd: u32,
    retval: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// Runs `program` on `packet` as if it had come through `ifindex` with `mark`, `repeat` times on
/// the same buffer.
///
/// # Errors
/// The kernel's answer.
pub fn test_run(program: impl AsFd, packet: &[u8], ifindex: u32, mark: u32, repeat: u32) -> io::Result<TestRun> {
    let mut context_in = [0u8; CONTEXT];
    context_in[MARK..MARK + 4].copy_from_slice(&mark.to_ne_bytes());
    context_in[IFINDEX..IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
    context_in[INGRESS_IFINDEX..INGRESS_IFINDEX + 4].copy_from_slice(&0u32.to_ne_bytes());
    let mut context_out = [0u8; CONTEXT];
    let mut out = vec![0u8; PACKET_OUT];
    let mut attr = RunAttr {
        program_fd: raw(program.as_fd()),
        retval: 0,
        size_in: packet.len() as u32,
        size_out: PACKET_OUT as u32,
        data_in: pointer(packet.as_ptr()),
        data_out: pointer(out.as_mut_ptr()),
        repeat,
        duration: 0,
        ctx_size_in: CONTEXT as u32,
        ctx_size_out: CONTEXT as u32,
        ctx_in: pointer(context_in.as_ptr()),
        ctx_out: pointer(context_out.as_mut_ptr()),
        flags: 0,
        cpu: 0,
        batch_size: 0,
        pad: 0,
    };
    // SAFETY: every buffer is as long as the size beside it and outlives the call.
    unsafe { bpf(Command::ProgTestRun, &mut attr)? };
    out.truncate(attr.size_out as usize);
    let mut mark = [0u8; 4];
    mark.copy_from_slice(&context_out[MARK..MARK + 4]);
    Ok(TestRun {
        action: attr.retval,
        packet: out,
        mark: u32::from_ne_bytes(mark),
        duration: Duration::from_nanos(u64::from(attr.duration)),
    })
}
