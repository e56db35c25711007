//! The rules of an import, without clock, store or table: events in, writes out.

mod damp;
mod doubt;
mod hold;
mod quarantined;
#[cfg(test)]
pub(crate) mod tests;
mod together;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use kvstore::{Event, KeyValue};
use statedb::{Row, RowRef, Snapshot};
use tables::{Alarm, Rejected};

pub use damp::{DAMP_FREE, DAMP_WINDOW};
pub use hold::{HOLD, HOLD_MIN_KEYS, HOLD_WINDOW};

use self::damp::Damp;
use self::doubt::{Decision, Doubt};
use self::hold::Hold;
use self::quarantined::{Quarantined, Refused};
use self::together::Together;
use crate::{Decode, Decoded, Evidence, Held};

/// Follows one prefix.
pub struct Core<D: Decode> {
    decode: D,
    prefix: String,
    quota: usize,
    /// Keys that the store has.
    live: usize,
    /// Names in quarantine, with why and what to look at again when that may have changed.
    quarantine: BTreeMap<String, Quarantined<D::Row>>,
    /// How many of them are claims.
    claims: usize,
    /// Bytes of keys and values kept in quarantine.
    kept: usize,
    /// Where keys may change only so often.
    damp: Option<Damp>,
    hold: Hold<D::Row>,
    doubt: Doubt,
    effects: VecDeque<Effect<D::Row>>,
}

/// Rows whose keys went, in one batch.
struct Gone<R: Row> {
    rows: BTreeMap<R::Key, Option<RowRef<R>>>,
    /// Those that went as if a lease had ended.
    suspicious: BTreeSet<R::Key>,
    /// Which went at one revision; not known of those that waited.
    together: Option<Together>,
}

/// What of a quarantine is kept to be looked at again: the rest waits for its owner to write it again.
const MAX_KEPT: usize = 8 << 20;

/// Claims that an alarm tells one by one: nodes that overlap are few, and their operator needs both names.
const MAX_NAMED: usize = 5;

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
            quarantine: BTreeMap::new(),
            claims: 0,
            kept: 0,
            damp: None,
            hold: Hold::new(),
            doubt: Doubt::default(),
            effects: VecDeque::new(),
        }
    }

    /// Follows a key that changes without rest once a second only: for data of others.
    pub fn damped(self) -> Self {
        Self { damp: Some(Damp::default()), ..self }
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
        let damped = self.damp.as_ref().and_then(Damp::poll_timeout);
        self.hold.poll_timeout().into_iter().chain(self.doubt.poll_timeout(now)).chain(damped).min()
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
        let mut gone = Gone { together: Some(Together::of(&events)), ..Gone::default() };
        for event in events {
            match &event {
                Event::Created(_) => self.live += 1,
                Event::Deleted { .. } => self.live = self.live.saturating_sub(1),
                _ => {}
            }
            if let Some(event) = self.damp(now, event, rows, &mut gone) {
                self.handle_event(now, event, rows, &mut gone);
            }
        }
        if !gone.rows.is_empty() {
            self.handle_gone(now, gone);
        }
    }

    /// Changes that waited because their keys have too many.
    pub fn handle_damped(&mut self, now: Instant, rows: &Snapshot<D::Row>) {
        let Some(damp) = &mut self.damp else { return };
        let was_flapping = damp.is_flapping();
        let due = damp.take_due(now);
        if was_flapping && !damp.is_flapping() {
            self.clear_alarm("flapping");
        }
        if due.is_empty() {
            return;
        }
        let mut gone = Gone::default();
        for event in due {
            self.handle_event(now, event, rows, &mut gone);
        }
        if !gone.rows.is_empty() {
            self.handle_gone(now, gone);
        }
    }

    /// What others say has changed: what was refused may be right now, and, where it is about what is `ours`, the other
    /// way round.
    pub fn handle_border(&mut self, ours: bool, rows: &Snapshot<D::Row>) {
        for name in self.quarantine.keys().cloned().collect::<Vec<_>>() {
            self.reconsider(&name);
        }
        if !ours {
            return;
        }
        let cluster = self.decode.cluster().clone();
        for row in rows.by("cluster", cluster.as_str()) {
            if !self.decode.owns(row) {
                continue;
            }
            let Err(why) = self.decode.admit((**row).clone()) else { continue };
            let name = self.decode.name(row);
            if self.quarantine.contains_key(&name) {
                continue;
            }
            let key = format!("{}{name}", self.prefix);
            self.reject_claim(&key, &name, &why, Refused::Row((**row).clone()));
            if D::REFUSAL_WITHDRAWS {
                self.effects.push_back(Effect::Delete(row.key()));
            }
        }
    }

    fn reconsider(&mut self, name: &str) {
        let Some(entry) = self.quarantine.get(name).filter(|entry| entry.claim) else { return };
        let row = match &entry.what {
            Refused::Forgotten => return,
            Refused::Row(row) => row.clone(),
            Refused::Key(kv) => match self.decode.decode("", name, kv) {
                Ok(Decoded::Row(row)) => row,
                _ => return,
            },
        };
        let key = format!("{}{name}", self.prefix);
        match self.decode.admit(row) {
            Err(why) | Ok((_, Some(why))) if entry.error == format!("{key}: {why}") => {}
            Err(why) => {
                let what = self.take_refused(name);
                self.reject_claim(&key, name, &why, what);
            }
            Ok((row, Some(why))) => {
                let what = self.take_refused(name);
                self.reject_claim(&key, name, &why, what);
                self.effects.push_back(Effect::Upsert(row));
            }
            Ok((row, None)) => {
                self.forgive(name);
                self.effects.push_back(Effect::Upsert(row));
            }
        }
    }

    fn take_refused(&mut self, name: &str) -> Refused<D::Row> {
        let entry = self.drop_quarantined(name);
        entry.map_or(Refused::Forgotten, |entry| entry.what)
    }

    /// The event, unless its key has to wait.
    fn damp(&mut self, now: Instant, event: Event, rows: &Snapshot<D::Row>, gone: &mut Gone<D::Row>) -> Option<Event> {
        let Some(damp) = &mut self.damp else { return Some(event) };
        let key = match &event {
            Event::Created(kv) | Event::Modified(kv) => &kv.key,
            Event::Deleted { key, .. } => key,
            // A list shall not be called complete before what came ahead of it.
            _ => {
                for waited in damp.take_all(now) {
                    self.handle_event(now, waited, rows, gone);
                }
                return Some(event);
            }
        };
        let Some(name) = wire::key::name_after(&self.prefix, key).map(str::to_owned) else { return Some(event) };
        let before = damp.is_flapping();
        let admitted = damp.admit(now, &name, event);
        if !before && damp.is_flapping() {
            let message = format!(
                "{}{name} changes more than {DAMP_FREE} times a second: one change a second is followed",
                self.prefix
            );
            self.alarm("flapping", message);
        }
        admitted
    }

    fn handle_event(&mut self, now: Instant, event: Event, rows: &Snapshot<D::Row>, gone: &mut Gone<D::Row>) {
        match event {
            Event::Created(kv) | Event::Modified(kv) => self.handle_put(&kv, &mut gone.rows),
            Event::Deleted { key, revision } => {
                self.doubt.handle_change();
                let Some(name) = wire::key::name_after(&self.prefix, &key) else { return };
                self.forgive(name);
                if let Some(key) = self.decode.row_key(name) {
                    let row = rows.get(&key).filter(|row| self.decode.owns(row)).cloned();
                    let held = match D::HELD {
                        Held::None => false,
                        Held::AtOnce => gone.together.as_ref().is_some_and(|together| together.is_lease_end(revision)),
                        Held::Each => true,
                    };
                    if held {
                        gone.suspicious.insert(key.clone());
                    }
                    gone.rows.insert(key, row);
                }
            }
            Event::ListDone => {
                let keep = match D::REFUSAL_WITHDRAWS {
                    true => BTreeSet::new(),
                    false => self.quarantine.keys().filter_map(|name| self.decode.row_key(name)).collect(),
                };
                self.effects.push_back(Effect::Done { keep });
            }
            Event::StoreUnknown => {
                self.doubt.handle_unknown(now);
                let message = format!(
                    "the store is not the one we knew: rows of {} that it does not have stay until they are proven gone",
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
            return self.reject(&key, &key, format!("{key}: the key is not UTF-8"), false, Refused::Forgotten);
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
            true => Err(format!("{key}: the cluster has more than {} keys here", self.quota)),
            false => self.decode.decode(key, name, kv),
        };
        match decoded {
            Ok(Decoded::Row(row)) => match self.decode.admit(row) {
                Ok((row, None)) => {
                    self.forgive(name);
                    self.effects.push_back(Effect::Upsert(row));
                }
                Ok((row, Some(why))) => {
                    self.reject_claim(key, name, &why, Refused::Key(kv.clone()));
                    self.effects.push_back(Effect::Upsert(row));
                }
                Err(why) => {
                    self.reject_claim(key, name, &why, Refused::Key(kv.clone()));
                    if D::REFUSAL_WITHDRAWS {
                        self.effects.extend(self.decode.row_key(name).map(Effect::Delete));
                    }
                }
            },
            Ok(Decoded::Absent) => {
                self.forgive(name);
                self.effects.extend(self.decode.row_key(name).map(Effect::Delete));
            }
            Err(error) => {
                self.reject(key, name, error, false, Refused::Forgotten);
                if D::REFUSAL_WITHDRAWS {
                    self.effects.extend(self.decode.row_key(name).map(Effect::Delete));
                }
            }
        }
    }

    fn handle_gone(&mut self, now: Instant, gone: Gone<D::Row>) {
        let Gone { rows: gone, mut suspicious, .. } = gone;
        let before = self.hold.len();
        // A put that came after its delete has ended the suspicion.
        suspicious.retain(|key| gone.contains_key(key));
        let verdict = self.hold.handle_gone(now, gone, &suspicious, self.live);
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

    /// Refuses a claim to what is somebody else's, and says so to everybody who looks.
    fn reject_claim(&mut self, key: &str, name: &str, why: &str, what: Refused<D::Row>) {
        let error = format!("{key}: {why}");
        self.reject(key, name, error, true, what);
        let (cluster, count) = (self.decode.cluster(), self.claims);
        let named =
            self.quarantine.values().filter(|entry| entry.claim).take(MAX_NAMED).map(|entry| entry.error.as_str());
        let (list, more) = (named.collect::<Vec<_>>().join("; "), if count > MAX_NAMED { "; and more" } else { "" });
        let message = format!("{cluster} claims what is not its own, in {count} keys: {list}{more}");
        self.alarm("claims", message);
    }

    fn reject(&mut self, key: &str, name: &str, error: String, claim: bool, what: Refused<D::Row>) {
        self.drop_quarantined(name);
        let what = if self.kept + what.size() > MAX_KEPT { Refused::Forgotten } else { what };
        self.kept += what.size();
        self.claims += usize::from(claim);
        self.quarantine.insert(name.to_owned(), Quarantined { error: error.clone(), claim, what });
        let cluster = self.decode.cluster().clone();
        self.effects.push_back(Effect::Reject(Rejected { cluster, key: key.into(), error: error.into() }));
    }

    fn forgive(&mut self, name: &str) {
        if self.quarantine.is_empty() {
            return;
        }
        if let Some(entry) = self.drop_quarantined(name) {
            let key = format!("{}{name}", self.prefix);
            self.effects.push_back(Effect::Forgive((self.decode.cluster().clone(), key.into())));
            if entry.claim && self.claims == 0 {
                self.clear_alarm("claims");
            }
        }
    }

    fn drop_quarantined(&mut self, name: &str) -> Option<Quarantined<D::Row>> {
        let dropped = self.quarantine.remove(name)?;
        self.kept -= dropped.what.size();
        self.claims -= usize::from(dropped.claim);
        Some(dropped)
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

// === impl Gone ===

impl<R: Row> Default for Gone<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), suspicious: BTreeSet::new(), together: None }
    }
}
