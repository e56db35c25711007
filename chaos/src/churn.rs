//! Changes that go on while something else is broken: labels and rules, ten a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use testbed::demo::Stage;
use testbed::{Manifests, PodSpec};

/// Between two changes.
const PACE: Duration = Duration::from_millis(100);
/// Pods that no probe uses, by cluster.
const PODS: [(&str, &str); 2] = [("east", "web-c"), ("west", "web-x")];

/// A thread that changes objects. [`Churn::stop`] ends it and leaves them as they were.
pub(crate) struct Churn {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

// === impl Churn ===

impl Churn {
    pub(crate) fn start(stage: &Stage) -> Result<Self> {
        let manifests = PODS.map(|(cluster, pod)| stage.bed.manifests(cluster).map(|manifests| (manifests, pod)));
        let manifests = manifests.into_iter().collect::<Result<Vec<_>>>()?;
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&changes));
        let thread = std::thread::spawn(move || churn(&manifests, &stopped, &count));
        Ok(Self { stop, changes, thread: Some(thread) })
    }

    /// How many changes there were.
    pub(crate) fn stop(mut self) -> Result<u64> {
        self.end()?;
        Ok(self.changes.load(Ordering::Relaxed))
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the thread of changes died"))?.context("change objects")
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        // A scenario that failed in the middle must not leave it to the next one.
        if let Err(error) = self.end() {
            eprintln!("changes could not be taken back: {error:#}");
        }
    }
}

fn churn(pods: &[(Manifests, &str)], stop: &AtomicBool, changes: &AtomicU64) -> Result<()> {
    let mut round = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for (manifests, pod) in pods {
            // Away from the service and back, under one of a few labels: identities come and go.
            let app = if round.is_multiple_of(2) { format!("churn-{}", round / 2 % 4) } else { "web".to_owned() };
            manifests.pod("demo", pod, &PodSpec::new("demo", pod, &app).labels)?;
            let spec = json!({
                "endpointSelector": {"matchLabels": {"app": "churn-0"}},
                "ingress": [{"fromEndpoints": [{"matchLabels": {"app": format!("peer-{}", round % 7)}}]}],
            });
            manifests.policy("demo", "churn", &spec)?;
            changes.fetch_add(2, Ordering::Relaxed);
        }
        round += 1;
        std::thread::sleep(PACE);
    }
    for (manifests, pod) in pods {
        manifests.pod("demo", pod, &PodSpec::new("demo", pod, "web").labels)?;
        manifests.remove_policy("demo", "churn")?;
    }
    Ok(())
}
