//! The rules of an import, without clock, store or table: events in, writes out.

mod doubt;
mod hold;
#[cfg(test)]
pub(crate) mod tests;
mod together;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use kvstore::{Event, KeyValue};
use statedb::{Row, RowRef, Snapshot};
use tables::{Alarm, Rejected};

pub use hold::{HOLD, HOLD_MIN_KEYS, HOLD_WINDOW};

use self::doubt::{Decision, Doubt};
use self::hold::Hold;
use self::together::Together;
use crate::{Decode, Decoded, Evidence, Held};

/// Follows one prefix.
pub struct Core<D: Decode> {
    decode: D,
    prefix: String,
    quota: usize,
    /// Keys that the store has.
    live: usize,
    /// Names in quarantine.
    quarantine: BTreeSet<String>,
    hold: Hold<D::Row>,
    doubt: Doubt,
    effects: VecDeque<Effect<D::Row>>,
}

/// What the driver does, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect<R: Row> {
    /// Write a row.
    Upsert(R),
    /// Delete a row.
    Delete(R::Key),
    /// Show a key in quarantine, count it and log it once.
    Reject(Rejected),
    /// The key is out of quarantine.
    Forgive(<Rejected as Row>::Key),
    /// Show an alarm.
    Alarm(Alarm),
    /// The alarm's cause is gone.
    ClearAlarm(Arc<str>),
    /// The first full state is in: drop restored rows but these, whose keys are in quarantine.
    Done {
        /// Rows that stay in force.
        keep: BTreeSet<R::Key>,
    },
    /// The store has, or is believed to have, every key that we hold: [`Evidence::nodes_back`] for other prefixes.
    Proven,
    /// List again.
    Relist,
    /// What the unknown store does not have is gone.
    AcceptAbsence,
}

// === impl Core ===

impl<D: Decode> Core<D> {
    /// `quota` bounds the keys that are accepted.
    pub fn new(decode: D, prefix: String, quota: usize) -> Self {
        Self {
            decode,
            prefix,
            quota,
            live: 0,
            quarantine: BTreeSet::new(),
            hold: Hold::new(),
            doubt: Doubt::default(),
            effects: VecDeque::new(),
        }
    }

    /// What the keys mean.
    pub fn decode(&self) -> &D {
        &self.decode
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect<D::Row>> {
        self.effects.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.hold.poll_timeout().into_iter().chain(self.doubt.poll_timeout(now)).min()
    }

    /// How many rows a mass delete has put on hold.
    pub fn held(&self) -> usize {
        self.hold.len()
    }

    /// How many keys are in quarantine.
    pub fn quarantined(&self) -> usize {
        self.quarantine.len()
    }

    /// Takes what the follower told; `rows` is the table with all effects so far.
    pub fn handle_events(&mut self, now: Instant, events: Vec<Event>, rows: &Snapshot<D::Row>) {
        let mut gone: BTreeMap<<D::Row as Row>::Key, Option<RowRef<D::Row>>> = BTreeMap::new();
        let together = Together::of(&events);
        let mut suspicious = BTreeSet::new();
        for event in events {
            match event {
                Event::Created(kv) => {
                    self.live += 1;
                    self.handle_put(&kv, &mut gone);
                }
                Event::Modified(kv) => self.handle_put(&kv, &mut gone),
                Event::Deleted { key, revision } => {
                    self.live = self.live.saturating_sub(1);
                    self.doubt.handle_change();
                    let Some(name) = wire::key::name_after(&self.prefix, &key) else { continue };
                    self.forgive(name);
                    if let Some(key) = self.decode.row_key(name) {
                        let row = rows.get(&key).filter(|row| self.decode.owns(row)).cloned();
                        let held = match D::HELD {
                            Held::None => false,
                            Held::AtOnce => together.is_lease_end(revision),
                            Held::Each => true,
                        };
                        if held {
                            suspicious.insert(key.clone());
                        }
                        gone.insert(key, row);
                    }
                }
                Event::ListDone => {
                    let keep = match D::REFUSAL_WITHDRAWS {
                        true => BTreeSet::new(),
                        false => self.quarantine.iter().filter_map(|name| self.decode.row_key(name)).collect(),
                    };
                    self.effects.push_back(Effect::Done { keep });
                }
                Event::StoreUnknown => {
                    self.doubt.handle_unknown(now);
                    let message = format!(
                        "the store is not the one we knew: rows of {} that it does not have stay until they are proven \
                         gone",
                        self.prefix
                    );
                    self.alarm("store-unknown", message);
                }
                Event::Relisted { unproven } => {
                    if self.doubt.handle_relisted(now, unproven) {
                        self.effects.push_back(Effect::Proven);
                        self.clear_alarm("store-unknown");
                    }
                }
            }
        }
        if !gone.is_empty() {
            suspicious.retain(|key| gone.contains_key(key));
            self.handle_gone(now, gone, &suspicious);
        }
    }

    /// Time has passed, or there is new evidence.
    pub fn handle_timeout(&mut self, now: Instant, evidence: &Evidence) {
        let due = self.hold.take_due(now);
        if !due.is_empty() {
            tracing::warn!(prefix = self.prefix, rows = due.len(), "rows on hold leave now");
            self.effects.extend(due.into_iter().map(Effect::Delete));
            if self.hold.len() == 0 {
                self.clear_alarm("mass-delete");
            }
        }
        match self.doubt.decide(now, evidence) {
            None => {}
            Some(Decision::Relist) => self.effects.push_back(Effect::Relist),
            Some(Decision::Accept) => {
                self.effects.push_back(Effect::AcceptAbsence);
                self.effects.push_back(Effect::Proven);
                self.clear_alarm("store-unknown");
            }
        }
    }

    /// Rows that an unknown store does not have; `None` when the store is known.
    pub fn unproven(&self) -> Option<usize> {
        self.doubt.unproven()
    }

    fn handle_put(&mut self, kv: &KeyValue, gone: &mut BTreeMap<<D::Row as Row>::Key, Option<RowRef<D::Row>>>) {
        self.doubt.handle_change();
        let Some((key, name)) = self.split(kv) else {
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            return self.reject(&key, &key, "the key is not UTF-8".to_owned());
        };
        // Nearly always nothing has gone, and then a put need not be looked up among what has.
        if !(gone.is_empty() && self.hold.is_idle())
            && let Some(row_key) = self.decode.row_key(name)
        {
            gone.remove(&row_key);
            let held = self.hold.len();
            self.hold.handle_put(&row_key);
            if held > 0 && self.hold.len() == 0 {
                self.clear_alarm("mass-delete");
            }
        }
        let decoded = match self.live > self.quota {
            // The latest comers are refused, so that the first ones stay usable.
            true => Err(format!("the cluster has more than {} keys here", self.quota)),
            false => self.decode.decode(key, name, kv),
        };
        match decoded {
            Ok(Decoded::Row(row)) => {
                self.forgive(name);
                self.effects.push_back(Effect::Upsert(row));
            }
            Ok(Decoded::Absent) => {
                self.forgive(name);
                self.effects.extend(self.decode.row_key(name).map(Effect::Delete));
            }
            Err(error) => {
                self.reject(key, name, error);
                if D::REFUSAL_WITHDRAWS {
                    self.effects.extend(self.decode.row_key(name).map(Effect::Delete));
                }
            }
        }
    }

    fn handle_gone(
        &mut self,
        now: Instant,
        gone: BTreeMap<<D::Row as Row>::Key, Option<RowRef<D::Row>>>,
        suspicious: &BTreeSet<<D::Row as Row>::Key>,
    ) {
        let before = self.hold.len();
        let verdict = self.hold.handle_gone(now, gone, suspicious, self.live);
        self.effects.extend(verdict.delete.into_iter().map(Effect::Delete));
        self.effects.extend(verdict.restore.into_iter().map(Effect::Upsert));
        if self.hold.len() > before {
            let message = format!(
                "{} keys of {} went as if a lease had ended; their rows are held for {} s",
                self.hold.len(),
                self.prefix,
                HOLD.as_secs()
            );
            self.alarm("mass-delete", message);
        }
    }

    fn split<'k>(&self, kv: &'k KeyValue) -> Option<(&'k str, &'k str)> {
        let key = std::str::from_utf8(&kv.key).ok()?;
        key.strip_prefix(self.prefix.as_str()).map(|name| (key, name))
    }

    fn reject(&mut self, key: &str, name: &str, error: String) {
        self.quarantine.insert(name.to_owned());
        let cluster = self.decode.cluster().clone();
        self.effects.push_back(Effect::Reject(Rejected { cluster, key: key.into(), error: error.into() }));
    }

    fn forgive(&mut self, name: &str) {
        if !self.quarantine.is_empty() && self.quarantine.remove(name) {
            let key = format!("{}{name}", self.prefix);
            self.effects.push_back(Effect::Forgive((self.decode.cluster().clone(), key.into())));
        }
    }

    fn alarm(&mut self, what: &str, message: String) {
        let name = self.alarm_name(what);
        self.effects.push_back(Effect::Alarm(Alarm { name, message: message.into() }));
    }

    fn clear_alarm(&mut self, what: &str) {
        let name = self.alarm_name(what);
        self.effects.push_back(Effect::ClearAlarm(name));
    }

    fn alarm_name(&self, what: &str) -> Arc<str> {
        format!("kvstore/{}/{}/{what}", self.decode.cluster(), D::RESOURCE).into()
    }
}
