//! The skeleton of every process: logging, signals, the owner of its tasks, readiness, metrics, the admin server.
//!
//! ```text
//!   main ── Process::start ──> Tasks (spawn, notice death, drain) ── Readiness (handles) ── admin HTTP
//!                  └── ends when a signal arrives or a task dies, and says which
//! ```
//! It knows nothing of Cilium, etcd or the kernel.

mod admin;
mod arguments;
mod config;
mod logging;
pub mod metrics;
mod readiness;
mod signals;
mod spelling;
mod tasks;
mod time;

pub use admin::{AdminError, serve as serve_admin};
pub use arguments::{GatherError, Gathered, gather as gather_arguments};
pub use config::{ConfigDirError, read_config_dir};
pub use logging::{LogFormat, LogOptions, init as init_logging, replace_passwords, without_passwords};
pub use readiness::{Readiness, Ready};
pub use signals::terminated;
pub use spelling::distance;
pub use tasks::{Stopped, Tasks};
#[cfg(feature = "chaos")]
pub use time::scaled::follow_clock;
pub use time::{now, sleep, sleep_until, wall};
