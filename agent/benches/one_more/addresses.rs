//! The cores of an import, of the merge and of the datapath over their tables, as the drivers run them.

use std::time::Instant;

use datapath::Reconciler;
use kvstore::Event;
use model::{ClusterId, ClusterIdLayout, ClusterName, Source};
use reflector::{Decode, Effect, IpDecode};
use statedb::{Changes, Reader, Row, Writer, table};
use tables::{Identity, IpClaim, IpcacheRow, Origin, PolicyProgress};

use crate::kernel::Forgetful;

#[path = "../../../reflector/benches/list/entries.rs"]
pub(crate) mod entries;

pub(crate) struct Addresses {
    import: reflector::Core<IpDecode>,
    ips: (Writer<IpClaim>, Reader<IpClaim>),
    changes: Changes<IpClaim>,
    merge: ipcache::Core,
    identities: Reader<Identity>,
    ipcache: (Writer<IpcacheRow>, Reader<IpcacheRow>),
    datapath: Reconciler<Forgetful>,
}

impl Addresses {
    pub(crate) fn new() -> Self {
        let west: ClusterName = "west".parse().unwrap();
        let decode = IpDecode {
            origin: Origin::new(Source::ClusterMesh, west),
            cluster_id: ClusterId::try_new(2).unwrap(),
            layout: ClusterIdLayout::Max255,
            border: None,
        };
        let (ips, ipcache) = (table(), table());
        let tables = datapath::Tables {
            endpoints: table().1,
            ipcache: ipcache.1.clone(),
            policy: table().1,
            progress: table().1,
            frontends: table().1,
        };
        Self {
            import: reflector::Core::new(decode, wire::ip::prefix(wire::Source::State), usize::MAX),
            changes: ips.1.changes(),
            ips,
            merge: ipcache::Core::new(Vec::new()),
            identities: table().1,
            datapath: Reconciler::new(Forgetful, &tables, table().0),
            ipcache,
        }
    }
}

impl crate::Agent for Addresses {
    fn handle(&mut self, events: Vec<Event>) {
        self.import.handle_events(Instant::now(), events, &self.ips.1.snapshot());
        let effects: Vec<_> = std::iter::from_fn(|| self.import.poll_effect()).collect();
        let decode = self.import.decode();
        self.ips.0.write(|txn| {
            for effect in effects {
                match effect {
                    Effect::Upsert(row) if txn.get(&row.key()).is_none_or(|there| decode.owns(there)) => {
                        txn.upsert(row);
                    }
                    Effect::Delete(key) => drop(txn.delete(&key)),
                    other => panic!("every event is a valid one: {other:?}"),
                }
            }
        });
        let (changed, all) = self.changes.drain_with_snapshot();
        for change in &changed {
            self.merge.handle_import(change.row().entry.prefix);
        }
        let ops = self.merge.resolve(
            &all,
            &self.identities.snapshot(),
            &PolicyProgress::default(),
            &self.ipcache.1.snapshot(),
        );
        drop(all);
        self.ipcache.0.write(|txn| {
            for op in ops {
                match op {
                    ipcache::RowOp::Upsert(row) => drop(txn.upsert(row)),
                    ipcache::RowOp::Delete(prefix) => drop(txn.delete(&prefix)),
                }
            }
        });
        self.datapath.round().unwrap();
    }

    fn known(&self) -> usize {
        self.ipcache.1.snapshot().len()
    }
}
