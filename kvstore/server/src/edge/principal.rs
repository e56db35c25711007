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
