//! What is imported of one cluster: a gate and an import for each of its resources.

use std::future::Future;
use std::sync::Arc;

use kvstore::Backend;
use model::{ClusterId, ClusterName, Source};
use reflector::{Import, StoreHealth};
use statedb::{Initializer, Reader, Row, Writer};
use tables::{Identity, IpClaim, NodeRow, RemoteService, RemoteSlice};
use tokio::sync::watch;
use wire::key::Resource;

use super::{Task, pending};
use crate::border::RemoteBorder;
use crate::driver::Shared;
use crate::{Gate, RESOURCES};

/// Nodes that a remote cluster may have: the largest that Kubernetes supports, twice.
const MAX_NODES: usize = 10_000;

/// Addresses: 250 pods with two families on 2,000 nodes.
const MAX_IPS: usize = 1_000_000;

/// Services that a remote cluster may share.
const MAX_SERVICES: usize = 50_000;

/// Slices of them: one for each family, and some have more than a hundred endpoints.
const MAX_SLICES: usize = 2 * MAX_SERVICES;

pub(super) struct Imports {
    shared: Arc<Shared>,
    name: ClusterName,
    health: Arc<StoreHealth>,
    border: Arc<RemoteBorder>,
    gates: [(Resource, Gate); RESOURCES.len()],
    /// The tables' sources: none is initialised before this cluster is.
    sources: Sources,
    /// The id that its data must have, and whether it is a mirror.
    reads: Option<(ClusterId, bool)>,
    running: Option<Task<()>>,
    /// The import of its backends, in the one form or the other.
    backends: Option<Task<()>>,
    /// The form in which they are read, and the one before: its rows stay until the new one's are there.
    forms: Option<(Resource, Resource)>,
}

struct Sources {
    nodes: Initializer<NodeRow>,
    ips: Initializer<IpClaim>,
    identities: Initializer<Identity>,
    services: Initializer<RemoteService>,
    slices: Initializer<RemoteSlice>,
}

// === impl Imports ===

impl Imports {
    /// Announces the cluster as a source at once.
    pub(super) fn new(
        shared: &Arc<Shared>,
        name: &ClusterName,
        health: Arc<StoreHealth>,
        broken: &watch::Sender<u64>,
    ) -> Self {
        let (tables, source) = (&shared.tables, source(name));
        let (services, slices) = (tables.global_services.reader(), tables.remote_slices.reader());
        Self {
            name: name.clone(),
            health,
            border: RemoteBorder::new(name.clone(), Arc::clone(&shared.frontier), services, slices),
            gates: RESOURCES.map(|resource| (resource, Gate::new(broken.clone()))),
            sources: Sources {
                nodes: tables.nodes.announce(source.clone()),
                ips: tables.ips.announce(source.clone()),
                identities: tables.identities.announce(source.clone()),
                services: tables.global_services.announce(source.clone()),
                slices: tables.remote_slices.announce(source),
            },
            reads: None,
            running: None,
            backends: None,
            forms: None,
            shared: Arc::clone(shared),
        }
    }

    /// Starts what every cluster has: nodes, addresses and identities.
    pub(super) fn start(&mut self, id: ClusterId, cached: bool) {
        self.reads = Some((id, cached));
        let Shared { tables, options, .. } = &*self.shared;
        let layout = options.own.layout;
        let import = |resource, quota| self.import(resource, cached, quota);
        let range = layout.allocation_range(id);
        let identities = (range.end() - range.start()) as usize + 1;
        let nodes = import(Resource::Nodes, MAX_NODES).nodes(id, None, tables.nodes.clone());
        let ips = import(Resource::Ip, MAX_IPS).ips(id, layout, tables.ips.clone());
        let identities = import(Resource::Identities, identities).identities(id, layout, tables.identities.clone());
        self.running = Some(Box::pin(async move {
            tokio::select! {
                () = nodes => {}
                () = ips => {}
                () = identities => {}
            }
        }));
    }

    /// Reads backends in this form from now on; `None`: in none.
    pub(super) fn read_backends(&mut self, form: Option<Resource>) {
        let Some((id, cached)) = self.reads else { return };
        let tables = &self.shared.tables;
        // What is not read is as good as read.
        tables.global_services.announce(source(&self.name)).done();
        tables.remote_slices.announce(source(&self.name)).done();
        self.backends = form.map(|form| match form {
            Resource::EndpointSlices => {
                Box::pin(self.import(form, cached, MAX_SLICES).slices(id, tables.remote_slices.clone())) as Task<()>
            }
            _ => Box::pin(self.import(form, cached, MAX_SERVICES).services(id, tables.global_services.clone())),
        });
        self.forms = form.map(|form| match form {
            Resource::EndpointSlices => (form, Resource::Services),
            _ => (form, Resource::EndpointSlices),
        });
        if form.is_none() {
            tracing::warn!(cluster = %self.name, "it exports no endpoint slices, and nothing else is wanted: no backends");
            tables.drain_backends(Resource::Services, &self.name);
            tables.drain_backends(Resource::EndpointSlices, &self.name);
        }
    }

    /// Removes backends of the form that is no longer read, once those of the other one are there.
    pub(super) fn leave_other_form(&mut self) {
        let Some((form, other)) = self.forms else { return };
        if self.gate(form).is_open() && self.has_listed(form) {
            self.shared.tables.drain_backends(other, &self.name);
            self.forms = None;
        }
    }

    /// Runs the imports until one of them ends.
    pub(super) async fn run(&mut self) {
        tokio::select! {
            () = pending(&mut self.running) => self.running = None,
            () = pending(&mut self.backends) => self.backends = None,
        }
    }

    /// Stops the imports and removes their rows.
    pub(super) fn drain(&mut self) {
        (self.running, self.backends, self.forms) = (None, None, None);
        self.shared.tables.drain(&self.name);
    }

    /// The cluster is gone for good.
    pub(super) fn remove(mut self) {
        self.drain();
        self.sources.nodes.done();
        self.sources.ips.done();
        self.sources.identities.done();
        self.sources.services.done();
        self.sources.slices.done();
    }

    /// Lets the import of a resource through.
    pub(super) fn open(&self, resource: Resource, store: Arc<dyn Backend>) {
        self.gate(resource).open(store);
    }

    /// Closes all gates.
    pub(super) fn close(&self) {
        self.gates.iter().for_each(|(_, gate)| gate.close());
    }

    /// Whether all rows of a resource have been seen once.
    pub(super) fn has_listed(&self, resource: Resource) -> bool {
        fn check<R: Row>(writer: &Writer<R>, source: &str) -> bool {
            let reader: Reader<R> = writer.reader();
            !reader.snapshot().pending().any(|pending| pending == source)
        }
        let (tables, source) = (&self.shared.tables, source(&self.name));
        match resource {
            Resource::Nodes => check(&tables.nodes, &source),
            Resource::Ip => check(&tables.ips, &source),
            Resource::Identities => check(&tables.identities, &source),
            Resource::EndpointSlices => check(&tables.remote_slices, &source),
            _ => check(&tables.global_services, &source),
        }
    }

    /// Waits until the cluster's nodes are known; at once on a reconnect.
    pub(super) fn nodes_listed(&self) -> impl Future<Output = ()> + Send + use<> {
        let (nodes, source) = (self.shared.tables.nodes.reader(), source(&self.name));
        async move {
            nodes.wait_for(|nodes| !nodes.pending().any(|pending| pending == source)).await;
        }
    }

    fn gate(&self, resource: Resource) -> &Gate {
        let found = self.gates.iter().find(|(of, _)| *of == resource);
        &found.expect("there is a gate for every resource").1
    }

    fn import(&self, resource: Resource, cached: bool, quota: usize) -> Import {
        let Shared { tables, options, .. } = &*self.shared;
        Import {
            store: Arc::new(self.gate(resource).clone()),
            cluster: self.name.clone(),
            source: Source::ClusterMesh,
            cached,
            rejected: tables.rejected.clone(),
            alarms: tables.alarms.clone(),
            metrics: options.metrics.clone(),
            health: Arc::clone(&self.health),
            border: Some(self.border.clone()),
            exporter: None,
            quota,
        }
    }
}

/// The name under which a cluster's imports are a source of their tables.
fn source(cluster: &ClusterName) -> String {
    format!("clustermesh/{cluster}")
}
