//! The tasks that run the choices over the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{ClusterName, L3n4Addr, ServiceName, Source};
use statedb::{Change, Initializer, Reader, Row, Snapshot, Writer};
use tables::{BackendSet, BackendSource, Frontend, Identity, IpClaim, RemoteService, RemoteSlice, ServiceRow};

use crate::{SelectorBackends, frontends};

/// What [`run_selector_backends`] reads and writes.
pub struct BackendInputs {
    /// Services.
    pub services: Reader<ServiceRow>,
    /// Addresses of the stores.
    pub ips: Reader<IpClaim>,
    /// Labels of identities.
    pub identities: Reader<Identity>,
    /// The outcome, and the slices that make it unnecessary.
    pub backends: Writer<BackendSet>,
    /// Our own cluster: only its addresses count.
    pub cluster: ClusterName,
    /// How long a start waits for the store before it goes on without its addresses; `None` for who writes the outcome
    /// there: half of the backends would be believed.
    pub patience: Option<Duration>,
}

/// What [`run_frontends`] reads and writes.
pub struct FrontendInputs {
    /// Services.
    pub services: Reader<ServiceRow>,
    /// Local backends by source.
    pub backends: Reader<BackendSet>,
    /// What remote clusters share.
    pub remote: Reader<RemoteService>,
    /// What those share that are read by endpoint slices.
    pub remote_slices: Reader<RemoteSlice>,
    /// The outcome.
    pub frontends: Writer<Frontend>,
}

/// Keeps the backends of services without EndpointSlices; runs until the future is dropped.
pub fn run_selector_backends(tables: BackendInputs) -> impl Future<Output = ()> + Send + 'static {
    // At once: who waits for complete tables must not look before it.
    let announced = tables.backends.announce("selector");
    select(tables, announced)
}

async fn select(tables: BackendInputs, announced: Initializer<BackendSet>) {
    let mut core = SelectorBackends::default();
    let mut services = tables.services.changes();
    let mut ips = tables.ips.changes();
    let mut identities = tables.identities.changes();
    let backends = tables.backends.reader();
    let mut slices = backends.changes();
    let mut announced = Some(announced);
    let grace = tables.patience.map(|patience| runtime::now() + patience);
    loop {
        let mut look_at: BTreeSet<ServiceName> = BTreeSet::new();
        let (changed, all_services) = services.drain_with_snapshot();
        look_at.extend(changed.iter().map(|change| change.row().key()));
        let is_slice = |change: &Change<BackendSet>| change.row().source != BackendSource::Selector;
        look_at
            .extend(slices.drain().iter().filter(|change| is_slice(change)).map(|change| change.row().service.clone()));
        let held = backends.snapshot();
        for name in look_at {
            let key = name.to_string();
            let sliced = held.by("service", key.as_str()).any(|set| set.source != BackendSource::Selector);
            let service = all_services.get(&name).filter(|_| !sliced).map(|row| row.service.clone());
            core.handle_service(name, service);
        }
        let (known_changes, known) = identities.drain_with_snapshot();
        let (changed, all_ips) = ips.drain_with_snapshot();
        // Restored addresses count until the store speaks: a service shall not shrink with a restart.
        let own = |claim: &IpClaim| {
            claim.origin.cluster == tables.cluster && matches!(claim.origin.source, Source::Kvstore | Source::Restored)
        };
        let mut touched: BTreeSet<_> = changed.iter().map(|change| change.row().entry.prefix).collect();
        for change in &known_changes {
            touched.extend(all_ips.by("identity", change.row().id.get()).map(|row| row.entry.prefix));
        }
        for prefix in touched {
            let claims = all_ips.range(|(key, _)| key.cmp(&prefix)).filter(|row| own(row));
            let best = claims.max_by_key(|row| row.origin.source);
            let entry = best.and_then(|row| Some((row.entry.clone(), known.get(&row.entry.identity)?.labels.clone())));
            core.handle_address(prefix, entry);
        }
        tables.backends.write(|txn| {
            for (name, set) in core.resolve() {
                match set {
                    Some(set) => drop(txn.upsert(set)),
                    None => drop(txn.delete(&(name, BackendSource::Selector))),
                }
            }
        });
        // Only our own store counts; what the disk remembers of it is as good as its first answer, but not some of its
        // rows: a list comes in pages.
        let restored = all_ips.iter().any(|row| own(row) && row.origin.source == Source::Restored);
        let answered = !all_ips.pending().chain(known.pending()).any(|source| source == tables::KVSTORE);
        let waited = grace.is_some_and(|grace| runtime::now() >= grace);
        if all_services.is_initialised()
            && (answered || restored || waited)
            && let Some(announced) = announced.take()
        {
            announced.done();
        }
        tokio::select! {
            () = services.wait() => {}
            () = ips.wait() => {}
            () = identities.wait() => {}
            () = slices.wait() => {}
            () = runtime::sleep_until(grace), if announced.is_some() && !waited => {}
        }
    }
}

/// Keeps the frontends; runs until the future is dropped.
///
/// Writes nothing before services and local backends are complete: a restarted agent must not empty what the kernel
/// still serves.
pub fn run_frontends(tables: FrontendInputs) -> impl Future<Output = ()> + Send + 'static {
    let announced = tables.frontends.announce("services");
    balance(tables, announced)
}

async fn balance(tables: FrontendInputs, announced: Initializer<Frontend>) {
    let mut announced = Some(announced);
    tables.services.wait_for(Snapshot::is_initialised).await;
    tables.backends.wait_for(Snapshot::is_initialised).await;
    let mut services = tables.services.changes();
    let mut backends = tables.backends.changes();
    let mut remote = tables.remote.changes();
    let mut slices = tables.remote_slices.changes();
    let mut of_slice = BTreeMap::new();
    let mut held: BTreeMap<ServiceName, BTreeSet<L3n4Addr>> = BTreeMap::new();
    loop {
        let mut look_at = BTreeSet::new();
        let (changed, all_services) = services.drain_with_snapshot();
        look_at.extend(changed.iter().map(|change| change.row().key()));
        let (changed, all_backends) = backends.drain_with_snapshot();
        look_at.extend(changed.iter().map(|change| change.row().service.clone()));
        let (changed, all_remote) = remote.drain_with_snapshot();
        look_at.extend(changed.iter().map(|change| change.row().service.name.clone()));
        let (changed, all_slices) = slices.drain_with_snapshot();
        for change in &changed {
            // A slice may have moved to another service.
            let now = matches!(change, Change::Upsert(_)).then(|| change.row().slice.service()).flatten();
            look_at.extend(now.clone());
            let key = change.row().key();
            look_at.extend(match now {
                Some(service) => of_slice.insert(key, service),
                None => of_slice.remove(&key),
            });
        }
        tables.frontends.write(|txn| {
            for name in look_at {
                let key = name.to_string();
                let made = all_services.get(&name).map(|row| {
                    let local = all_backends.by("service", key.as_str()).map(|set| &**set);
                    let shared = all_remote.by("service", key.as_str()).map(|row| &**row);
                    let sliced = all_slices.by("service", key.as_str()).map(|row| &**row);
                    frontends(&row.service, local, shared, sliced)
                });
                let made = made.unwrap_or_default();
                let now: BTreeSet<L3n4Addr> = made.iter().map(|frontend| frontend.addr).collect();
                let before = if now.is_empty() { held.remove(&name) } else { held.insert(name.clone(), now.clone()) };
                for addr in before.unwrap_or_default().difference(&now) {
                    // The address may have moved to another service meanwhile: its row is not ours to delete.
                    if txn.get(addr).is_some_and(|row| row.service == name) {
                        txn.delete(addr);
                    }
                }
                for frontend in made {
                    txn.upsert(frontend);
                }
            }
        });
        if all_services.is_initialised()
            && all_backends.is_initialised()
            && all_remote.is_initialised()
            && all_slices.is_initialised()
            && let Some(announced) = announced.take()
        {
            announced.done();
        }
        tokio::select! {
            () = services.wait() => {}
            () = backends.wait() => {}
            () = remote.wait() => {}
            () = slices.wait() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{IpEntry, NumericIdentity};
    use statedb::table;
    use tables::Origin;

    use super::*;

    /// Whether the backends are complete after a minute, with an address of this source and a store that goes on listing.
    async fn complete(source: Source, patience: Option<Duration>) -> bool {
        let ((ips, ip_reader), (identities, identity_reader)) = (table(), table::<Identity>());
        let (backends, reader) = table();
        let _listing = (ips.announce(tables::KVSTORE), identities.announce(tables::KVSTORE));
        let cluster: ClusterName = "east".parse().unwrap();
        let entry = IpEntry::new("10.0.0.7/32".parse().unwrap(), NumericIdentity::new(65_600));
        ips.upsert(IpClaim { entry, origin: Origin::new(source, cluster.clone()) });
        let inputs = BackendInputs {
            services: table().1,
            ips: ip_reader,
            identities: identity_reader,
            backends,
            cluster,
            patience,
        };
        let story = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            reader.snapshot().is_initialised()
        };
        tokio::select! {
            () = run_selector_backends(inputs) => unreachable!("it never ends"),
            complete = story => complete,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_list_is_not_all_backends_and_what_the_disk_remembers_is() {
        assert!(!complete(Source::Kvstore, None).await, "an operator waits for the whole list");
        assert!(complete(Source::Restored, None).await);
        assert!(complete(Source::Kvstore, Some(Duration::from_secs(10))).await, "an agent goes on in the end");
    }
}
