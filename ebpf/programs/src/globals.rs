//! Values fixed for the life of a loaded program. The verifier sees constants and removes dead branches.

use aya_ebpf::Global;

macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident: $ty:ty = $default:expr;)*) => {
        $($(#[$doc])* #[unsafe(no_mangle)] pub static $name: Global<$ty> = Global::new($default);)*
    };
}
globals! {
    /// Interface of causeway_vxlan.
    VXLAN_IFINDEX: u32 = 0;
    /// UDP port of the overlay; pods may not send to it.
    TUNNEL_PORT: u16 = 8472;
    /// Addresses of causeway_host.
    ROUTER4: u32 = 0;
    ROUTER6: [u32; 4] = [0; 4];
    /// The node's pod CIDR of each family; a mask of zero: not known. Addresses inside are no
    /// ClusterIPs, addresses outside no local pods (should one be, the stack still leads to it):
    /// that saves every packet a lookup.
    POD_NET4: u32 = 0;
    POD_MASK4: u32 = 0;
    POD_NET6: [u32; 4] = [0; 4];
    POD_MASK6: [u32; 4] = [0; 4];
    /// Sources that a pod sees when a service leads it back to itself.
    LOOPBACK4: u32 = 0;
    LOOPBACK6: [u32; 4] = [0; 4];
    /// 1: strangers are world-ipv4 or world-ipv6; 0: world.
    DUAL_STACK: u8 = 1;
    /// Jiffies to conntrack ticks, and the lives of its entries in ticks; 0 would end flows at once.
    CT_TICK_SHIFT: u32 = 8;
    CT_TCP: u32 = 8000;
    CT_SYN: u32 = 60;
    CT_CLOSE: u32 = 10;
    CT_ANY: u32 = 60;
    /// How often a quiet flow is reported to monitors.
    CT_REPORT: u32 = 5;
    /// 1: policy verdicts are reported, not enforced.
    AUDIT: u8 = 0;
}
