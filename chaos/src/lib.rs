//! Faults against a running mesh, and proof of what still holds.
//!
//! ```text
//!   kept demo ──attach──> Run ── probes start ──> scenario: inject, evidence, heal ──> converged? ──> probes stop
//!                          │                                                                            │
//!                          └── timeline                                    judge (pure): records ──> checks ──> report
//! ```
//! A scenario is a row of [`SCENARIOS`]: what it breaks and how it heals. Everything else is the same for all: datagrams
//! at 100 a second and long-lived connections on allowed and forbidden paths, logged at both ends; positive controls;
//! and the oracle, which compares a fresh list of every store with a raw dump of every node's maps. An injection without
//! evidence that it bit counts as not tried, which is a failure.
//!
//! It knows processes, links, files and stores from the outside only: nothing of the product is linked in here but the
//! layout of its maps.

mod churn;
mod clock;
mod controls;
mod judge;
mod mend;
mod oracle;
mod paths;
mod probes;
mod report;
mod run;
mod sabotage;
mod scenario;
mod scenarios;
mod timeline;

pub use judge::{Check, Excuse, Record, Records, Touch};
pub use paths::{Kind, Path};
pub use report::{Report, ScenarioReport};
pub use run::{Options, run};
pub use scenario::{SCENARIOS, Scenario};
