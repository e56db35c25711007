//! The rules of identity numbers, held against everything that ever happened to a store: each violation is laid to the
//! write that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, EventType, GetOptions, WatchOptions};

const BASE: &str = "cilium/state/identities/v1/";
/// Our collector notes a number here in the transaction that deletes it.
const FREED: &str = "/identity/freed/";

/// One change of one key.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) revision: i64,
    pub(super) key: String,
    /// `None`: it was deleted.
    pub(super) value: Option<String>,
}

/// Whose write it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Ours,
    Cilium,
}

/// A rule that a write broke.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) side: Side,
    revision: i64,
    what: String,
    labels: String,
}

/// What the writes made of the store.
#[derive(Default)]
struct State {
    /// Labels by number.
    masters: BTreeMap<u32, String>,
    /// Numbers by labels and node.
    users: BTreeMap<String, BTreeMap<String, u32>>,
}

/// How much happened.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) writes: usize,
    pub(super) label_sets: usize,
    pub(super) numbers: usize,
    pub(super) users_of: BTreeMap<&'static str, usize>,
    pub(super) collected_by: BTreeMap<&'static str, usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {}, {:?}: {}", self.revision, self.side, self.what)
    }
}

/// Everything that happened below the identities, from the store's first revision on.
pub(super) async fn read(client: &mut Client) -> Result<Vec<Write>> {
    let now = client.get("cilium/", None).await?.header().context("a header")?.revision();
    // Somebody must write for the history to have an end.
    client.put(format!("{BASE}end"), "", None).await?;
    let options = WatchOptions::new().with_all_keys().with_start_revision(1);
    let mut stream = client.watch("", Some(options)).await?;
    let mut writes = Vec::new();
    while let Some(message) = stream.message().await? {
        for event in message.events() {
            let kv = event.kv().context("an event has a key")?;
            if kv.mod_revision() > now {
                whole(client, &writes, now).await?;
                return Ok(writes);
            }
            let value =
                (event.event_type() == EventType::Put).then(|| String::from_utf8_lossy(kv.value()).into_owned());
            let key = String::from_utf8_lossy(kv.key()).into_owned();
            if !key.starts_with(BASE) && !key.contains(FREED) {
                continue;
            }
            writes.push(Write { revision: kv.mod_revision(), key, value });
        }
    }
    anyhow::bail!("the watch has ended")
}

/// What the writes made is what the store had at their end: a history that lacks one would accuse the wrong writer.
async fn whole(client: &mut Client, writes: &[Write], now: i64) -> Result<()> {
    let listed = client.get(BASE, Some(GetOptions::new().with_prefix().with_revision(now))).await?;
    let listed: BTreeMap<_, _> = listed.kvs().iter().map(|kv| (kv.key().to_vec(), kv.mod_revision())).collect();
    let mut made = BTreeMap::new();
    for write in writes.iter().filter(|write| write.key.starts_with(BASE)) {
        match write.value {
            Some(_) => drop(made.insert(write.key.clone().into_bytes(), write.revision)),
            None => drop(made.remove(write.key.as_bytes())),
        }
    }
    let differs = made.iter().filter(|(key, revision)| listed.get(*key) != Some(revision));
    let differs = differs.chain(listed.iter().filter(|(key, _)| !made.contains_key(*key)));
    let differs: Vec<_> = differs.map(|(key, at)| format!("{} {at}", String::from_utf8_lossy(key))).take(5).collect();
    ensure!(differs.is_empty(), "the history is not what the store has: {differs:#?}");
    Ok(())
}

/// The violations, in their order. `ours`: how our nodes' addresses begin.
pub(super) fn judge(writes: &[Write], ours: &str) -> (Vec<Violation>, Totals) {
    let mut state = State::default();
    let mut violations = Vec::new();
    let (mut sets, mut numbers, mut totals) = (BTreeSet::new(), BTreeSet::new(), Totals::default());
    for revision in writes.chunk_by(|a, b| a.revision == b.revision) {
        // Only a slave key tells who wrote; our master keys come with one in the same transaction.
        let suffixes = || revision.iter().filter_map(|write| user(&write.key)).map(|(_, node)| node);
        let collects = revision.iter().any(|write| write.key.contains(FREED) && write.value.is_some());
        let is_ours = collects || suffixes().any(|node| node.starts_with(ours));
        let side = if is_ours { Side::Ours } else { Side::Cilium };
        for write in revision {
            totals.writes += 1;
            if write.value.is_none() && write.key.strip_prefix(BASE).is_some_and(|rest| rest.starts_with("id/")) {
                *totals.collected_by.entry(if side == Side::Ours { "ours" } else { "Cilium's" }).or_default() += 1;
            }
            let found = state.apply(write);
            violations.extend(found.into_iter().map(|(labels, what)| Violation {
                side,
                revision: write.revision,
                what,
                labels,
            }));
            if let (Some((labels, _)), Some(number)) = (user(&write.key), &write.value) {
                sets.insert(labels.to_owned());
                numbers.insert(number.clone());
                *totals.users_of.entry(if side == Side::Ours { "ours" } else { "Cilium's" }).or_default() += 1;
            }
        }
        violations.extend(state.settle(revision).into_iter().map(|(labels, what)| Violation {
            side,
            revision: revision[0].revision,
            what,
            labels,
        }));
    }
    (totals.label_sets, totals.numbers) = (sets.len(), numbers.len());
    (violations, totals)
}

/// What happened to the labels of a violation until then, a line a write: which write led to it can be read there.
pub(super) fn trail(writes: &[Write], violation: &Violation) -> Vec<String> {
    let labels = violation.labels.as_str();
    let until = writes.iter().take_while(|write| write.revision <= violation.revision);
    // A number that goes has no labels any more: those that had them are kept in mind.
    let mut numbers = BTreeSet::new();
    let mut lines = Vec::new();
    for write in until {
        let Some(rest) = write.key.strip_prefix(BASE) else { continue };
        let mut of_them = rest.contains(labels);
        if let Some(number) = rest.strip_prefix("id/") {
            of_them = numbers.contains(number) || write.value.as_deref() == Some(labels);
            if of_them {
                numbers.insert(number.to_owned());
            }
        }
        if of_them {
            let key = rest.replace(labels, "L");
            let value = write.value.as_deref().map_or("gone".to_owned(), |value| value.replace(labels, "L"));
            lines.push(format!("{} {key} = {value}", write.revision));
        }
    }
    lines
}

/// Labels and node of a slave key.
fn user(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(BASE)?.strip_prefix("value/")?.rsplit_once('/')
}

impl State {
    /// Follows one write; what was wrong about it alone.
    fn apply(&mut self, write: &Write) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        let number = write.key.strip_prefix(BASE).and_then(|rest| rest.strip_prefix("id/")?.parse().ok());
        match (number, user(&write.key), &write.value) {
            (Some(number), _, Some(labels)) => {
                let before = self.masters.insert(number, labels.clone());
                if let Some(before) = before.filter(|before| before != labels) {
                    wrong.push((labels.clone(), format!("number {number} had {before} and was given to {labels}")));
                }
                let others =
                    self.users.iter().filter(|(of, users)| *of != labels && users.values().any(|n| *n == number));
                wrong.extend(others.map(|(of, _)| {
                    (labels.clone(), format!("number {number} is used by {of} and was given to {labels}"))
                }));
            }
            (Some(number), _, None) => {
                let labels = self.masters.remove(&number).unwrap_or_default();
                let user = self.users.get(&labels).and_then(|users| users.iter().find(|(_, n)| **n == number));
                if let Some((node, _)) = user {
                    wrong.push((labels.clone(), format!("number {number} went while {node} uses it for {labels}")));
                }
            }
            (None, Some((labels, node)), Some(value)) => {
                let Ok(number) = value.parse() else {
                    return vec![(labels.to_owned(), format!("{node} uses {labels} with {value}, which is no number"))];
                };
                let users = self.users.entry(labels.to_owned()).or_default();
                users.insert(node.to_owned(), number);
                // Who joins one of several numbers makes nothing worse.
                let joined = users.iter().any(|(of, n)| *of != node && *n == number);
                let other = users.iter().find(|(of, n)| !joined && *of != node && **n != number);
                if let Some((of, n)) = other {
                    wrong.push((labels.to_owned(), format!("{node} uses {labels} with {number}, {of} with {n}")));
                }
            }
            (None, Some((labels, node)), None) => {
                if let Some(users) = self.users.get_mut(labels) {
                    users.remove(node);
                }
            }
            _ => {}
        }
        wrong
    }

    /// What was wrong when a whole transaction was applied: a use of a number that has other labels.
    fn settle(&self, writes: &[Write]) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        for write in writes.iter().filter(|write| write.value.is_some()) {
            let Some((labels, node)) = user(&write.key) else { continue };
            let number = self.users.get(labels).and_then(|users| users.get(node));
            let has = number.and_then(|number| self.masters.get(number));
            if let Some(has) = has.filter(|has| *has != labels) {
                wrong.push((labels.to_owned(), format!("{node} uses {labels} with a number of {has}")));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_violation_is_laid_to_the_write_that_made_it() {
        let write = |revision, key: &str, value: &str| Write {
            revision,
            key: format!("{BASE}{key}"),
            value: (!value.is_empty()).then(|| value.to_owned()),
        };
        let judged = |writes: &[Write]| {
            judge(writes, "172.21.").0.iter().map(|found| (found.side, found.revision)).collect::<Vec<_>>()
        };
        let honest = [
            write(1, "id/5", "k8s:a=1;"),
            write(1, "value/k8s:a=1;/172.21.1.1", "5"),
            write(2, "value/k8s:a=1;/172.20.1.1", "5"),
            write(3, "value/k8s:a=1;/172.21.1.1", ""),
            write(4, "value/k8s:a=1;/172.20.1.1", ""),
            write(5, "id/5", ""),
            write(6, "id/5", "k8s:b=1;"),
        ];
        assert_eq!(judged(&honest), []);
        let with = |more: Write| judged(&[&honest[..2], &[more]].concat());
        assert_eq!(with(write(9, "value/k8s:a=1;/172.20.1.1", "6")), [(Side::Cilium, 9)], "two numbers");
        assert_eq!(with(write(9, "value/k8s:a=1;/172.21.1.2", "6")), [(Side::Ours, 9)], "two numbers of ours");
        assert_eq!(with(write(9, "value/k8s:b=1;/172.21.1.2", "5")), [(Side::Ours, 9)], "a number of others");
        assert_eq!(with(write(9, "id/5", "k8s:b=1;")), [(Side::Cilium, 9), (Side::Cilium, 9)], "two label sets");
        let split = write(9, "value/k8s:a=1;/172.20.1.1", "6");
        let joins = write(10, "value/k8s:a=1;/172.21.1.2", "6");
        assert_eq!(judged(&[&honest[..2], &[split, joins]].concat()), [(Side::Cilium, 9)], "the second joins");
        assert_eq!(with(write(9, "id/5", "")), [(Side::Cilium, 9)], "a number in use is collected");
        let freed = Write { revision: 9, key: format!("causeway/v1/east{FREED}5"), value: Some(String::new()) };
        assert_eq!(judged(&[&honest[..2], &[write(9, "id/5", ""), freed]].concat()), [(Side::Ours, 9)], "by ours");
        let found = judge(&[&honest[..2], &[write(9, "id/5", "")]].concat(), "172.21.").0;
        let trail = trail(&[&honest[..2], &[write(9, "id/5", "")]].concat(), &found[0]);
        assert_eq!(trail, ["1 id/5 = L", "1 value/L/172.21.1.1 = 5", "9 id/5 = gone"]);
        // Ours in one transaction.
        let ours = [write(9, "id/5", "k8s:b=1;"), write(9, "value/k8s:b=1;/172.21.1.2", "5")];
        assert!(judged(&[&honest[..2], &ours].concat()).iter().all(|found| *found == (Side::Ours, 9)));
    }
}
