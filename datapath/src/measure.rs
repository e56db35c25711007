//! How long a program takes for a packet.
//!
//! A test run repeats on one buffer, which a program that translates or counts hops changes. So a
//! small program puts the first bytes back and calls the measured one; its own time, measured with
//! an empty program, is subtracted.

use crate::sys;
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// Bytes put back: all headers of both families.
const RESTORED: usize = 96;
/// Runs in one test run.
const REPEAT: u32 = 200_000;
/// Test runs, of which the quickest counts.
const ROUNDS: usize = 7;

const ARRAY: u32 = 2;
const PROGRAM_ARRAY: u32 = 3;

/// A program that restores a packet and calls another.
pub struct Stopwatch {
    wrapper: OwnedFd,
    packet: OwnedFd,
    target: OwnedFd,
    overhead: Duration,
    ifindex: u32,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The action of the last run.
    pub action: u32,
    pub nanos_per_packet: f64,
}

impl Stopwatch {
    /// Measures on packets of `ifindex`, an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn new(ifindex: u32) -> io::Result<Self> {
        let packet = sys::create_map(ARRAY, 4, RESTORED as u32, 1, 0)?;
        let target = sys::create_map(PROGRAM_ARRAY, 4, 4, 1, 0)?;
        let wrapper = sys::load_classifier(&wrapper(packet.as_fd(), target.as_fd()))?;
        // mov r0, 0; exit
        let empty = sys::load_classifier(&[instruction(0xb7, 0, 0, 0, 0), instruction(0x95, 0, 0, 0, 0)])?;
        let mut stopwatch = Self { wrapper, packet, target, overhead: Duration::ZERO, ifindex };
        stopwatch.overhead = stopwatch.run(empty.as_fd(), &[0; 128])?.1;
        Ok(stopwatch)
    }

    /// The mean time of `program` on `frame`, which must be at least 96 bytes long.
    ///
    /// # Errors
    /// The kernel's answer; [`io::ErrorKind::InvalidInput`] for a short frame.
    pub fn measure(&self, program: impl AsFd, frame: &[u8]) -> io::Result<Measured> {
        let (action, time) = self.run(program.as_fd(), frame)?;
        Ok(Measured { action, nanos_per_packet: time.saturating_sub(self.overhead).as_nanos() as f64 })
    }

    fn run(&self, program: BorrowedFd<'_>, frame: &[u8]) -> io::Result<(u32, Duration)> {
        let head = frame.get(..RESTORED).ok_or(io::ErrorKind::InvalidInput)?;
        sys::update_elem(&self.packet, &[0; 4], head)?;
        sys::update_elem(&self.target, &[0; 4], &program.as_raw_fd().to_ne_bytes())?;
        let mut best = (0, Duration::MAX);
        for _ in 0..ROUNDS {
            let run = sys::test_run(&self.wrapper, frame, self.ifindex, 0, REPEAT)?;
            if run.duration < best.1 {
                best = (run.action, run.duration);
            }
        }
        Ok(best)
    }
}

/// `skb_store_bytes(skb, 0, &packet[0], 96, 0); tail_call(skb, target, 0); return -1`
fn wrapper(packet: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Vec<u64> {
    const MAP_FD: u8 = 1;
    const MAP_VALUE: u8 = 2;
    let mut code = vec![
        // r6 = r1; r2 = 0
        instruction(0xbf, 6, 1, 0, 0),
        instruction(0xb7, 2, 0, 0, 0),
    ];
    // r3 = &packet[0]
    code.extend([instruction(0x18, 3, MAP_VALUE, 0, packet.as_raw_fd()), 0]);
    code.extend([
        // r4 = 96; r5 = 0; call skb_store_bytes
        instruction(0xb7, 4, 0, 0, RESTORED as i32),
        instruction(0xb7, 5, 0, 0, 0),
        instruction(0x85, 0, 0, 0, 9),
        instruction(0xbf, 1, 6, 0, 0),
    ]);
    // r2 = target; r3 = 0; call tail_call
    code.extend([instruction(0x18, 2, MAP_FD, 0, target.as_raw_fd()), 0]);
    code.extend([
        instruction(0xb7, 3, 0, 0, 0),
        instruction(0x85, 0, 0, 0, 12),
        instruction(0xb7, 0, 0, 0, -1),
        instruction(0x95, 0, 0, 0, 0),
    ]);
    code
}

/// `struct bpf_insn` on a little-endian machine.
const fn instruction(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> u64 {
    code as u64 | (dst as u64 | (src as u64) << 4) << 8 | (offset as u16 as u64) << 16 | (immediate as u32 as u64) << 32
}
