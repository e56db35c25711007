//! The owner of a process's tasks.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Owns tasks: notices when one dies, and stops them all.
///
/// A task that returns on its own before `stop` has died, whether by panic or by returning: nothing here is meant to
/// end. [`Tasks::died`] reports it, and the process ends: a silently dead watcher is the worst failure there is.
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    stop: CancellationToken,
    deaths: mpsc::UnboundedSender<&'static str>,
    died: tokio::sync::Mutex<mpsc::UnboundedReceiver<&'static str>>,
    running: Mutex<Running>,
}

/// Tasks that run, and some that ended since they were last looked at.
#[derive(Default)]
struct Running {
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    /// Those that ended are let go of when there are so many: looking at all of them for each new one would cost a
    /// server of many connections more than the connections.
    look_at: usize,
}

/// How stopping went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Every task ended in time.
    Drained,
    /// These had to be aborted.
    Aborted(Vec<&'static str>),
}

// === impl Tasks ===

impl Default for Tasks {
    fn default() -> Self {
        // Unbounded, but holds at most one message a task.
        let (deaths, died) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        Self(Arc::new(Inner { stop, deaths, died: tokio::sync::Mutex::new(died), running: Mutex::default() }))
    }
}

impl Tasks {
    /// Runs a task until it ends or [`stop`](Self::stop) is called; dropping its future is how it is stopped.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.0.stop.clone();
        self.spawn_draining(name, async move {
            tokio::select! {
                () = task => {}
                () = token.cancelled() => {}
            }
        });
    }

    /// Runs a task that watches [`stopping`](Self::stopping) itself and then drains what it still holds.
    pub fn spawn_draining(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let report = Report { name, deaths: self.0.deaths.clone(), stop: self.0.stop.clone() };
        #[expect(clippy::disallowed_methods, reason = "this is the owner that the ban points to")]
        let handle = tokio::spawn(async move {
            let _report = report;
            task.await;
        });
        self.0.running.lock().add(name, handle);
    }

    /// Runs a task that is meant to end; only its panic is a death.
    pub fn spawn_finite(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.0.stop.clone();
        let report = Report { name, deaths: self.0.deaths.clone(), stop: self.0.stop.clone() };
        #[expect(clippy::disallowed_methods, reason = "this is the owner that the ban points to")]
        let handle = tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                () = token.cancelled() => {}
            }
            std::mem::forget(report);
        });
        self.0.running.lock().add(name, handle);
    }

    /// The names of the tasks that run.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.running.lock().tasks.iter().filter(|(_, handle)| !handle.is_finished()).map(|(name, _)| *name).collect()
    }

    /// Is cancelled when the process stops.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Waits until a task dies; its name.
    pub async fn died(&self) -> &'static str {
        match self.0.died.lock().await.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }

    /// Stops every task; what has not ended after `grace` is aborted.
    pub async fn stop(&self, grace: Duration) -> Stopped {
        self.0.stop.cancel();
        let running = std::mem::take(&mut self.0.running.lock().tasks);
        let deadline = tokio::time::Instant::now() + grace;
        let mut aborted = Vec::new();
        for (name, mut handle) in running {
            if tokio::time::timeout_at(deadline, &mut handle).await.is_err() {
                handle.abort();
                aborted.push(name);
            }
        }
        if aborted.is_empty() { Stopped::Drained } else { Stopped::Aborted(aborted) }
    }
}

// === impl Running ===

impl Running {
    fn add(&mut self, name: &'static str, handle: JoinHandle<()>) {
        if self.tasks.len() >= self.look_at {
            self.tasks.retain(|(_, handle)| !handle.is_finished());
            self.look_at = 2 * self.tasks.len() + 16;
        }
        self.tasks.push((name, handle));
    }
}

/// Reports a task's end when it is dropped: that also happens when the task panics.
struct Report {
    name: &'static str,
    deaths: mpsc::UnboundedSender<&'static str>,
    stop: CancellationToken,
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            // The receiver lives as long as the owner; without it nobody is left to tell.
            self.deaths.send(self.name).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_and_a_return_are_deaths_and_a_finite_end_is_none() {
        let tasks = Tasks::default();
        tasks.spawn_finite("finite", async {});
        tasks.spawn("panics", async { panic!("expected in this test") });
        assert_eq!(tasks.died().await, "panics");
        tasks.spawn("returns", async {});
        assert_eq!(tasks.died().await, "returns");
    }

    #[tokio::test(start_paused = true)]
    async fn stop_drains_in_time_and_aborts_the_rest() {
        let tasks = Tasks::default();
        tasks.spawn("waits", std::future::pending());
        assert_eq!(tasks.stop(Duration::from_secs(1)).await, Stopped::Drained);
        let tasks = Tasks::default();
        tasks.spawn_draining("hangs", std::future::pending());
        assert_eq!(tasks.stop(Duration::from_secs(1)).await, Stopped::Aborted(vec!["hangs"]));
    }
}
