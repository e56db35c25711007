//! What the ring buffer carries: one record type for drops, traces and verdicts.
#![expect(unsafe_code, reason = "Plain is an unsafe trait")]

use crate::layout;

/// Bytes of the packet, from its Ethernet header, that an event carries at most.
pub const CAPTURE_BYTES: usize = 128;

/// Cilium's message types.
pub struct EventKind;

impl EventKind {
    pub const DROP: u8 = 1;
    pub const TRACE: u8 = 4;
    pub const VERDICT: u8 = 5;
}

/// Cilium's trace points.
pub struct TracePoint;

impl TracePoint {
    pub const TO_LXC: u8 = 0;
    pub const TO_HOST: u8 = 2;
    pub const TO_STACK: u8 = 3;
    pub const TO_OVERLAY: u8 = 4;
    pub const FROM_LXC: u8 = 5;
    pub const FROM_HOST: u8 = 7;
    pub const FROM_STACK: u8 = 8;
    pub const FROM_OVERLAY: u8 = 9;
}

/// Cilium's trace reasons.
pub struct FlowState;

impl FlowState {
    pub const NEW: u8 = 0;
    pub const ESTABLISHED: u8 = 1;
    pub const REPLY: u8 = 2;
    pub const RELATED: u8 = 3;
    pub const UNKNOWN: u8 = 5;
}

/// Which kind of policy row decided.
pub struct MatchKind;

impl MatchKind {
    pub const NONE: u8 = 0;
    pub const L3_ONLY: u8 = 1;
    pub const L3_L4: u8 = 2;
    pub const L4_ONLY: u8 = 3;
    pub const ALL: u8 = 4;
    pub const L3_PROTO: u8 = 5;
    pub const PROTO_ONLY: u8 = 6;
}

/// Bits of an event.
pub struct EventFlags;

impl EventFlags {
    pub const IPV6: u8 = 1;
    pub const EGRESS: u8 = 1 << 1;
    /// The verdict was negative and audit mode let the packet pass.
    pub const AUDITED: u8 = 1 << 2;
}

/// Source files of the programs, for drop events.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFile {
    Other = 0,
    LxcIn = 1,
    LxcOut = 2,
    OverlayIn = 3,
    FromHost = 4,
    Parse = 5,
    Ct = 6,
    Policy = 7,
    Lb = 8,
    Encap = 9,
    Deliver = 10,
}

impl SourceFile {
    /// The name a reader can open.
    #[must_use]
    pub const fn name(code: u8) -> &'static str {
        match code {
            1 => "lxc_in.rs",
            2 => "lxc_out.rs",
            3 => "overlay_in.rs",
            4 => "from_host.rs",
            5 => "parse.rs",
            6 => "ct.rs",
            7 => "policy.rs",
            8 => "lb.rs",
            9 => "encap.rs",
            10 => "deliver.rs",
            _ => "?",
        }
    }
}

/// One record of the ring.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Monotonic nanoseconds.
    pub time: u64,
    /// [`EventKind`].
    pub kind: u8,
    /// Drop: reason code. Trace: [`TracePoint`]. Verdict: IP protocol.
    pub code: u8,
    /// Local endpoint at which it happened; 0 for none.
    pub endpoint: u16,
    /// Hash of the flow.
    pub hash: u32,
    /// Length of the packet.
    pub len: u32,
    /// How much of it `data` holds.
    pub captured: u16,
    /// Endpoint it goes to, where that is local.
    pub to_endpoint: u16,
    pub src_identity: u32,
    pub dst_identity: u32,
    pub ifindex: u32,
    /// Verdict: negative drop code, 0 allow. Else 0.
    pub verdict: i32,
    /// [`FlowState`].
    pub state: u8,
    /// [`EventFlags`].
    pub flags: u8,
    /// [`MatchKind`].
    pub matched: u8,
    /// [`SourceFile`] of a drop.
    pub file: u8,
    /// Line of a drop.
    pub line: u16,
    /// Destination port of a verdict, network order.
    pub dport: u16,
    pub data: [u8; CAPTURE_BYTES],
}
layout!(Event, 176, 8);
