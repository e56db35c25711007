//! The life of one remote cluster, without socket or clock.
//!
//! ```text
//!   waiting ──> connecting ──> configuring ──> running ──(heartbeat stale, store changed, file changed)──┐
//!      ^             │               │                                                                   │
//!      └─────────────┴───────────────┴───────────────────────────────────────────────────────────────────┘
//! ```

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use kvstore::{Backoff, HeartbeatWatchdog};
use model::{ClusterId, ClusterName};
use wire::cluster_config::ClusterConfig;
use wire::key::Resource;

use crate::{Ids, ServiceMode};

/// What can be imported of a remote cluster; of the last two one at most.
pub const RESOURCES: [Resource; 5] =
    [Resource::Nodes, Resource::Ip, Resource::Identities, Resource::Services, Resource::EndpointSlices];

/// Between two attempts to read the configuration; doubles up to the second.
const CONFIG_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Without a configuration for so long, the connection is given up.
const CONFIG_LIMIT: Duration = Duration::from_secs(180);

/// Between two connections.
const RECONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Decides what to do about one remote cluster.
#[derive(Debug)]
pub struct Core {
    name: ClusterName,
    mode: ServiceMode,
    phase: Phase,
    /// The configuration under which the imports run.
    started: Option<(ClusterId, bool)>,
    /// The form in which its backends are read; the inner `None`: in none.
    backends: Option<Option<Resource>>,
    config: Option<ClusterConfig>,
    open: BTreeSet<Resource>,
    watchdog: HeartbeatWatchdog,
    reconnect: Backoff,
    config_retry: Backoff,
    effects: VecDeque<Effect>,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Until then nothing is tried.
    Waiting {
        /// When to connect.
        until: Instant,
        /// Why it is not connected; empty at the start.
        why: String,
    },
    /// The connection is being set up.
    Connecting,
    /// The configuration is being read.
    Configuring {
        /// Since when.
        since: Instant,
        /// When to read it again; `None` while a request is out.
        next: Option<Instant>,
        /// What the last attempt gave.
        why: String,
    },
    /// Its prefixes are followed.
    Running,
}

/// What the driver does, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Set up a connection; answer with `handle_connected`.
    Connect,
    /// Read the configuration; answer with `handle_config`.
    ReadConfig,
    /// Start the imports for a cluster of this id, of its own store or of a mirror.
    Start {
        /// The id that its data must have.
        id: ClusterId,
        /// Whether the data is a mirror.
        cached: bool,
    },
    /// Read its backends in this form from now on; rows of another one go when this one's are there.
    Backends(Option<Resource>),
    /// Stop the imports and remove their rows.
    Drain,
    /// Follow the canaries; tell `handle_canary`.
    WatchCanaries,
    /// Let the import of this resource through.
    Open(Resource),
    /// Close the connection and all gates.
    Close,
    /// A connection failed or was lost, for this reason.
    Failed(String),
}

// === impl Core ===

impl Core {
    /// Connects at once.
    pub fn new(now: Instant, name: ClusterName, mode: ServiceMode) -> Self {
        Self {
            name,
            mode,
            phase: Phase::Waiting { until: now, why: String::new() },
            started: None,
            backends: None,
            config: None,
            open: BTreeSet::new(),
            watchdog: HeartbeatWatchdog::new(now),
            reconnect: Backoff::new(RECONNECT.0, RECONNECT.1),
            config_retry: Backoff::new(CONFIG_RETRY.0, CONFIG_RETRY.1),
            effects: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Connecting => None,
            Phase::Configuring { next, .. } => *next,
            Phase::Running => Some(self.watchdog.poll_timeout()),
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What the cluster last said of itself.
    pub fn config(&self) -> Option<&ClusterConfig> {
        self.config.as_ref()
    }

    /// The form in which its backends are read; `None` until its configuration is known.
    pub fn backends(&self) -> Option<Option<Resource>> {
        self.backends
    }

    fn reads(&self, resource: Resource) -> bool {
        match resource {
            Resource::Services | Resource::EndpointSlices => self.backends == Some(Some(resource)),
            other => RESOURCES.contains(&other),
        }
    }

    /// Whether the import of this resource is let through.
    pub fn is_open(&self, resource: Resource) -> bool {
        self.open.contains(&resource)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, jitter: f64) {
        match &mut self.phase {
            Phase::Waiting { until, .. } if *until <= now => {
                self.phase = Phase::Connecting;
                self.effects.push_back(Effect::Connect);
            }
            Phase::Configuring { next, .. } if next.is_some_and(|at| at <= now) => {
                *next = None;
                self.effects.push_back(Effect::ReadConfig);
            }
            Phase::Running if self.watchdog.is_stale(now) => {
                let age = self.watchdog.age(now).as_secs();
                self.lose(now, jitter, format!("no heartbeat for {age} s"));
            }
            _ => {}
        }
    }

    /// The connection is set up, or cannot be.
    pub fn handle_connected(&mut self, now: Instant, answer: Result<(), String>, jitter: f64) {
        match answer {
            Err(why) => self.lose(now, jitter, why),
            Ok(()) => {
                self.watchdog = HeartbeatWatchdog::new(now);
                self.config_retry.reset();
                self.phase = Phase::Configuring { since: now, next: None, why: String::new() };
                self.effects.push_back(Effect::ReadConfig);
            }
        }
    }

    /// The configuration, `None` where there is none.
    pub fn handle_config(
        &mut self,
        now: Instant,
        answer: Result<Option<ClusterConfig>, String>,
        ids: &mut Ids,
        jitter: f64,
    ) {
        let Phase::Configuring { since, .. } = self.phase else { return };
        let missing = |what: &str| format!("failed to retrieve cluster configuration: {what}");
        let config = match answer {
            Ok(Some(config)) => config,
            other => {
                let why = missing(&other.err().unwrap_or_else(|| "not found".to_owned()));
                if now.saturating_duration_since(since) >= CONFIG_LIMIT {
                    return self.lose(now, jitter, why);
                }
                let next = Some(now + self.config_retry.next(jitter));
                self.phase = Phase::Configuring { since, next, why };
                return;
            }
        };
        if let Err(refused) = ids.reserve(&self.name, &config) {
            return self.lose(now, jitter, format!("cluster configuration refused: {refused}"));
        }
        let wanted = (config.id, config.cached);
        if self.started != Some(wanted) {
            if self.started.is_some() {
                // Other numbers, or other keys: nothing of what we hold can be compared with what comes.
                self.effects.push_back(Effect::Drain);
                self.backends = None;
            }
            self.started = Some(wanted);
            self.effects.push_back(Effect::Start { id: wanted.0, cached: wanted.1 });
        }
        let form = self.mode.reads(config.endpoint_slices);
        if self.backends != Some(form) {
            self.backends = Some(form);
            self.effects.push_back(Effect::Backends(form));
        }
        self.phase = Phase::Running;
        self.reconnect.reset();
        self.open.clear();
        if config.synced_canaries {
            self.effects.push_back(Effect::WatchCanaries);
        } else {
            let read: Vec<Resource> = RESOURCES.into_iter().filter(|resource| self.reads(*resource)).collect();
            self.open.extend(read.iter().copied());
            self.effects.extend(read.into_iter().map(Effect::Open));
        }
        self.config = Some(config);
    }

    /// A canary was put.
    pub fn handle_canary(&mut self, resource: Resource) {
        if self.phase == Phase::Running && self.reads(resource) && self.open.insert(resource) {
            self.effects.push_back(Effect::Open(resource));
        }
    }

    /// A heartbeat was seen.
    pub fn handle_heartbeat(&mut self, now: Instant) {
        self.watchdog.handle_heartbeat(now);
    }

    /// The connection cannot be used any longer.
    pub fn handle_broken(&mut self, now: Instant, why: String, jitter: f64) {
        if matches!(self.phase, Phase::Running | Phase::Configuring { .. }) {
            self.lose(now, jitter, why);
        }
    }

    /// The file says something else: connect anew, at once.
    pub fn handle_file_changed(&mut self, now: Instant) {
        self.effects.push_back(Effect::Close);
        self.open.clear();
        self.reconnect.reset();
        self.phase = Phase::Waiting { until: now, why: "the configuration file has changed".to_owned() };
    }

    fn lose(&mut self, now: Instant, jitter: f64, why: String) {
        self.effects.push_back(Effect::Failed(why.clone()));
        self.effects.push_back(Effect::Close);
        self.open.clear();
        self.phase = Phase::Waiting { until: now + self.reconnect.next(jitter), why };
    }
}
