//! Imported rows on disk: what the agent starts from while its store is down.

use std::path::Path;

use reflector::{Persist, SnapshotError};
use runtime::Tasks;

use crate::database::{Table, Tables};

/// Reads what the last run saved. Called before any import starts.
pub(crate) fn restore(folder: &Path, tables: &Tables) {
    report(reflector::restore(folder, &tables.nodes.write));
    report(reflector::restore(folder, &tables.identities.write));
    report(reflector::restore(folder, &tables.ips.write));
    report(reflector::restore(folder, &tables.global_services.write));
    report(reflector::restore(folder, &tables.remote_slices.write));
}

/// Saves from now on.
pub(crate) fn save(tasks: &Tasks, folder: &Path, tables: &Tables) {
    fn one<R: Persist>(tasks: &Tasks, folder: &Path, table: &Table<R>) {
        tasks.spawn("save-snapshot", reflector::save_loop(folder.to_owned(), table.read.clone()));
    }
    one(tasks, folder, &tables.nodes);
    one(tasks, folder, &tables.identities);
    one(tasks, folder, &tables.ips);
    one(tasks, folder, &tables.global_services);
    one(tasks, folder, &tables.remote_slices);
}

/// A damaged snapshot is a start with less: the store has it all.
fn report(result: Result<usize, SnapshotError>) {
    match result {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "rows of the last run restored"),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "snapshot not used");
        }
    }
}
