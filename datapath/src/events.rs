//! From the ring buffer to values, only while somebody listens.

mod decode;

use crate::{Error, pins, sys};
use aya::maps::{Map, MapData, RingBuf};
use ebpf_abi::{ConfigCell, Event, Plain, maps};
use model::DatapathEvent;
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, broadcast};

pub use decode::decode;
pub use ebpf_abi::MonitorLevel;

/// Between two looks at the ring: a wake-up for each event would cost thirty packets.
const POLL: Duration = Duration::from_millis(3);
/// Between two looks for whether anybody still listens.
const IDLE: Duration = Duration::from_secs(1);
/// Events a slow listener may lag behind before it loses the oldest: a second of a busy node.
const BACKLOG: usize = 65_536;
/// Events read before listeners get a turn.
const BURST: usize = 4096;

/// The file of a program's source, by the number in a drop.
#[must_use]
pub fn source_file(number: u8) -> &'static str {
    ebpf_abi::SourceFile::name(number)
}

/// Hands events to any number of listeners.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    sender: broadcast::Sender<Arc<DatapathEvent>>,
    wake: Notify,
    level: AtomicU64,
    seen: AtomicU64,
}

/// The consumer of the ring; one a node.
pub struct EventReader {
    events: Events,
    ring: RingBuf<MapData>,
    config: OwnedFd,
    path: PathBuf,
}

impl Default for Events {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        Self(Arc::new(Inner {
            sender,
            wake: Notify::new(),
            level: AtomicU64::new(MonitorLevel::Medium as u64),
            seen: AtomicU64::new(0),
        }))
    }
}

impl Events {
    /// Listens from now on. The programs start to report within a scheduling delay.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<DatapathEvent>> {
        let receiver = self.0.sender.subscribe();
        self.0.wake.notify_one();
        receiver
    }

    /// `--monitor-aggregation`; takes effect at once.
    pub fn set_level(&self, level: MonitorLevel) {
        self.0.level.store(level as u64, Ordering::Relaxed);
        self.0.wake.notify_one();
    }

    /// Somebody listens.
    #[must_use]
    pub fn is_listened_to(&self) -> bool {
        self.0.sender.receiver_count() > 0
    }

    /// Events read so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.0.seen.load(Ordering::Relaxed)
    }
}

impl EventReader {
    /// Opens the pinned ring. Nothing is reported yet.
    ///
    /// # Errors
    /// [`Error::Ring`], or [`Error::CheckPin`] for the configuration map.
    pub fn open(bpf_root: &Path, events: Events) -> Result<Self, Error> {
        let path = pins::map(bpf_root, &maps::EVENTS);
        let failed = |source| Error::Ring { path: path.clone(), source: Box::new(source) };
        let ring = RingBuf::try_from(Map::RingBuf(MapData::from_pin(&path).map_err(failed)?)).map_err(failed)?;
        let config = pins::map(bpf_root, &maps::CONFIG);
        let config = sys::object_get(&config).map_err(|source| Error::CheckPin { path: config, source })?;
        Ok(Self { events, ring, config, path })
    }

    /// Reads for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            self.switch(None);
            while !self.events.is_listened_to() {
                let _ = tokio::time::timeout(IDLE, self.events.0.wake.notified()).await;
            }
            // What lies in the ring is of earlier listeners.
            while self.ring.next().is_some() {}
            let mut level = None;
            while self.events.is_listened_to() {
                let wanted = self.events.0.level.load(Ordering::Relaxed);
                if level != Some(wanted) {
                    self.switch(Some(wanted));
                    level = Some(wanted);
                }
                if self.read() < BURST {
                    tokio::time::sleep(POLL).await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Reads what is there, at most a burst.
    fn read(&mut self) -> usize {
        let mut count = 0;
        while count < BURST
            && let Some(record) = self.ring.next()
        {
            count += 1;
            let event = record.get(..size_of::<Event>()).and_then(Event::from_bytes);
            if let Some(event) = event.as_ref().and_then(decode) {
                // No receiver is no error: the last one has just left.
                let _ = self.events.0.sender.send(Arc::new(event));
            }
        }
        self.events.0.seen.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// Tells the programs what to report.
    fn switch(&self, level: Option<u64>) {
        let value = level.map_or(0, |level| level + 1);
        if let Err(error) = sys::update_elem(&self.config, (ConfigCell::Monitor as u32).as_bytes(), value.as_bytes()) {
            tracing::warn!(%error, ring = %self.path.display(), "switch packet events");
        }
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        self.switch(None);
    }
}
