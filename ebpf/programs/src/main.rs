//! The eBPF programs. One set serves all endpoints; IPv4 and IPv6 walk the same code.
//!
//! ```text
//!   pod ──> lxc_in ──┬─ local pod: its ingress policy, redirect_peer
//!                    ├─ other node: VXLAN, identity as VNI ──> overlay_in ──> pod
//!                    └─ node, world: host stack (mark carries the identity)
//!   host stack ──> causeway_host ──> from_host ──┬─ local pod ──> lxc_out ──> pod
//!                                                └─ other node: VXLAN
//! ```
//! User space writes every map but conntrack and metrics; a restart of it changes nothing here.
//! Deliberately absent: NodePort, masquerading, proxies and host policy.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod ct;
mod deliver;
mod encap;
mod event;
mod family;
mod fault;
mod from_host;
mod globals;
mod ipcache;
mod lb;
mod lxc_in;
mod lxc_out;
mod maps;
mod metrics;
mod nat;
mod overlay_in;
mod packet;
mod parse;
mod policy;
mod skb;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No program may reach this: the verifier refuses a loop without an end.
    loop {}
}

// "Dual MIT/GPL" is one of the strings that the kernel takes for GPL-compatible; ours is
// Apache-2.0 and GPL-2.0, for which it has none, hence plain "GPL".
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";
