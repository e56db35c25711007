//! `/endpoint`: the pods of the node.

use serde::{Deserialize, Serialize};

use crate::{AddressPair, Identity};

/// `PUT /endpoint/{id}`: a sandbox whose interfaces exist shall become an endpoint. `{id}` is
/// `container-id:<id>:<interface>`; the agent chooses the number and answers with the [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointChangeRequest {
    /// The container runtime's id of the sandbox.
    pub container_id: String,
    /// The path of its network namespace.
    pub container_netns_path: String,
    /// The interface's name in it.
    pub container_interface_name: String,
    /// The host side's name.
    pub interface_name: String,
    /// The host side's index.
    pub interface_index: u32,
    /// The pod side's hardware address.
    pub mac: String,
    /// The host side's hardware address.
    pub host_mac: String,
    /// The pod's addresses.
    pub addressing: AddressPair,
    /// The pod's namespace.
    pub k8s_namespace: String,
    /// The pod's name.
    pub k8s_pod_name: String,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its number on this node.
    pub id: u16,
    /// How it stands.
    pub status: EndpointStatus,
}

/// How an endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointStatus {
    /// Its identity, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Names that others use for it.
    pub external_identifiers: ExternalIdentifiers,
    /// Its interfaces and addresses.
    pub networking: EndpointNetworking,
    /// Which directions are enforced.
    pub policy: EndpointPolicy,
    /// Cilium's name of its state.
    pub state: String,
}

/// Names that others use for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExternalIdentifiers {
    /// The container runtime's id of the sandbox.
    pub container_id: String,
    /// The pod's namespace.
    pub k8s_namespace: String,
    /// The pod's name.
    pub k8s_pod_name: String,
    /// Namespace and name.
    pub pod_name: String,
}

/// Interfaces and addresses of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointNetworking {
    /// Its addresses, one pair.
    pub addressing: Vec<AddressPair>,
    /// The interface's name in the pod.
    pub container_interface_name: String,
    /// The host side's name.
    pub interface_name: String,
    /// The host side's index.
    pub interface_index: u32,
    /// The pod side's hardware address.
    pub mac: String,
    /// The host side's hardware address.
    pub host_mac: String,
}

/// Which directions of an endpoint are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointPolicy {
    /// Traffic to it.
    pub ingress_enforced: bool,
    /// Traffic from it.
    pub egress_enforced: bool,
}
