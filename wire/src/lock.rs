//! Lock paths that belong to no other noun. A held lock is `<path>/<lease id in hex>`, with no value.

/// Taken and released to prove that the own store has a quorum. `random` keeps clients apart.
pub fn quorum_check_path(random: u64) -> String {
    format!("cilium/.initlock/{random:x}")
}

/// Held by the one kvstoremesh that writes into its store.
pub const KVSTOREMESH_PATH: &str = "cilium/kvstoremesh-lock";

/// The lease id of a lock key: its last segment.
pub fn lease_of(key: &str) -> Option<i64> {
    let (_, hex) = key.rsplit_once('/')?;
    let canonical =
        !hex.is_empty() && !hex.starts_with('0') && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    canonical.then(|| i64::from_str_radix(hex, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_lease() {
        assert_eq!(quorum_check_path(0xab), "cilium/.initlock/ab");
        assert_eq!(lease_of("cilium/kvstoremesh-lock/57aaa1fd49603c05"), Some(0x57aa_a1fd_4960_3c05));
        for bad in ["x", "x/", "x/+1", "x/0a", "x/FF", "x/fffffffffffffffff"] {
            assert_eq!(lease_of(bad), None, "{bad}");
        }
    }
}
