//! Simple tokens: sixteen random letters and an index of the log, forgotten when they were not used for a while.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::Rng;

use crate::core::auth::{Credential, Proof};

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// etcd's length: 91 bits.
const LENGTH: usize = 16;
/// Tokens at once. A password check is a tenth of a second of somebody's time, and a token is over after minutes: more
/// are not come by honestly.
const MAX_TOKENS: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Simple {
    /// How long one lives after it was used.
    ttl: Duration,
    tokens: Mutex<HashMap<String, Token>>,
}

#[derive(Debug)]
struct Token {
    user: Arc<str>,
    credential: u64,
    ends: Instant,
}

// === impl Simple ===

impl Simple {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, tokens: Mutex::default() }
    }

    pub(super) fn assign(&self, now: Instant, user: &str, credential: &Credential) -> String {
        // The thread's random source is a cipher that is seeded by the system.
        let mut random = rand::rng();
        let letters: String = (0..LENGTH).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect();
        let token = format!("{letters}.{}", credential.index);
        let mut tokens = self.tokens.lock();
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, token| token.ends > now);
        }
        if tokens.len() >= MAX_TOKENS
            && let Some(first) = tokens.iter().min_by_key(|(_, token)| token.ends).map(|(text, _)| text.clone())
        {
            tokens.remove(&first);
        }
        tokens.insert(
            token.clone(),
            Token { user: user.into(), credential: credential.credential, ends: now + self.ttl },
        );
        token
    }

    pub(super) fn find(&self, now: Instant, token: &str) -> Option<(Arc<str>, Proof)> {
        let mut tokens = self.tokens.lock();
        let known = tokens.get_mut(token)?;
        if known.ends <= now {
            tokens.remove(token);
            return None;
        }
        known.ends = now + self.ttl;
        Some((known.user.clone(), Proof::Token { credential: known.credential }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_as_long_as_it_is_used() {
        let (simple, start) = (Simple::new(Duration::from_secs(300)), Instant::now());
        let credential = Credential { credential: 4, index: 77, ..Credential::default() };
        let token = simple.assign(start, "alice", &credential);
        assert!(token.ends_with(".77") && token.len() == LENGTH + 3, "{token}");
        let at = |secs: u64| start + Duration::from_secs(secs);
        let alice: (Arc<str>, Proof) = ("alice".into(), Proof::Token { credential: 4 });
        assert_eq!(simple.find(at(299), &token), Some(alice.clone()));
        assert_eq!(simple.find(at(598), &token), Some(alice));
        assert_eq!(simple.find(at(898), &token), None, "300 s unused");
        assert_eq!(simple.find(at(598), "abcdefghijklmnop.1"), None);
    }

    #[test]
    fn no_two_tokens_are_equal_and_their_number_is_bounded() {
        let (simple, start) = (Simple::new(Duration::from_secs(300)), Instant::now());
        let first = simple.assign(start, "alice", &Credential::default());
        let second = simple.assign(start + Duration::from_secs(1), "alice", &Credential::default());
        assert_ne!(first, second);
        let later = start + Duration::from_secs(2);
        for _ in 0..MAX_TOKENS {
            simple.assign(later, "mallory", &Credential::default());
        }
        assert_eq!(simple.tokens.lock().len(), MAX_TOKENS);
        assert_eq!(simple.find(later, &first), None, "the one that would have ended first");
    }
}
