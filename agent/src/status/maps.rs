//! How full the kernel's maps are. Counting walks them, so an answer is good for a while.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::MapUse;
use datapath::kernel::Pinned;
use parking_lot::Mutex;

/// How long an answer is good: a full conntrack map takes a tenth of a second to walk.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// Counts when asked.
pub(crate) struct MapUses {
    root: PathBuf,
    last: Mutex<Option<(Instant, Vec<MapUse>)>>,
}

// === impl MapUses ===

impl MapUses {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), last: Mutex::default() }
    }

    /// Every bounded map; empty when the maps cannot be read, which the controllers report.
    pub(crate) fn get(&self) -> Vec<MapUse> {
        let mut last = self.last.lock();
        if let Some((at, uses)) = &*last
            && at.elapsed() < GOOD_FOR
        {
            return uses.clone();
        }
        let found = datapath::dump::pressure(&mut Pinned::new(&self.root)).unwrap_or_default();
        let show = |row: datapath::dump::MapUse| MapUse {
            name: row.map.to_owned(),
            entries: row.entries,
            capacity: row.capacity as usize,
        };
        let uses: Vec<MapUse> = found.into_iter().map(show).collect();
        *last = Some((Instant::now(), uses.clone()));
        uses
    }
}
