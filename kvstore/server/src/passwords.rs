//! Passwords: hashed and compared outside the core, off the threads that serve, and only so many at a time.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::core::Failure;

/// etcd's bounds, and what it falls back to.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
pub(crate) const DEFAULT_COST: u32 = 10;
/// bcrypt looks at no more, so that two passwords would be one.
const MAX_BYTES: usize = 72;
/// Hashes at a time: whoever guesses passwords must not take every processor.
const AT_ONCE: usize = 2;

#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    cost: u32,
    room: Arc<Semaphore>,
}

// === impl Passwords ===

impl Passwords {
    pub(crate) fn new(cost: u32) -> Self {
        let known = COSTS.contains(&cost);
        if !known {
            tracing::warn!(cost, default = DEFAULT_COST, "a bcrypt cost is from 4 to 31: the default is used");
        }
        Self { cost: if known { cost } else { DEFAULT_COST }, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// A password as the log keeps it: bcrypt's hash in base64.
    ///
    /// # Errors
    /// When it is longer than what would be compared.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Failure> {
        if password.len() > MAX_BYTES {
            return Err(Failure::PasswordTooLong);
        }
        let cost = self.cost;
        let hashed = self.apart(move || bcrypt::hash(password, cost)).await?;
        // The cost is in bounds, and the system has random numbers: nothing else can fail.
        hashed.map(|hash| BASE64_STANDARD.encode(hash)).map_err(|_| Failure::Stopped)
    }

    /// Whether it is the password of this hash. `refused` runs with it, also when nobody waits for the answer any more.
    pub(crate) async fn is(
        &self,
        password: String,
        hash: Bytes,
        refused: impl FnOnce() + Send + 'static,
    ) -> Result<bool, Failure> {
        let compare = move || {
            let right = std::str::from_utf8(&hash).is_ok_and(|hash| bcrypt::verify(password, hash).unwrap_or_default());
            if !right {
                refused();
            }
            right
        };
        self.apart(compare).await
    }

    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let Ok(_place) = self.room.clone().acquire_owned().await else { return Err(Failure::Stopped) };
        match Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(work).await.map_err(|_| Failure::Stopped),
            // A test that drives calls by hand.
            Err(_) => Ok(work()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_by_its_hash() {
        let passwords = Passwords::new(4);
        let hash = passwords.hash("geheim".to_owned()).await.unwrap();
        let hash = Bytes::from(BASE64_STANDARD.decode(hash).unwrap());
        assert_eq!(passwords.is("geheim".to_owned(), hash.clone(), || panic!("it is right")).await, Ok(true));
        let (told, heard) = std::sync::mpsc::channel();
        assert_eq!(passwords.is("Geheim".to_owned(), hash, move || told.send(()).unwrap()).await, Ok(false));
        assert_eq!(heard.try_recv(), Ok(()));
        assert_eq!(passwords.is(String::new(), Bytes::new(), || ()).await, Ok(false), "no hash is nobody's");
        assert_eq!(passwords.hash("x".repeat(73)).await, Err(Failure::PasswordTooLong));
    }

    /// Users that a migrated store brings along have hashes of the older prefix, which Go writes.
    #[tokio::test]
    async fn a_hash_with_the_older_prefix_is_understood() {
        let hash = Bytes::from_static(b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
        assert_eq!(Passwords::new(4).is("U*U".to_owned(), hash.clone(), || ()).await, Ok(true));
        assert_eq!(Passwords::new(4).is("U*V".to_owned(), hash, || ()).await, Ok(false));
    }
}
