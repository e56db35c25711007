//! What one more address costs an agent that already knows N: event, decode, rules, table `ips`, merge, table
//! `ipcache`. `-- --entries N --extra M` does the work for callgrind, which counts the instructions below
//! `additional_entry`; `cargo xtask bench one-more` runs both.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::time::Instant;

use kvstore::Event;
use model::{ClusterId, ClusterIdLayout, ClusterName, Source};
use reflector::{Decode, Effect, IpDecode};
use statedb::{Changes, Reader, Row, Writer, table};
use tables::{Identity, IpClaim, IpcacheRow, Origin, PolicyProgress};

#[path = "../../reflector/benches/list/entries.rs"]
mod entries;

/// The cores of an import and of the merge over their tables, as the drivers run them.
struct Agent {
    import: reflector::Core<IpDecode>,
    ips: (Writer<IpClaim>, Reader<IpClaim>),
    changes: Changes<IpClaim>,
    merge: ipcache::Core,
    identities: Reader<Identity>,
    ipcache: (Writer<IpcacheRow>, Reader<IpcacheRow>),
    /// The datapath's position: without a reader the table would not have to remember anything.
    realised: Changes<IpcacheRow>,
}

impl Agent {
    fn new() -> Self {
        let west: ClusterName = "west".parse().unwrap();
        let decode = IpDecode {
            origin: Origin::new(Source::ClusterMesh, west),
            cluster_id: ClusterId::try_new(2).unwrap(),
            layout: ClusterIdLayout::Max255,
            border: None,
        };
        let ips = table();
        let ipcache = table();
        Self {
            import: reflector::Core::new(decode, wire::ip::prefix(wire::Source::State), usize::MAX),
            changes: ips.1.changes(),
            ips,
            merge: ipcache::Core::new(Vec::new()),
            identities: table().1,
            realised: ipcache.1.changes(),
            ipcache,
        }
    }

    fn handle(&mut self, events: Vec<Event>) {
        self.import.handle_events(Instant::now(), events, &self.ips.1.snapshot());
        let effects: Vec<_> = std::iter::from_fn(|| self.import.poll_effect()).collect();
        let decode = self.import.decode();
        self.ips.0.write(|txn| {
            for effect in effects {
                let Effect::Upsert(row) = effect else { panic!("every event is a valid entry: {effect:?}") };
                if txn.get(&row.key()).is_none_or(|there| decode.owns(there)) {
                    txn.upsert(row);
                }
            }
        });
        let (changed, all) = self.changes.drain_with_snapshot();
        for change in &changed {
            self.merge.handle_import(change.row().entry.prefix);
        }
        let ops = self.merge.resolve(&all, &self.identities.snapshot(), &PolicyProgress::default());
        drop(all);
        self.ipcache.0.write(|txn| {
            for op in ops {
                let ipcache::RowOp::Upsert(row) = op else { panic!("nothing leaves") };
                txn.upsert(row);
            }
        });
        self.realised.drain();
    }
}

/// The value that follows a flag.
fn flag(name: &str, default: u64) -> u64 {
    let words: Vec<String> = std::env::args().collect();
    let at = words.iter().position(|word| word == name);
    at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(default)
}

/// A function of its own, so that callgrind can tell it from what comes before.
#[inline(never)]
fn additional_entry(agent: &mut Agent, event: Event) {
    agent.handle(vec![event]);
}

fn main() {
    let (entries, extra) = (flag("--entries", 1000), flag("--extra", 100));
    let keys = entries::keys(entries + extra);
    // The additional ones lie evenly among the others, wherever in the order of keys that is.
    let step = (entries + extra).checked_div(extra).unwrap_or(u64::MAX);
    let (mut first, mut additional) = (Vec::new(), Vec::new());
    for (at, key) in (0..).zip(&keys) {
        let event = Event::Created(entries::key_value(key, at));
        let chosen = at % step == step / 2 && (additional.len() as u64) < extra;
        if chosen { additional.push(event) } else { first.push(event) }
    }
    let mut agent = Agent::new();
    agent.handle(first);
    let started = Instant::now();
    for event in additional {
        additional_entry(&mut agent, event);
    }
    let nanos = started.elapsed().as_nanos() as u64 / extra.max(1);
    assert_eq!(agent.ipcache.1.snapshot().len() as u64, entries + extra, "every entry becomes a row");
    println!(r#"{{"name":"time of one more entry among {entries}","value":{nanos},"unit":"ns"}}"#);
}
