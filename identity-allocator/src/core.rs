//! Which number each label set of this node gets, as a state machine.

mod pick;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Labels, NumericIdentity};
use tables::Grant;

/// First wait after a failure; doubles up to [`MAX_BACKOFF`].
const BACKOFF: Duration = Duration::from_millis(20);
/// A lock holder that died lets go within its lease of 25 s; asking every second costs nothing.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Keys of numbers in use are put again this often, as Cilium does.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

/// What must now be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Run the transaction and answer with [`Core::handle_outcome`].
    Try(Attempt),
    /// Delete this node's slave key of the labels.
    Forget(Labels),
    /// Tell the requester.
    Grant(Labels, Grant),
    /// Nobody asks for the labels any more.
    Withdraw(Labels),
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The labels.
    pub labels: Labels,
    /// The number to take.
    pub number: NumericIdentity,
    /// What must hold of the number.
    pub mode: Mode,
    /// What must hold of the nodes that use the labels. Their numbers count, not the last one made: Cilium takes a new one when
    /// nobody uses the labels, whatever numbers have them still.
    pub users: Users,
}

/// Who uses a label set, and with which number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// No node.
    Nobody,
    /// At least one, and all with the attempt's number.
    All,
    /// Some with other numbers, and this slave key with the attempt's.
    One(Bytes),
}

/// What an attempt assumes of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The number is free.
    New,
    /// The number has these labels.
    Known,
    /// The number's master key is gone although nodes use it: put it back.
    Recreate,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The keys are there.
    Done,
    /// Somebody holds a lock on the labels or the number.
    Locked,
    /// The number is not free, or was freed a short while ago.
    Taken,
    /// The labels are used otherwise: these numbers by these slave keys.
    Users(Vec<(NumericIdentity, Bytes)>),
    /// The number does not have these labels.
    Different,
    /// The number's master key is not there, although our table still shows it: a store that was wiped.
    Missing,
    /// The store did not answer, or refused.
    Failed(String),
}

/// The label sets of this node.
pub struct Core {
    range: RangeInclusive<u32>,
    sets: BTreeMap<Labels, Set>,
    /// The sets by the number that they were granted.
    granted: BTreeMap<NumericIdentity, Labels>,
    /// How often [`Core::held`] has changed.
    held_version: u64,
    /// The sets that wait, or whose keys are to be put again, by when.
    timers: BTreeSet<(Instant, Labels)>,
    /// The numbers that the store has, and their labels.
    known: BTreeMap<NumericIdentity, (i64, Labels)>,
    by_labels: BTreeMap<Labels, BTreeSet<(i64, NumericIdentity)>>,
    synced: bool,
    /// No number was free when we last looked, and none has become free since: looking at all of them again is in vain.
    exhausted: bool,
    random: u64,
    effects: VecDeque<Effect>,
}

struct Set {
    requested: bool,
    phase: Phase,
    /// The number in use, once granted; it stays while another one is sought.
    granted: Option<NumericIdentity>,
    failures: u32,
    /// A slave key names this number although its master key is not there.
    orphan: Option<NumericIdentity>,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Before the first list of the store.
    Unsynced,
    /// A transaction is out.
    Trying(Attempt),
    /// The keys are there; our own watch has yet to show the number.
    Confirming(NumericIdentity),
    /// Until then.
    Waiting(Instant),
    /// In use; its keys are put again then.
    Held(NumericIdentity, Instant),
}

// === impl Phase ===

impl Phase {
    /// When it ends by itself.
    fn timer(&self) -> Option<Instant> {
        match self {
            Self::Waiting(at) | Self::Held(_, at) => Some(*at),
            _ => None,
        }
    }
}

// === impl Core ===

impl Core {
    /// A node that may take numbers of `range`; `seed` decides which.
    pub fn new(range: RangeInclusive<u32>, seed: u64) -> Self {
        Self {
            range,
            sets: BTreeMap::new(),
            granted: BTreeMap::new(),
            held_version: 0,
            timers: BTreeSet::new(),
            known: BTreeMap::new(),
            by_labels: BTreeMap::new(),
            synced: false,
            exhausted: false,
            random: seed | 1,
            effects: VecDeque::new(),
        }
    }

    /// A number that this node held in an earlier run: granted at once, verified when the store answers.
    pub fn handle_restored(&mut self, labels: Labels, number: NumericIdentity) {
        let set = Set { requested: false, phase: Phase::Unsynced, granted: Some(number), failures: 0, orphan: None };
        self.granted.insert(number, labels.clone());
        self.sets.insert(labels, set);
    }

    /// An endpoint uses the labels.
    pub fn handle_request(&mut self, now: Instant, labels: Labels) {
        let fresh = || Set { requested: true, phase: Phase::Unsynced, granted: None, failures: 0, orphan: None };
        let set = self.sets.entry(labels.clone()).or_insert_with(fresh);
        set.requested = true;
        if let Some(number) = set.granted {
            self.effects.push_back(Effect::Grant(labels.clone(), Grant::Identity(number)));
        }
        if self.synced && matches!(set.phase, Phase::Unsynced) {
            self.start(now, &labels);
        }
    }

    /// No endpoint uses the labels any more.
    pub fn handle_release(&mut self, labels: &Labels) {
        let Some(set) = self.sets.get_mut(labels) else { return };
        self.exhausted = false;
        set.requested = false;
        // A transaction that is out may still put the slave key: it is forgotten when the answer is in.
        if !matches!(set.phase, Phase::Trying(_)) {
            self.drop_set(labels);
            self.effects.push_back(Effect::Forget(labels.clone()));
        }
        self.effects.push_back(Effect::Withdraw(labels.clone()));
    }

    /// The store shows a number with labels.
    pub fn handle_known(&mut self, now: Instant, number: NumericIdentity, labels: Labels, create_revision: i64) {
        self.unlearn(number);
        self.by_labels.entry(labels.clone()).or_default().insert((create_revision, number));
        self.known.insert(number, (create_revision, labels.clone()));
        if self.sets.contains_key(&labels) {
            self.look_again(now, &labels);
        }
        if let Some(held) = self.granted.get(&number).filter(|held| **held != labels).cloned() {
            tracing::error!(%number, ours = %held, theirs = %labels, "identity was given to other labels: taking another");
            self.set_granted(&held, None);
            self.start(now, &held);
        }
    }

    /// The store has lost a number.
    pub fn handle_unknown(&mut self, now: Instant, number: NumericIdentity) {
        let Some(labels) = self.unlearn(number) else { return };
        let held = self.sets.get(&labels).is_some_and(|set| set.granted == Some(number));
        if held {
            self.attempt(labels, number, Mode::Recreate, Users::All);
        } else if self.sets.contains_key(&labels) {
            self.look_again(now, &labels);
        }
    }

    /// Every number that the store had at the start was shown.
    pub fn handle_synced(&mut self, now: Instant) {
        if std::mem::replace(&mut self.synced, true) {
            return;
        }
        let waiting: Vec<Labels> = self
            .sets
            .iter()
            .filter(|(_, set)| set.phase == Phase::Unsynced)
            .map(|(labels, _)| labels.clone())
            .collect();
        for labels in waiting {
            if self.sets.get(&labels).is_some_and(|set| set.requested) {
                self.start(now, &labels);
            }
        }
    }

    /// The slave key of the labels went with its lease, or the store may be another one: keys are put again.
    pub fn handle_doubt(&mut self, now: Instant, labels: &Labels) {
        if let Some(Phase::Held(number, _)) = self.sets.get(labels).map(|set| set.phase.clone()) {
            self.set_phase(labels, Phase::Held(number, now));
        }
        self.handle_timeout(now);
    }

    /// The answer to [`Effect::Try`].
    pub fn handle_outcome(&mut self, now: Instant, attempt: Attempt, outcome: Outcome) {
        let labels = attempt.labels.clone();
        let Some(set) = self.sets.get_mut(&labels) else { return };
        if set.phase != Phase::Trying(attempt.clone()) {
            return;
        }
        if !set.requested {
            self.drop_set(&labels);
            self.effects.push_back(Effect::Forget(labels));
            return;
        }
        match outcome {
            Outcome::Done => {
                set.failures = 0;
                set.orphan = None;
                self.set_phase(&labels, Phase::Confirming(attempt.number));
                self.look_again(now, &labels);
            }
            Outcome::Failed(reason) => {
                if set.granted.is_none() {
                    self.effects.push_back(Effect::Grant(labels.clone(), Grant::Failed(reason)));
                }
                self.back_off(now, &labels);
            }
            Outcome::Users(users) => self.follow(now, attempt, &users),
            // Whoever uses the number puts it back; the transaction sees to it that it is still free.
            Outcome::Missing => self.attempt(labels, attempt.number, Mode::Recreate, Users::All),
            Outcome::Taken | Outcome::Different | Outcome::Locked => self.back_off(now, &labels),
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let later = self.timers.split_off(&(now + Duration::from_nanos(1), Labels::default()));
        let due: Vec<Labels> =
            std::mem::replace(&mut self.timers, later).into_iter().map(|(_, labels)| labels).collect();
        for labels in due {
            self.start(now, &labels);
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The numbers in use, for the file that outlives us.
    pub fn held(&self) -> impl Iterator<Item = (&Labels, NumericIdentity)> {
        self.sets.iter().filter_map(|(labels, set)| Some((labels, set.granted?)))
    }

    /// Another number when [`held`](Self::held) says something else.
    pub fn held_version(&self) -> u64 {
        self.held_version
    }

    /// Begins, or begins again, to look for a number.
    fn start(&mut self, now: Instant, labels: &Labels) {
        let Some(set) = self.sets.get(labels) else { return };
        let held = set.granted.filter(|number| self.known.get(number).is_some_and(|(_, of)| of == labels));
        if let Some(number) = held.or_else(|| self.youngest(labels)) {
            self.attempt(labels.clone(), number, Mode::Known, Users::All);
        } else if let Some(number) = set.granted.or(set.orphan) {
            self.attempt(labels.clone(), number, Mode::Recreate, Users::All);
        } else if let Some(number) = self.pick(labels, set.failures) {
            self.attempt(labels.clone(), number, Mode::New, Users::Nobody);
        } else {
            let (first, last) = (self.range.start(), self.range.end());
            let reason = format!("every identity from {first} to {last} is in use: delete unused label sets");
            self.effects.push_back(Effect::Grant(labels.clone(), Grant::Failed(reason)));
            self.back_off(now, labels);
        }
    }

    /// The labels are not used as an attempt took it: it is made again for the number that they are used with. Of several
    /// the oldest counts.
    fn follow(&mut self, now: Instant, failed: Attempt, users: &[(NumericIdentity, Bytes)]) {
        let labels = failed.labels.clone();
        let age = |number: NumericIdentity| {
            self.known.get(&number).filter(|(_, of)| *of == labels).map(|(revision, _)| (*revision, number))
        };
        let oldest = users.iter().filter_map(|(number, key)| Some((age(*number)?, key))).min_by_key(|(age, _)| *age);
        let one = |number: NumericIdentity, key: &Bytes| match users.iter().all(|(other, _)| *other == number) {
            true => Users::All,
            false => Users::One(key.clone()),
        };
        let next = match (oldest, users.first()) {
            (Some(((_, number), key)), _) => Attempt { number, mode: Mode::Known, users: one(number, key), labels },
            (None, None) => Attempt { users: Users::Nobody, ..failed.clone() },
            // Our watch may be about to show its master key.
            (None, Some((number, key))) => {
                let set = self.sets.get_mut(&labels);
                let again = set.is_some_and(|set| set.orphan.replace(*number) == Some(*number));
                if !again {
                    return self.back_off(now, &labels);
                }
                Attempt { number: *number, mode: Mode::Recreate, users: one(*number, key), labels }
            }
        };
        match next == failed {
            // More users than were looked at.
            true => self.back_off(now, &next.labels),
            false => self.attempt(next.labels, next.number, next.mode, next.users),
        }
    }

    fn attempt(&mut self, labels: Labels, number: NumericIdentity, mode: Mode, users: Users) {
        let Some(set) = self.sets.get(&labels) else { return };
        let attempt = Attempt { labels: labels.clone(), number, mode, users };
        if set.phase != Phase::Trying(attempt.clone()) {
            self.set_phase(&labels, Phase::Trying(attempt.clone()));
            self.effects.push_back(Effect::Try(attempt));
        }
    }

    /// What the store shows of the labels may have changed what is right.
    fn look_again(&mut self, now: Instant, labels: &Labels) {
        let youngest = self.youngest(labels);
        let is_ours = |number| self.known.get(&number).is_some_and(|(_, of)| of == labels);
        let confirmed = match self.sets.get(labels).map(|set| &set.phase) {
            Some(Phase::Confirming(number)) => Some(*number).filter(|number| is_ours(*number)),
            Some(Phase::Waiting(_)) => {
                if let Some(number) = youngest {
                    self.attempt(labels.clone(), number, Mode::Known, Users::All);
                }
                None
            }
            _ => None,
        };
        if let Some(number) = confirmed {
            self.set_phase(labels, Phase::Held(number, now + KEEP_ALIVE));
            self.set_granted(labels, Some(number));
            self.effects.push_back(Effect::Grant(labels.clone(), Grant::Identity(number)));
        }
    }

    /// Of several numbers that were left behind the last one made: Cilium's allocators remember that one for the labels, and
    /// take it without asking who uses which.
    fn youngest(&self, labels: &Labels) -> Option<NumericIdentity> {
        let numbers = self.by_labels.get(labels)?;
        numbers.iter().rev().map(|(_, number)| *number).find(|number| self.range.contains(&number.get()))
    }

    fn unlearn(&mut self, number: NumericIdentity) -> Option<Labels> {
        let (revision, labels) = self.known.remove(&number)?;
        self.exhausted = false;
        if let Some(numbers) = self.by_labels.get_mut(&labels) {
            numbers.remove(&(revision, number));
            if numbers.is_empty() {
                self.by_labels.remove(&labels);
            }
        }
        Some(labels)
    }

    fn back_off(&mut self, now: Instant, labels: &Labels) {
        let Some(set) = self.sets.get_mut(labels) else { return };
        let wait = BACKOFF.saturating_mul(1 << set.failures.min(8)).min(MAX_BACKOFF);
        set.failures += 1;
        self.set_phase(labels, Phase::Waiting(now + wait));
    }

    fn set_phase(&mut self, labels: &Labels, phase: Phase) {
        let Some(set) = self.sets.get_mut(labels) else { return };
        let before = std::mem::replace(&mut set.phase, phase);
        let after = set.phase.timer();
        if let Some(at) = before.timer() {
            self.timers.remove(&(at, labels.clone()));
        }
        if let Some(at) = after {
            self.timers.insert((at, labels.clone()));
        }
    }

    fn set_granted(&mut self, labels: &Labels, number: Option<NumericIdentity>) {
        let Some(set) = self.sets.get_mut(labels) else { return };
        if set.granted != number {
            self.held_version += 1;
        }
        if let Some(before) = std::mem::replace(&mut set.granted, number)
            && self.granted.get(&before) == Some(labels)
        {
            self.granted.remove(&before);
        }
        if let Some(number) = number {
            self.granted.insert(number, labels.clone());
        }
    }

    fn drop_set(&mut self, labels: &Labels) {
        self.set_granted(labels, None);
        self.set_phase(labels, Phase::Unsynced);
        self.sets.remove(labels);
    }
}

#[cfg(test)]
mod tests;
