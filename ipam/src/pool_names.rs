//! Which pools a pod gets its addresses of.

use std::sync::Arc;

/// One pool a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolNames {
    /// Of the IPv4 address.
    pub ipv4: Arc<str>,
    /// Of the IPv6 address.
    pub ipv6: Arc<str>,
}

// === impl PoolNames ===

impl PoolNames {
    /// The pool of whom nobody asked otherwise.
    pub const DEFAULT: &'static str = model::DEFAULT_POOL;

    /// The pool of a family.
    pub fn of(&self, ipv4: bool) -> &Arc<str> {
        if ipv4 { &self.ipv4 } else { &self.ipv6 }
    }
}

impl Default for PoolNames {
    fn default() -> Self {
        Self { ipv4: Self::DEFAULT.into(), ipv6: Self::DEFAULT.into() }
    }
}
