//! `cilium/.heartbeat` of a store: when it came is what counts, what it says is only looked at.

use std::sync::Arc;

use kvstore::{Event, follow};
use tables::Rejected;

use crate::Import;

const RESOURCE: &str = "heartbeat";

// === impl Import ===

impl Import {
    /// Follows the heartbeat until the future is dropped. One that says nonsense is a heartbeat all the same, counted and
    /// shown: whoever writes it may write other nonsense.
    pub async fn heartbeat(self) {
        let (mut follower, driver) = follow(self.store.clone(), wire::heartbeat::KEY);
        let watch = async {
            while let Some(events) = follower.next().await {
                for event in &events {
                    self.beat(event);
                }
            }
        };
        tokio::select! {
            () = driver => {}
            () = watch => {}
        }
    }

    fn beat(&self, event: &Event) {
        let rejected = |key: &[u8]| (self.cluster.clone(), Arc::<str>::from(String::from_utf8_lossy(key)));
        match event {
            Event::Created(kv) | Event::Modified(kv) => {
                self.health.handle_heartbeat(runtime::now());
                let (cluster, key) = rejected(&kv.key);
                match wire::heartbeat::decode(&key, &kv.value) {
                    Ok(_) => drop(self.rejected.delete(&(cluster, key))),
                    Err(error) => {
                        let error = format!("{error}: its arrival counts all the same").into();
                        self.reject(RESOURCE, Rejected { cluster, key, error });
                    }
                }
            }
            Event::Deleted { key, .. } => drop(self.rejected.delete(&rejected(key))),
            Event::ListDone | Event::StoreUnknown | Event::Relisted { .. } => {}
        }
    }
}
