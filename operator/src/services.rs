//! Services that are global and shared become keys.

use std::collections::BTreeSet;

use loadbalancer::global_service;
use model::{ClusterId, ClusterName, ServiceName};
use statedb::{Initializer, Reader, Row, Writer};
use tables::{BackendSet, Export, ServiceRow};

pub(crate) struct Inputs {
    pub(crate) services: Reader<ServiceRow>,
    pub(crate) backends: Reader<BackendSet>,
    pub(crate) exports: Writer<Export>,
    /// Of our own, on the exports.
    pub(crate) initializer: Initializer<Export>,
    pub(crate) cluster: ClusterName,
    pub(crate) cluster_id: ClusterId,
    pub(crate) ready: runtime::Ready,
}

/// Keeps the exports until the future is dropped. Nothing is exported before every source of services and backends has
/// spoken: a service with half of its backends would be believed.
pub(crate) async fn run(inputs: Inputs) {
    let Inputs { services, backends, exports, initializer, cluster, cluster_id, ready } = inputs;
    let mut first = Some((initializer, ready));
    let (mut service_changes, mut backend_changes) = (services.changes(), backends.changes());
    let mut touched: BTreeSet<ServiceName> = BTreeSet::new();
    loop {
        let (changed, all_services) = service_changes.drain_with_snapshot();
        touched.extend(changed.iter().map(|change| change.row().key()));
        let (changed, all_backends) = backend_changes.drain_with_snapshot();
        touched.extend(changed.iter().map(|change| change.row().service.clone()));
        if first.is_none() || all_services.is_initialised() && all_backends.is_initialised() {
            exports.write(|txn| {
                for name in std::mem::take(&mut touched) {
                    let key = wire::service::key(&cluster, &name);
                    let text = name.to_string();
                    let sets = all_backends.by("service", text.as_str()).map(|set| &**set);
                    let exported = all_services
                        .get(&name)
                        .filter(|_| cluster_id != ClusterId::NONE)
                        .and_then(|row| global_service(&row.service, sets, &cluster, cluster_id));
                    match exported {
                        Some(service) => {
                            let value = wire::service::encode(&service).into();
                            txn.upsert(Export { key: key.into(), value, leased: false });
                        }
                        None => drop(txn.delete(&key.into())),
                    }
                }
            });
            if let Some((initializer, ready)) = first.take() {
                initializer.done();
                ready.ready();
            }
        }
        tokio::select! {
            () = service_changes.wait() => {}
            () = backend_changes.wait() => {}
        }
    }
}
