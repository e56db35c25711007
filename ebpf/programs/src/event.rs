//! Records for monitors. Nothing is written, and nothing but one array cell is read, while nobody listens.

use crate::{
    fault::Fault,
    maps::{CONFIG, EVENTS},
    metrics,
    skb::{Skb, opaque},
};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_RB_NO_WAKEUP},
    helpers::generated::{
        bpf_get_hash_recalc, bpf_ktime_get_ns, bpf_ringbuf_reserve, bpf_ringbuf_submit, bpf_skb_load_bytes,
    },
};
use core::ffi::c_void;
use ebpf_abi::{
    CAPTURE_BYTES, ConfigCell, Direction, EVENT_LOST, Event, EventFlags, EventKind, FlowState, MonitorLevel,
};

/// Where a walk stands: what every event of it says.
pub struct Scene {
    pub src_identity: u32,
    pub dst_identity: u32,
    pub endpoint: u16,
    pub to_endpoint: u16,
    pub direction: u8,
    /// A [`FlowState`].
    pub state: u8,
    pub v6: bool,
    /// 0: nobody listens; else the aggregation level plus one.
    monitor: u8,
}

impl Scene {
    #[inline(always)]
    pub fn new(direction: u8, v6: bool) -> Self {
        let monitor = CONFIG.get(ConfigCell::Monitor as u32).map_or(0, |cell| *cell as u8);
        Self {
            src_identity: 0,
            dst_identity: 0,
            endpoint: 0,
            to_endpoint: 0,
            direction,
            state: FlowState::UNKNOWN,
            v6,
            monitor,
        }
    }
}

/// What distinguishes one event of a scene from the others.
struct Detail {
    kind: u8,
    code: u8,
    matched: u8,
    flags: u8,
    verdict: i32,
    dport: u16,
    line: u16,
    file: u8,
}

/// A packet enters the node's programs; left out from level low on.
#[inline(always)]
pub fn entered(skb: Skb, scene: &Scene, point: u8) {
    if scene.monitor == MonitorLevel::None as u8 + 1 {
        trace(skb, scene, point);
    }
}

/// A packet is handed on. From level medium on only when conntrack reports it.
#[inline(always)]
pub fn handed_on(skb: Skb, scene: &Scene, point: u8, report: bool) {
    if scene.monitor != 0 && (report || scene.monitor <= MonitorLevel::Low as u8 + 1) {
        trace(skb, scene, point);
    }
}

#[inline(always)]
fn trace(skb: Skb, scene: &Scene, point: u8) {
    emit(
        skb.0,
        scene,
        &Detail { kind: EventKind::TRACE, code: point, matched: 0, flags: 0, verdict: 0, dport: 0, line: 0, file: 0 },
    );
}

#[inline(always)]
pub fn dropped(skb: Skb, scene: &Scene, fault: Fault) {
    if scene.monitor != 0 {
        emit(
            skb.0,
            scene,
            &Detail {
                kind: EventKind::DROP,
                code: fault.code(),
                matched: 0,
                flags: 0,
                verdict: 0,
                dport: 0,
                line: fault.line(),
                file: fault.file(),
            },
        );
    }
}

/// Policy decided.
#[inline(always)]
pub fn verdict(skb: Skb, scene: &Scene, fault: Option<Fault>, matched: u8, audited: bool, proto: u8, dport: u16) {
    if scene.monitor != 0 {
        let flags = if audited { EventFlags::AUDITED } else { 0 };
        let verdict = match fault {
            Some(fault) => -i32::from(fault.code()),
            None => 0,
        };
        emit(
            skb.0,
            scene,
            &Detail { kind: EventKind::VERDICT, code: proto, matched, flags, verdict, dport, line: 0, file: 0 },
        );
    }
}

/// Out of line: the walks stay small, and this costs nothing until it is called.
#[inline(never)]
fn emit(skb: *mut __sk_buff, scene: &Scene, detail: &Detail) -> i32 {
    // SAFETY: the ring is one of maps, the size a constant; a null result is checked.
    let event =
        unsafe { bpf_ringbuf_reserve((&raw const EVENTS) as *mut c_void, size_of::<Event>() as u64, 0) } as *mut Event;
    if event.is_null() {
        metrics::count(EVENT_LOST, scene.direction, Skb(skb).len());
        return 0;
    }
    let skb = Skb(skb);
    let len = skb.len();
    let captured = opaque(u64::from(len.min(CAPTURE_BYTES as u32)));
    // SAFETY: the reservation is as long as an Event and ours until it is submitted.
    unsafe {
        (*event).time = bpf_ktime_get_ns();
        (*event).kind = detail.kind;
        (*event).code = detail.code;
        (*event).endpoint = scene.endpoint;
        (*event).hash = bpf_get_hash_recalc(skb.0);
        (*event).len = len;
        (*event).to_endpoint = scene.to_endpoint;
        (*event).src_identity = scene.src_identity;
        (*event).dst_identity = scene.dst_identity;
        (*event).ifindex = skb.ifindex();
        (*event).verdict = detail.verdict;
        (*event).state = scene.state;
        (*event).flags = detail.flags
            | if scene.v6 { EventFlags::IPV6 } else { 0 }
            | if scene.direction == Direction::EGRESS { EventFlags::EGRESS } else { 0 };
        (*event).matched = detail.matched;
        (*event).file = detail.file;
        (*event).line = detail.line;
        (*event).dport = detail.dport;
        (*event).captured = 0;
        if captured > 0
            && captured <= CAPTURE_BYTES as u64
            && bpf_skb_load_bytes(skb.0 as *const c_void, 0, (&raw mut (*event).data) as *mut c_void, captured as u32)
                == 0
        {
            (*event).captured = captured as u16;
        }
        // A wake-up costs thirty packets; the reader polls while somebody listens.
        bpf_ringbuf_submit(event as *mut c_void, u64::from(BPF_RB_NO_WAKEUP));
    }
    0
}
