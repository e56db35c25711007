//! Who is at the other end: what the connection knows, and what the request says.

use std::time::Instant;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::Peer;
use crate::{
    core::{Caller, Proof},
    tokens::Tokens,
};

/// The token of a request: etcd's clients send it as `token`, its gateway as `authorization`.
pub(super) fn token(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get("token").or_else(|| headers.get(AUTHORIZATION))
}

// === impl Peer ===

impl Peer {
    /// A token goes before a certificate.
    pub(super) fn caller(&self, tokens: &Tokens, token: Option<&HeaderValue>) -> Caller {
        match token {
            Some(shown) => match shown.to_str() {
                Ok(text) => tokens.caller(Instant::now(), text.strip_prefix("Bearer ").unwrap_or(text)),
                Err(_) => Caller::BadToken,
            },
            None => match &self.common_name {
                Some(name) => Caller::User { name: name.clone(), proof: Proof::Certificate },
                None => Caller::Nobody,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{core::auth::Credential, tokens};

    #[test]
    fn a_token_goes_before_a_certificate_and_a_bad_one_is_not_overlooked() {
        let tokens = tokens::simple();
        let given = tokens.assign(Instant::now(), "alice", &Credential { credential: 3, ..Credential::default() });
        let given = given.expect("simple tokens need no key");
        let plain = Peer::default();
        let certified = Peer { common_name: Some("remote".into()), ..Peer::default() };
        let asked = |peer: &Peer, pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
            }
            peer.caller(&tokens, token(&headers))
        };
        let alice = Caller::User { name: "alice".into(), proof: Proof::Token { credential: 3 } };
        let remote = Caller::User { name: "remote".into(), proof: Proof::Certificate };
        assert_eq!(asked(&plain, &[]), Caller::Nobody);
        assert_eq!(asked(&certified, &[]), remote);
        assert_eq!(asked(&certified, &[("token", &given)]), alice);
        assert_eq!(asked(&plain, &[("authorization", &format!("Bearer {given}"))]), alice);
        assert_eq!(asked(&plain, &[("authorization", "x"), ("token", &given)]), alice);
        assert_eq!(asked(&certified, &[("token", "abcdefghijklmnop.9")]), Caller::BadToken);
        assert_eq!(asked(&certified, &[("token", "\u{e9}")]), Caller::BadToken);
        assert_eq!(asked(&certified, &[("token", "")]), Caller::BadToken);
    }
}
