//! The whole, as its users run it: real etcd, real eBPF, real packets between network namespaces.

mod bad_inputs;
mod broken;
mod chaos;
mod clock;
mod commands;
mod explains;
mod hostile;
mod input;
mod interop;
mod kubernetes;
mod kvstore;
mod kvstoremesh;
mod leftovers;
mod mesh;
mod migrate;
mod moved;
mod node_objects;
mod pools;
mod power_cut;
mod ranges;
mod restart;
mod secrets;
mod troubleshoot;

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use testbed::demo::Stage;
use testbed::{Bed, Binaries, Plan, StoreKind};

/// A mesh has the machine for itself: whatever ran beside it would starve it of CPU, and what a run leaves behind could not
/// be told from what another is using.
static MACHINE: RwLock<()> = RwLock::new(());

/// Holds the machine for a test; `None`, said loudly, when this run has no root or is quick.
fn machine(test: &str) -> Option<RwLockWriteGuard<'static, ()>> {
    let root = nix::unistd::geteuid().is_root();
    let quick = std::env::var("CAUSEWAY_TEST_QUICK").is_ok_and(|value| value == "1");
    if !root || quick {
        println!(
            "SKIP {test}: it makes namespaces and loads eBPF programs, which needs root, and takes longer than --quick allows"
        );
        return None;
    }
    // A test that failed before us has taken its mesh down.
    Some(MACHINE.write().unwrap_or_else(PoisonError::into_inner))
}

/// Shares the machine with tests that make no mesh.
fn beside() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs an asynchronous test that makes no mesh.
fn beside_meshes<T>(test: impl Future<Output = T>) -> T {
    let _beside = beside();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime for the test");
    runtime.block_on(test)
}

/// A mesh in a folder of its own.
fn stage(folder: &Path) -> anyhow::Result<Stage> {
    stage_on(store(), folder)
}

/// One whose stores are of this kind.
fn stage_on(store: StoreKind, folder: &Path) -> anyhow::Result<Stage> {
    let plan = Plan { store, ..plan(folder, 2) };
    Stage::set(plan, Binaries::beside_us()?, &ledger(folder), |line| println!("{line}"))
}

/// What `cargo xtask test --store` chose.
fn store() -> StoreKind {
    std::env::var("CAUSEWAY_TEST_STORE")
        .map_or_else(|_| StoreKind::default(), |kind| kind.parse().expect("--store was checked"))
}

/// A mesh of so many clusters, to be changed before it is set up.
fn plan(folder: &Path, clusters: u32) -> Plan {
    let run_id = format!("{:04x}", std::process::id() as u16);
    Plan { store: store(), ..Plan::new(&run_id, folder, clusters) }
}

/// A mesh that is set up, without the demo's pods.
fn bed(plan: Plan) -> anyhow::Result<Bed> {
    // Beside its folder, which goes with the mesh.
    let ledger = ledger(plan.dir.parent().unwrap_or(&plan.dir));
    Bed::up(plan, Binaries::beside_us()?, &ledger, |line| println!("{line}"))
}

fn ledger(folder: &Path) -> PathBuf {
    folder.join("ledger.json")
}
