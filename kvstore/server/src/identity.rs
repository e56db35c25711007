//! Who a new member is.
//!
//! Source of the derivation: etcd server/etcdserver/api/membership/{member,cluster}.go. A member's id is the first eight
//! bytes of the SHA-1 of its sorted peer URLs and the token; a cluster's is that of its members' ids.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::disk::Identity;

/// Derived from a token as etcd does; random without one, so that two stores that know nothing of each other differ.
pub(crate) fn identity(token: Option<&str>, peer_urls: &[String]) -> Identity {
    match token {
        Some(token) => {
            let mut urls = peer_urls.to_vec();
            urls.sort();
            let member_id = first_word(format!("{}{token}", urls.concat()).as_bytes());
            Identity { cluster_id: first_word(&member_id.to_be_bytes()), member_id }
        }
        // 0 means nobody in raft and in etcd.
        None => Identity { cluster_id: rand::random::<u64>().max(1), member_id: rand::random::<u64>().max(1) },
    }
}

fn first_word(bytes: &[u8]) -> u64 {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    u64::from_be_bytes(std::array::from_fn(|i| digest.as_ref()[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// etcd 3.6 with these flags logs local-member-id 8e9e05c52164694d and cluster-id cdf818194e3a8c32.
    #[test]
    fn a_token_makes_the_ids_that_etcd_makes() {
        let identity = identity(Some("etcd-cluster"), &["http://localhost:2380".to_owned()]);
        assert_eq!(format!("{:x}", identity.member_id), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", identity.cluster_id), "cdf818194e3a8c32");
    }

    #[test]
    fn without_a_token_no_two_are_equal() {
        assert_ne!(identity(None, &[]), identity(None, &[]));
    }
}
