//! Values that are their bytes.
#![expect(unsafe_code, reason = "the one place where map values become bytes and back")]

use core::mem::{MaybeUninit, size_of};

/// A type without padding, pointers or invalid bit patterns.
///
/// # Safety
/// Every byte of a value is initialised, and every bit pattern of that size is a value.
pub unsafe trait Plain: Copy + Eq + 'static {
    /// The value as the kernel sees it.
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: the trait's contract: all bytes of a value are initialised.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// A value from exactly its bytes; `None` when the length differs.
    #[inline]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        let mut value = MaybeUninit::<Self>::uninit();
        // SAFETY: the lengths are equal, and the trait's contract makes any bytes a value.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast(), size_of::<Self>());
            Some(value.assume_init())
        }
    }
}

// SAFETY: integers and arrays of them have neither padding nor invalid bit patterns.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for [u32; 4] {}
