//! `cilium/.heartbeat`: remote readers reconnect when it stops for two minutes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kvstore::{Backend, Event, Follower, Leases, follow};

const INTERVAL: Duration = Duration::from_secs(wire::heartbeat::INTERVAL_SECS);

/// After a failure: often enough that readers do not miss it.
const RETRY: Duration = Duration::from_secs(5);

/// Whoever deletes it again and again gets it as often, and no more.
const AGAIN: Duration = Duration::from_secs(1);

/// Beats at once, each minute, and when the key is gone: until the future is dropped.
pub(crate) async fn run(store: Arc<dyn Backend>, leases: Arc<Leases>) {
    let (mut events, watch) = follow(store, wire::heartbeat::KEY);
    let beats = async {
        loop {
            let pause = beat(&leases).await;
            tokio::select! {
                () = runtime::sleep(pause) => {}
                () = gone(&mut events) => runtime::sleep(AGAIN).await,
            }
        }
    };
    tokio::select! {
        () = watch => {}
        () = beats => {}
    }
}

/// How long until the next one.
async fn beat(leases: &Leases) -> Duration {
    // A time that jiff does not know is one of a clock that nobody believes.
    let now = Timestamp::try_from(runtime::wall()).unwrap_or(Timestamp::MAX);
    match leases.put(wire::heartbeat::KEY.into(), wire::heartbeat::encode(now).into()).await {
        Ok(_) => INTERVAL,
        Err(error) => {
            tracing::warn!(error = error.full(), "heartbeat is not written");
            RETRY
        }
    }
}

/// Returns when somebody deleted it, its lease has ended, or the store may have forgotten it.
async fn gone(events: &mut Follower) {
    loop {
        match events.next().await {
            Some(batch) if batch.iter().any(|event| matches!(event, Event::Deleted { .. } | Event::StoreUnknown)) => {
                return;
            }
            Some(_) => {}
            // The driver ends only with us.
            None => std::future::pending().await,
        }
    }
}
