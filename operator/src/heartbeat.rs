//! `cilium/.heartbeat`: remote readers reconnect when it stops for two minutes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kvstore::Leases;

const INTERVAL: Duration = Duration::from_secs(wire::heartbeat::INTERVAL_SECS);

/// After a failure: often enough that readers do not miss it.
const RETRY: Duration = Duration::from_secs(5);

/// Beats at once and then each minute, until the future is dropped.
pub(crate) async fn run(leases: Arc<Leases>) {
    loop {
        let beat = leases.put(wire::heartbeat::KEY.into(), wire::heartbeat::encode(Timestamp::now()).into()).await;
        let pause = match beat {
            Ok(_) => INTERVAL,
            Err(error) => {
                tracing::warn!(error = error.full(), "heartbeat is not written");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}
