//! Services, their backends and the way back.
#![expect(unsafe_code, reason = "Plain is an unsafe trait")]

use crate::{Addr4, Addr6, layout};

/// A frontend or one of its slots.
///
/// Rules: slot 0 is the frontend itself; slots `1..=count` name one backend each. Every frontend
/// address also has a row with port, proto and slot 0: "this is a ClusterIP", which saves the
/// port lookup for all other addresses and drops what no frontend claims.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey<A> {
    pub addr: A,
    pub port: u16,
    pub slot: u16,
    pub proto: u8,
    /// 0: external. 1 (internal) is reserved for two-scope services.
    pub scope: u8,
    pub pad: u16,
}

pub type Service4Key = ServiceKey<Addr4>;
pub type Service6Key = ServiceKey<Addr6>;
layout!(Service4Key, 12, 4);
layout!(Service6Key, 24, 4);

/// Slot 0: `count` and `rev_nat`. Other slots: `backend_id`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceEntry {
    pub backend_id: u32,
    pub count: u16,
    pub rev_nat: u16,
    /// Cilium's service flags.
    pub flags: u16,
    pub pad: u16,
}
layout!(ServiceEntry, 12, 4);

/// Cilium's backend states.
pub struct BackendState;

impl BackendState {
    pub const ACTIVE: u8 = 0;
    /// Serves the flows it has; no new ones.
    pub const TERMINATING: u8 = 1;
    pub const QUARANTINED: u8 = 2;
    pub const MAINTENANCE: u8 = 3;
}

/// Where a translated packet goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend<A> {
    pub addr: A,
    pub port: u16,
    pub proto: u8,
    /// [`BackendState`].
    pub state: u8,
}
layout!(Backend<Addr4>, 8, 4);
layout!(Backend<Addr6>, 20, 4);

/// What a reply's source is turned back into.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReverseNat<A> {
    pub addr: A,
    pub port: u16,
    pub pad: u16,
}
layout!(ReverseNat<Addr4>, 8, 4);
layout!(ReverseNat<Addr6>, 20, 4);
