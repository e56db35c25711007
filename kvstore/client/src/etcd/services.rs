//! etcd's services over one channel, logged in; made anew when that is what helps.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use etcd_client::{Channel, Client, ConnectOptions, KvClient, LeaseClient, MaintenanceClient, WatchClient};
use parking_lot::Mutex;

use super::{connector::Connector, convert};
use crate::{Cause, core::pages::MAX_MESSAGE};

/// Failures in a row after which another endpoint is tried, although the connection stands: a server without a leader, or
/// one that is stopped behind a proxy, answers no better next time.
const FAILURES: u32 = 3;

pub(super) struct Services {
    connector: Connector,
    user: Option<(String, String)>,
    /// `None` until somebody has logged in.
    parts: Mutex<Option<Arc<Parts>>>,
    /// One at a time logs in.
    turn: tokio::sync::Mutex<()>,
    failures: AtomicU32,
}

pub(super) struct Parts {
    pub(super) kv: KvClient,
    pub(super) watch: WatchClient,
    pub(super) lease: LeaseClient,
    pub(super) maintenance: MaintenanceClient,
}

// === impl Services ===

impl Services {
    pub(super) fn new(connector: Connector, user: Option<(String, String)>) -> Self {
        let (parts, turn) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Self { connector, user, parts, turn, failures: AtomicU32::new(0) }
    }

    /// Makes a request. Not repeated here: whether that is safe the caller knows.
    pub(super) async fn call<T>(
        &self,
        request: impl AsyncFnOnce(&Parts) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Cause> {
        let parts = self.parts().await?;
        let answer = request(&parts).await.map_err(convert::cause);
        self.learn(&parts, answer.as_ref().err());
        answer
    }

    async fn parts(&self) -> Result<Arc<Parts>, Cause> {
        if let Some(parts) = self.parts.lock().clone() {
            return Ok(parts);
        }
        let _turn = self.turn.lock().await;
        if let Some(parts) = self.parts.lock().clone() {
            return Ok(parts);
        }
        let client = log_in(&self.connector, self.user.clone()).await.map_err(convert::cause)?;
        let parts = Arc::new(Parts {
            kv: client.kv_client().max_decoding_message_size(MAX_MESSAGE),
            watch: client.watch_client().max_decoding_message_size(MAX_MESSAGE),
            lease: client.lease_client(),
            maintenance: client.maintenance_client(),
        });
        *self.parts.lock() = Some(Arc::clone(&parts));
        Ok(parts)
    }

    /// What an answer says about the connection that it came over.
    fn learn(&self, parts: &Arc<Parts>, error: Option<&Cause>) {
        let renew = match error {
            // The store began to ask who its clients are, or its users changed: the library logs in again by itself only
            // when a token ran out.
            Some(Cause::Refused(text)) => {
                self.user.is_some()
                    && ["user name is empty", "revision of auth store is old"].iter().any(|t| text.contains(t))
            }
            Some(Cause::Unavailable(_)) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                failures >= FAILURES && self.connector.endpoints().len() > 1
            }
            _ => {
                self.failures.store(0, Ordering::Relaxed);
                false
            }
        };
        let mut current = self.parts.lock();
        if renew && current.as_ref().is_some_and(|current| Arc::ptr_eq(current, parts)) {
            *current = None;
            self.failures.store(0, Ordering::Relaxed);
        }
    }
}

/// A client over a channel of its own. Only a user with a password makes it wait for a server.
pub(super) async fn log_in(
    connector: &Connector,
    user: Option<(String, String)>,
) -> Result<Client, etcd_client::Error> {
    let options = ConnectOptions::new().with_require_leader(true).with_auto_token_refresh(true);
    let channel = || Channel::Tonic(connector.channel());
    let Some((name, password)) = user else { return Client::from_channel(channel(), Some(options)).await };
    match Client::from_channel(channel(), Some(options.clone().with_user(name, password))).await {
        // Nobody is asked there.
        Err(etcd_client::Error::GRpcStatus(status)) if status.message().contains("authentication is not enabled") => {
            Client::from_channel(channel(), Some(options)).await
        }
        answer => answer,
    }
}
