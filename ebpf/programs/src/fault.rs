//! Why a walk ended badly, and what is done about it.

use crate::{
    event::{self, Scene},
    metrics,
    skb::{ACT_SHOT, Skb},
};
use ebpf_abi::{Reason, SourceFile};

/// Reason, file and line in one register: an error path costs one constant load.
#[derive(Clone, Copy)]
pub struct Fault(u32);

impl Fault {
    #[inline(always)]
    pub const fn new(reason: Reason, file: SourceFile, line: u32) -> Self {
        Self(reason.0 as u32 | (file as u32) << 8 | (line & 0xffff) << 16)
    }

    #[inline(always)]
    pub const fn code(self) -> u8 {
        self.0 as u8
    }

    #[inline(always)]
    pub const fn file(self) -> u8 {
        (self.0 >> 8) as u8
    }

    #[inline(always)]
    pub const fn line(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// A fault raised here. The file has a constant `FILE`.
macro_rules! fault {
    ($reason:ident) => {
        $crate::fault::Fault::new(ebpf_abi::Reason::$reason, FILE, line!())
    };
}
pub(crate) use fault;

/// Counts, reports and drops.
#[inline(always)]
pub fn drop_packet(skb: Skb, scene: &Scene, fault: Fault) -> i32 {
    let fault = Fault(skb.forget(fault.0));
    metrics::count(fault.code(), scene.direction, skb.len());
    event::dropped(skb, scene, fault);
    ACT_SHOT
}
