//! Table `alarms`: what an operator should look at now.
//!
//! Written by whoever notices; read by the API. A row goes when its cause is gone.

use std::sync::Arc;

use statedb::Row;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// What it is about, e.g. `kvstore/east/ip/mass-delete`.
    pub name: Arc<str>,
    /// A sentence for people.
    pub message: Arc<str>,
}

impl Row for Alarm {
    type Key = Arc<str>;
    const TABLE: &'static str = "alarms";
    const COLUMNS: &'static [&'static str] = &["ALARM", "MESSAGE"];

    fn key(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn cells(&self) -> Vec<String> {
        vec![self.name.to_string(), self.message.to_string()]
    }
}
