//! Packets and bytes by reason and direction, without a lock: one cell per CPU.

use crate::maps::METRICS;
use ebpf_abi::metric_index;

#[inline(always)]
pub fn count(reason: u8, direction: u8, len: u32) {
    if let Some(cell) = METRICS.get_ptr_mut(metric_index(reason, direction)) {
        // SAFETY: this CPU's cell; programs are not preempted by themselves on one CPU.
        unsafe {
            (*cell).packets += 1;
            (*cell).bytes += u64::from(len);
        }
    }
}
