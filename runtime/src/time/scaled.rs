//! A clock that a file rules: only in builds with the feature `chaos`, which no release has.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::pace::{Pace, Setting};

/// Who sleeps wakes up when the clock is set.
static PACE: LazyLock<watch::Sender<Pace>> = LazyLock::new(|| watch::Sender::new(Pace::real()));

/// How often the file is read.
const LOOK: Duration = Duration::from_millis(20);

/// Looked for in binaries, to prove that one has this or has it not.
const MARKER: &str = "this build's clock obeys a file: not for production";

/// Obeys the file for as long as the process lives. Whoever writes it writes another one and renames it.
///
/// # Errors
///
/// When no thread can be started.
pub fn follow_clock(file: PathBuf) -> std::io::Result<()> {
    tracing::warn!(file = %file.display(), "{MARKER}");
    // Not a task: the clock must not wait for what it drives.
    std::thread::Builder::new().name("clock".to_owned()).spawn(move || follow(&file)).map(drop)
}

fn follow(file: &Path) {
    let mut known = String::new();
    loop {
        // A file that is not there yet says nothing.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text != known {
            match text.parse::<Setting>() {
                Ok(setting) => {
                    PACE.send_modify(|pace| pace.set(Instant::now(), setting));
                    tracing::warn!(?setting, "the clock is set");
                }
                Err(error) => tracing::error!(%error, "the clock is not set"),
            }
            known = text;
        }
        std::thread::sleep(LOOK);
    }
}

pub(super) fn now() -> Instant {
    PACE.borrow().at(real())
}

pub(super) fn wall() -> SystemTime {
    PACE.borrow().wall(real(), SystemTime::now())
}

pub(super) async fn sleep(time: Duration) {
    sleep_until(now() + time).await;
}

pub(super) async fn sleep_until(at: Instant) {
    let mut changes = PACE.subscribe();
    loop {
        let left = changes.borrow_and_update().until(real(), at);
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            // The sender is a static: it never goes.
            _ = changes.changed() => {}
        }
    }
}

/// The clock of the machine, which a test may have stopped.
fn real() -> Instant {
    tokio::time::Instant::now().into_std()
}
