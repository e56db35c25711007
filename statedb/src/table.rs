//! A table's two handles: the one that writes and the ones that read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::state::State;
use crate::{Changes, Row, RowRef, Snapshot};

/// Makes an empty table.
pub fn table<R: Row>() -> (Writer<R>, Reader<R>) {
    let (revision, _) = watch::channel(0);
    let shared = Shared { state: ArcSwap::default(), write: Mutex::new(()), readers: Mutex::default(), revision };
    let shared = Arc::new(shared);
    (Writer(Arc::clone(&shared)), Reader(shared))
}

/// Changes a table. Its clones are the same writer, held by the sources that share the table and tag their rows.
pub struct Writer<R: Row>(Arc<Shared<R>>);

/// Reads a table.
pub struct Reader<R: Row>(Arc<Shared<R>>);

pub(crate) struct Shared<R: Row> {
    state: ArcSwap<State<R>>,
    write: Mutex<()>,
    /// How far each change iterator has come; deletions are remembered from the slowest on.
    readers: Mutex<BTreeMap<u64, u64>>,
    revision: watch::Sender<u64>,
}

/// Several writes that become visible at once.
pub struct Txn<R: Row> {
    state: State<R>,
    bury: bool,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upsert {
    /// There was no row of this key.
    Inserted,
    /// The row differs from the one it replaced.
    Updated,
    /// An equal row was there: nothing changed.
    Unchanged,
}

/// Says once that a source's first full state is in the table.
#[must_use = "the table never becomes initialised without it"]
pub struct Initializer<R: Row> {
    table: Writer<R>,
    source: String,
}

/// Wakes when a table changes; several changes may wake it once.
pub struct Watch(watch::Receiver<u64>);

// === impl Writer ===

impl<R: Row> Clone for Writer<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Row> Writer<R> {
    /// Runs `change` on a private version, then publishes it, and only if it differs.
    pub fn write<T>(&self, change: impl FnOnce(&mut Txn<R>) -> T) -> T {
        let _one_writer = self.0.write.lock();
        let before = self.0.state.load_full();
        let oldest = self.0.readers.lock().values().min().copied();
        let mut txn = Txn { state: State::clone(&before), bury: oldest.is_some() };
        let result = change(&mut txn);
        if txn.state.revision != before.revision {
            txn.state.dig(oldest.unwrap_or(u64::MAX));
            let revision = txn.state.revision;
            // Publishing while `before` lives would make the next write copy its path: drop it first.
            self.0.state.store(Arc::new(txn.state));
            self.0.revision.send_replace(revision);
        }
        result
    }

    /// Writes one row.
    pub fn upsert(&self, row: R) -> Upsert {
        self.write(|txn| txn.upsert(row))
    }

    /// Deletes one row.
    pub fn delete(&self, key: &R::Key) -> Option<RowRef<R>> {
        self.write(|txn| txn.delete(key))
    }

    /// Announces a source: the table is initialised only after the returned handle has said `done`.
    pub fn announce(&self, source: impl Into<String>) -> Initializer<R> {
        let source = source.into();
        self.pending(|pending| pending.insert(source.clone()));
        Initializer { table: self.clone(), source }
    }

    /// A read handle of the same table.
    pub fn reader(&self) -> Reader<R> {
        Reader(Arc::clone(&self.0))
    }

    fn pending(&self, change: impl FnOnce(&mut std::collections::BTreeSet<String>) -> bool) {
        let _one_writer = self.0.write.lock();
        let mut state = State::clone(&self.0.state.load());
        if change(Arc::make_mut(&mut state.pending)) {
            self.0.state.store(Arc::new(state));
            // The revision stays: no row changed, yet waiters on initialisation must look again.
            self.0.revision.send_modify(|_| ());
        }
    }
}

// === impl Initializer ===

impl<R: Row> Initializer<R> {
    /// The source's first full state is in the table.
    pub fn done(self) {
        self.table.pending(|pending| pending.remove(&self.source));
    }
}

// === impl Txn ===

impl<R: Row> Txn<R> {
    /// Writes a row.
    pub fn upsert(&mut self, row: R) -> Upsert {
        match self.state.upsert(row) {
            None => Upsert::Unchanged,
            Some(None) => Upsert::Inserted,
            Some(Some(_)) => Upsert::Updated,
        }
    }

    /// Deletes a row and returns it.
    pub fn delete(&mut self, key: &R::Key) -> Option<RowRef<R>> {
        self.state.delete(key, self.bury)
    }

    /// The revision of the table with what this transaction wrote so far.
    pub fn revision(&self) -> u64 {
        self.state.revision
    }

    /// The row as this transaction sees it.
    pub fn get(&self, key: &R::Key) -> Option<&RowRef<R>> {
        self.state.rows.get(key)
    }

    /// All rows as this transaction sees them.
    pub fn iter(&self) -> impl Iterator<Item = &RowRef<R>> {
        self.state.rows.iter().map(|(_, row)| row)
    }

    /// Rows under `key` of the secondary index `index`, as this transaction sees them.
    pub fn by(&self, index: &str, key: impl Into<crate::IndexKey>) -> impl Iterator<Item = &RowRef<R>> {
        self.state.by(index, key.into())
    }

    /// Deletes every row for which `keep` is false; returns how many went.
    pub fn retain(&mut self, keep: impl Fn(&RowRef<R>) -> bool) -> usize {
        let gone: Vec<R::Key> = self.iter().filter(|row| !keep(row)).map(|row| row.key()).collect();
        for key in &gone {
            self.delete(key);
        }
        gone.len()
    }
}

// === impl Reader ===

impl<R: Row> Clone for Reader<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Row> Reader<R> {
    /// The table as it is now.
    pub fn snapshot(&self) -> Snapshot<R> {
        Snapshot(self.0.state.load_full())
    }

    /// Wakes on changes from now on.
    pub fn watch(&self) -> Watch {
        Watch(self.0.revision.subscribe())
    }

    /// Every change from the empty table on: first what is there, then what comes.
    pub fn changes(&self) -> Changes<R> {
        Changes::new(self.clone())
    }

    /// Waits until `condition` holds of the table.
    pub async fn wait_for(&self, condition: impl Fn(&Snapshot<R>) -> bool) -> Snapshot<R> {
        let mut watch = self.watch();
        loop {
            let snapshot = self.snapshot();
            if condition(&snapshot) {
                return snapshot;
            }
            watch.changed().await;
        }
    }

    pub(crate) fn register(&self, id: u64, seen: u64) {
        self.0.readers.lock().insert(id, seen);
    }

    pub(crate) fn unregister(&self, id: u64) {
        self.0.readers.lock().remove(&id);
    }
}

// === impl Watch ===

impl Watch {
    /// Returns at the first change since the last call. Cancel safe. Never returns once the table is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Watch {
    pub(crate) fn mark_changed(&mut self) {
        self.0.mark_changed();
    }
}

#[cfg(test)]
mod tests {
    use crate::{Change, Index, Row};

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Pet {
        name: &'static str,
        owner: &'static str,
    }

    impl Row for Pet {
        type Key = &'static str;
        const TABLE: &'static str = "pets";
        const COLUMNS: &'static [&'static str] = &["Name", "Owner"];
        const INDEXES: &'static [Index<Self>] = &[Index { name: "owner", keys: |pet, add| add(pet.owner.into()) }];
        const COUNTED: &'static [&'static str] = &["owner"];

        fn key(&self) -> Self::Key {
            self.name
        }

        fn cells(&self) -> Vec<String> {
            vec![self.name.into(), self.owner.into()]
        }
    }

    fn pet(name: &'static str, owner: &'static str) -> Pet {
        Pet { name, owner }
    }

    fn seen(changes: &mut Changes<Pet>) -> Vec<String> {
        let show = |change: &Change<Pet>| match change {
            Change::Upsert(row) => format!("+{}/{}", row.name, row.owner),
            Change::Delete(row) => format!("-{}", row.name),
        };
        changes.drain().iter().map(show).collect()
    }

    #[test]
    fn changes_show_each_key_once_and_deletes_until_seen() {
        let (writer, reader) = table();
        writer.upsert(pet("rex", "ann"));
        let mut changes = reader.changes();
        assert_eq!(seen(&mut changes), ["+rex/ann"]);
        writer.upsert(pet("tom", "bob"));
        writer.delete(&"rex");
        writer.upsert(pet("tom", "eve"));
        assert_eq!(seen(&mut changes), ["-rex", "+tom/eve"]);
        assert_eq!(writer.upsert(pet("tom", "eve")), Upsert::Unchanged);
        assert!(seen(&mut changes).is_empty());
        writer.delete(&"tom");
        writer.upsert(pet("tom", "ann"));
        assert_eq!(seen(&mut changes), ["+tom/ann"]);
        writer.upsert(pet("rex", "ann"));
        writer.delete(&"rex");
        assert_eq!(seen(&mut changes), ["-rex"]);
    }

    #[test]
    fn graveyard_empties_when_all_have_seen_and_stays_empty_without_readers() {
        let (writer, reader) = table();
        writer.upsert(pet("rex", "ann"));
        writer.delete(&"rex");
        assert_eq!(reader.snapshot().0.graveyard.len(), 0);
        let mut changes = reader.changes();
        writer.upsert(pet("rex", "ann"));
        writer.delete(&"rex");
        assert_eq!(reader.snapshot().0.graveyard.len(), 1);
        changes.drain();
        writer.upsert(pet("tom", "ann"));
        assert_eq!(reader.snapshot().0.graveyard.len(), 0);
    }

    #[test]
    fn secondary_index_follows_updates_and_deletes() {
        let (writer, reader) = table();
        for (name, owner) in [("rex", "ann"), ("tom", "ann"), ("zoe", "bob")] {
            writer.upsert(pet(name, owner));
        }
        let owned = |owner: &str| reader.snapshot().by("owner", owner).map(|pet| pet.name).collect::<Vec<_>>();
        assert_eq!(owned("ann"), ["rex", "tom"]);
        writer.upsert(pet("rex", "bob"));
        writer.delete(&"zoe");
        assert_eq!(owned("ann"), ["tom"]);
        assert_eq!(owned("bob"), ["rex"]);
        assert!(owned("eve").is_empty());
    }

    #[test]
    fn snapshot_is_immutable_and_prints() {
        let (writer, reader) = table();
        writer.upsert(pet("rex", "ann"));
        let snapshot = reader.snapshot();
        writer.delete(&"rex");
        assert_eq!(snapshot.text(), "Name  Owner\nrex   ann\n");
        assert_eq!(snapshot.json().to_string(), r#"[{"Name":"rex","Owner":"ann"}]"#);
        assert!(reader.snapshot().is_empty());
    }

    #[tokio::test]
    async fn initialised_only_after_every_source() {
        let (writer, reader) = table::<Pet>();
        let (east, west) = (writer.announce("east"), writer.announce("west"));
        east.done();
        assert_eq!(reader.snapshot().pending().collect::<Vec<_>>(), ["west"]);
        let waiting = reader.wait_for(Snapshot::is_initialised);
        west.done();
        assert!(waiting.await.is_initialised());
    }

    #[test]
    fn counts_by_index_are_those_of_a_walk_whatever_comes_and_goes() {
        let (writer, reader) = table::<Pet>();
        let names = ["a", "b", "c", "d", "e"];
        let owners = ["x", "y", "z"];
        for step in 0..200_usize {
            let (name, owner) = (names[step * 7 % 5], owners[step * step % 3]);
            if step % 4 == 3 {
                writer.delete(&name);
            } else {
                writer.upsert(pet(name, owner));
            }
            let snapshot = reader.snapshot();
            for owner in owners {
                assert_eq!(snapshot.count("owner", owner), snapshot.by("owner", owner).count(), "step {step}, {owner}");
            }
        }
    }
}
