//! Tokens: what a user shows instead of a password. They are outside the core, for they end by the clock; whether the
//! user is still who the token was given to, the core knows.

mod jwt;
mod keys;
mod options;
mod simple;

use std::time::Instant;

use crate::core::{
    Failure,
    auth::{Caller, Credential, Proof},
};
use jwt::Jwt;
use simple::Simple;

pub use options::TokenError;
pub(crate) use options::parse;

/// How tokens are made and known again.
#[derive(Debug)]
pub(crate) enum Tokens {
    /// Random, and remembered here.
    Simple(Simple),
    /// Signed: whoever has the key knows them.
    Jwt(Box<Jwt>),
}

/// Of etcd's default.
pub(crate) fn simple() -> Tokens {
    Tokens::Simple(Simple::new(options::SIMPLE_TTL))
}

// === impl Tokens ===

impl Tokens {
    /// A token for a user whose password was right.
    ///
    /// # Errors
    /// When there is no key to sign with.
    pub(crate) fn assign(&self, now: Instant, user: &str, credential: &Credential) -> Result<String, Failure> {
        match self {
            Self::Simple(simple) => Ok(simple.assign(now, user, credential)),
            Self::Jwt(jwt) => jwt.assign(user, credential.auth_revision),
        }
    }

    /// Whom a token names. A simple one lives on by that.
    pub(crate) fn caller(&self, now: Instant, token: &str) -> Caller {
        let known = match self {
            Self::Simple(simple) => simple.find(now, token),
            Self::Jwt(jwt) => jwt.find(token).map(|(user, revision)| (user, Proof::Signed { revision })),
        };
        known.map_or(Caller::BadToken, |(name, proof)| Caller::User { name, proof })
    }
}
