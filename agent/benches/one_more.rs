//! What one change costs an agent that already knows N: an address that comes, changes or goes, from event, decode, rules,
//! table `ips`, merge and table `ipcache` to the row of the kernel's map; an identity that comes, from event to policy.
//!
//! `-- --change added --entries N --count M` does the work for callgrind, which counts the instructions below
//! `one_change`; `cargo xtask bench control` runs them all.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

#[path = "one_more/addresses.rs"]
mod addresses;
#[path = "one_more/identities.rs"]
mod identities;
#[path = "one_more/kernel.rs"]
mod kernel;

use kvstore::Event;

/// The value that follows a flag.
fn flag(name: &str) -> Option<String> {
    let words: Vec<String> = std::env::args().collect();
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).cloned()
}

/// What handles events, and says how much it knows.
trait Agent {
    fn handle(&mut self, events: Vec<Event>);
    fn known(&self) -> usize;
}

/// A function of its own, so that callgrind can tell it from what comes before.
#[inline(never)]
fn one_change(agent: &mut impl Agent, event: Event) {
    agent.handle(vec![event]);
}

/// Every n-th, so that so many of all are chosen, wherever they lie in the order of keys.
fn chosen(at: u64, all: u64, count: u64) -> bool {
    let step = all / count;
    at % step == step / 2 && at / step < count
}

/// Half of the changes are not counted: they settle what the many left to the allocator of memory.
fn run(mut agent: impl Agent, first: Vec<Event>, mut changes: Vec<Event>, known: u64) {
    agent.handle(first);
    for event in changes.split_off(changes.len() / 2) {
        agent.handle(vec![event]);
    }
    for event in changes {
        one_change(&mut agent, event);
    }
    assert_eq!(agent.known() as u64, known, "every event is a valid one");
}

fn main() {
    let number = |name: &str, default: u64| flag(name).map_or(default, |text| text.parse().unwrap());
    // Of deletes, so many are not yet a mass delete.
    let (entries, extra) = (number("--entries", 1000), 2 * number("--count", 8));
    match flag("--change").as_deref().unwrap_or("added") {
        "identity" => {
            let all = entries + extra;
            let event = |at: u64| Event::Created(identities::key_value(at));
            let (changes, first) = (0..all).partition::<Vec<u64>, _>(|at| chosen(*at, all, extra));
            let events = |numbers: Vec<u64>| numbers.into_iter().map(event).collect();
            run(identities::Identities::new(), events(first), events(changes), all);
        }
        change => {
            let all = entries + if change == "added" { extra } else { 0 };
            let keys = addresses::entries::keys(all);
            let (mut first, mut changes) = (Vec::new(), Vec::new());
            for (at, key) in (0..).zip(&keys) {
                let kv = addresses::entries::key_value(key, at);
                if chosen(at, all, extra) {
                    let mut later = kv.clone();
                    (later.mod_revision, later.version) = (all as i64 + at as i64 + 2, 2);
                    match change {
                        "added" => {
                            changes.push(Event::Created(kv));
                            continue;
                        }
                        "changed" => {
                            // An identity of the same cluster.
                            later.value = addresses::entries::key_value(key, at + 7).value;
                            changes.push(Event::Modified(later));
                        }
                        "deleted" => changes.push(Event::Deleted { key: kv.key.clone(), revision: later.mod_revision }),
                        _ => panic!("no such change: {change}"),
                    }
                }
                first.push(Event::Created(kv));
            }
            let known = if change == "deleted" { all - extra } else { all };
            run(addresses::Addresses::new(), first, changes, known);
        }
    }
}
