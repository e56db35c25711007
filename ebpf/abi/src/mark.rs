//! The packet mark: identity across the host's stack.

use crate::is_local;

/// Cilium's layout: `identity[15:0] << 16 | magic << 8 | identity[23:16]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u32);

impl Mark {
    const MAGIC_MASK: u32 = 0x0f00;
    const IDENTITY: u32 = 0x0f00;

    /// A mark that carries an identity; none for an identity of this node alone, which 24 bits cannot tell from another.
    /// Whoever looks then resolves the address anew, and comes to the same.
    #[inline(always)]
    #[must_use]
    pub const fn identity(identity: u32) -> Self {
        if is_local(identity) {
            return Self(0);
        }
        Self((identity << 16) | Self::IDENTITY | ((identity >> 16) & 0xff))
    }

    /// The identity it carries, if it does.
    #[inline(always)]
    #[must_use]
    pub const fn to_identity(self) -> Option<u32> {
        if self.0 & Self::MAGIC_MASK == Self::IDENTITY { Some((self.0 >> 16) | ((self.0 & 0xff) << 16)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn mark_carries_all_24_bits() {
        for identity in [0, 1, 2, 255, 65_535, 131_071, 0x00ff_ffff] {
            assert_eq!(Mark::identity(identity).to_identity(), Some(identity));
        }
        assert_eq!(Mark(0).to_identity(), None);
        assert_eq!(Mark::identity(1 << 24 | 1).to_identity(), None, "not the host's");
        assert_eq!(Mark(0x0c00).to_identity(), None);
    }
}
