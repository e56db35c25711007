//! Who is at the other end: what the connection knows, and what the request says.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::{
    core::{Caller, Proof},
    tokens::Tokens,
};

/// What a connection knows of its client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// The common name of a client certificate that was verified, as `--client-cert-auth` has it.
    pub(crate) common_name: Option<Arc<str>>,
}

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
