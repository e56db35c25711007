//! The tables of a process by name, for `causeway statedb`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{Reader, Row, Writer, table};

/// Makes tables and remembers how to print them.
#[derive(Clone, Default)]
pub struct Database(Arc<RwLock<BTreeMap<&'static str, Box<dyn Printer>>>>);

/// One line of `causeway statedb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// The table's name.
    pub name: &'static str,
    /// How many rows it holds.
    pub rows: usize,
    /// Its revision.
    pub revision: u64,
    /// The sources whose first full state is still awaited.
    pub pending: Vec<String>,
}

trait Printer: Send + Sync {
    fn info(&self) -> TableInfo;
    fn text(&self) -> String;
    fn json(&self) -> serde_json::Value;
}

impl Database {
    /// Makes the table of `R`.
    ///
    /// # Panics
    ///
    /// When it was made before: a table has one writer.
    pub fn table<R: Row>(&self) -> (Writer<R>, Reader<R>) {
        let (writer, reader) = table::<R>();
        let before = self.0.write().insert(R::TABLE, Box::new(reader.clone()));
        assert!(before.is_none(), "table {} is made once", R::TABLE);
        (writer, reader)
    }

    /// All tables by name.
    pub fn tables(&self) -> Vec<TableInfo> {
        self.0.read().values().map(|table| table.info()).collect()
    }

    /// A table as aligned text; `None` when there is no such table.
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.read().get(name).map(|table| table.text())
    }

    /// A table as JSON; `None` when there is no such table.
    pub fn json(&self, name: &str) -> Option<serde_json::Value> {
        self.0.read().get(name).map(|table| table.json())
    }
}

impl<R: Row> Printer for Reader<R> {
    fn info(&self) -> TableInfo {
        let snapshot = self.snapshot();
        let pending = snapshot.pending().map(str::to_owned).collect();
        TableInfo { name: R::TABLE, rows: snapshot.len(), revision: snapshot.revision(), pending }
    }

    fn text(&self) -> String {
        self.snapshot().text()
    }

    fn json(&self) -> serde_json::Value {
        self.snapshot().json()
    }
}
