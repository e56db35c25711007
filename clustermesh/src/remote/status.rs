//! How one remote cluster stands, for people.

use kvstore::ConnectionStatus;
use model::ClusterName;
use tables::{RemoteCluster, RemoteConfig, Synced};
use wire::key::Resource;

use super::imports::Imports;
use crate::{Core, Phase};

/// Its row, but for the count of failures.
pub(super) fn row(
    name: &ClusterName,
    core: &Core,
    imports: &Imports,
    connection: Option<ConnectionStatus>,
) -> RemoteCluster {
    let connected = connection.as_ref().is_some_and(|status| status.connected);
    let is_synced = |resource| core.is_open(resource) && imports.has_listed(resource);
    let form = core.backends();
    let synced = Synced {
        nodes: is_synced(Resource::Nodes),
        endpoints: is_synced(Resource::Ip),
        identities: is_synced(Resource::Identities),
        services: form.is_some_and(|form| form != Some(Resource::Services)) || is_synced(Resource::Services),
        endpoint_slices: (form == Some(Some(Resource::EndpointSlices))).then(|| is_synced(Resource::EndpointSlices)),
    };
    let config = core.config().map(|config| RemoteConfig {
        id: config.id,
        cached: config.cached,
        synced_canaries: config.synced_canaries,
        service_exports: config.service_exports_enabled,
        endpoint_slices: config.endpoint_slices.as_str(),
    });
    let mut row = RemoteCluster {
        name: name.clone(),
        connected,
        status: "".into(),
        config: config.filter(|_| *core.phase() == Phase::Running),
        synced,
        failures: 0,
        last_failure: None,
    };
    let lost = connection.and_then(|status| status.last_error).filter(|_| !connected);
    row.status = line(core.phase(), lost, &row).into();
    row
}

fn line(phase: &Phase, lost: Option<String>, row: &RemoteCluster) -> String {
    match phase {
        Phase::Waiting { why, .. } if why.is_empty() => "connecting".to_owned(),
        Phase::Waiting { why, .. } => why.clone(),
        Phase::Connecting => "connecting".to_owned(),
        Phase::Configuring { why, .. } if why.is_empty() => "reading the cluster configuration".to_owned(),
        Phase::Configuring { why, .. } => why.clone(),
        Phase::Running => match lost {
            Some(error) => format!("connection lost: {error}"),
            None if row.is_ready() => "ready".to_owned(),
            None if row.connected => "syncing".to_owned(),
            None => "connecting".to_owned(),
        },
    }
}
