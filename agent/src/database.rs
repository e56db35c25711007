//! Every table of the agent: a writer for its source, readers for everyone else.

use policy::SelectorRow;
use statedb::{Database, Reader, Row, Writer};
use tables::{
    Alarm, BackendSet, CidrIdentity, Endpoint, Export, Frontend, Identity, IdentityGrant, IdentityRequest, IpClaim,
    IpcacheRow, Namespace, NodeObject, NodeRow, Pod, PolicyMapRow, PolicyProgress, PolicyRule, Realized, Rejected,
    RemoteCluster, RemoteService, RemoteSlice, ServiceRow,
};

/// A table's two ends.
#[derive(Clone)]
pub(crate) struct Table<R: Row> {
    pub(crate) write: Writer<R>,
    pub(crate) read: Reader<R>,
}

/// The tables, in the order in which state flows through them.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) nodes: Table<NodeRow>,
    pub(crate) identities: Table<Identity>,
    pub(crate) ips: Table<IpClaim>,
    pub(crate) global_services: Table<RemoteService>,
    pub(crate) remote_slices: Table<RemoteSlice>,
    pub(crate) remote_clusters: Table<RemoteCluster>,
    pub(crate) rejected: Table<Rejected>,
    pub(crate) alarms: Table<Alarm>,
    pub(crate) node_objects: Table<NodeObject>,
    pub(crate) pods: Table<Pod>,
    pub(crate) namespaces: Table<Namespace>,
    pub(crate) services: Table<ServiceRow>,
    pub(crate) backends: Table<BackendSet>,
    pub(crate) rules: Table<PolicyRule>,
    pub(crate) endpoints: Table<Endpoint>,
    pub(crate) requests: Table<IdentityRequest>,
    pub(crate) grants: Table<IdentityGrant>,
    pub(crate) cidr_identities: Table<CidrIdentity>,
    pub(crate) policy_map: Table<PolicyMapRow>,
    pub(crate) progress: Table<PolicyProgress>,
    pub(crate) selectors: Table<SelectorRow>,
    pub(crate) ipcache: Table<IpcacheRow>,
    pub(crate) frontends: Table<Frontend>,
    pub(crate) realized: Table<Realized>,
    pub(crate) exports: Table<Export>,
}

impl Tables {
    pub(crate) fn new(database: &Database) -> Self {
        fn make<R: Row>(database: &Database) -> Table<R> {
            let (write, read) = database.table();
            Table { write, read }
        }
        Self {
            nodes: make(database),
            identities: make(database),
            ips: make(database),
            global_services: make(database),
            remote_slices: make(database),
            remote_clusters: make(database),
            rejected: make(database),
            alarms: make(database),
            node_objects: make(database),
            pods: make(database),
            namespaces: make(database),
            services: make(database),
            backends: make(database),
            rules: make(database),
            endpoints: make(database),
            requests: make(database),
            grants: make(database),
            cidr_identities: make(database),
            policy_map: make(database),
            progress: make(database),
            selectors: make(database),
            ipcache: make(database),
            frontends: make(database),
            realized: make(database),
            exports: make(database),
        }
    }
}
