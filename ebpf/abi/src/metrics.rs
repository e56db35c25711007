//! Packets and bytes by reason and direction.
#![expect(unsafe_code, reason = "Plain is an unsafe trait")]

use crate::layout;

/// Cells of the per-CPU array: a reason is a byte, a direction two bits.
pub const METRIC_CELLS: usize = 1024;

/// Where a reason's cell is.
#[inline(always)]
#[must_use]
pub const fn metric_index(reason: u8, direction: u8) -> u32 {
    ((reason as u32) << 2) | ((direction as u32) & 3)
}

/// Cilium's directions.
pub struct Direction;

impl Direction {
    pub const INGRESS: u8 = 1;
    pub const EGRESS: u8 = 2;
    pub const SERVICE: u8 = 3;
}

/// One cell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub packets: u64,
    pub bytes: u64,
}
layout!(Counter, 16, 8);
