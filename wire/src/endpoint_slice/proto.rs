//! The message of an endpoint slice: Cilium's, around the parts of Kubernetes' `discovery/v1` that it keeps.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Slice {
    #[prost(string, required, tag = "1")]
    pub(super) cluster: String,
    #[prost(uint32, required, tag = "2")]
    pub(super) cluster_id: u32,
    #[prost(string, required, tag = "3")]
    pub(super) namespace: String,
    #[prost(string, required, tag = "4")]
    pub(super) name: String,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(super) annotations: BTreeMap<String, String>,
    #[prost(string, required, tag = "7")]
    pub(super) address_type: String,
    #[prost(message, repeated, tag = "8")]
    pub(super) endpoints: Vec<Endpoint>,
    #[prost(message, repeated, tag = "9")]
    pub(super) ports: Vec<Port>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Endpoint {
    #[prost(string, repeated, tag = "1")]
    pub(super) addresses: Vec<String>,
    #[prost(message, required, tag = "2")]
    pub(super) conditions: Conditions,
    #[prost(string, optional, tag = "3")]
    pub(super) hostname: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(super) node_name: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub(super) zone: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub(super) hints: Option<Hints>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Conditions {
    #[prost(bool, optional, tag = "1")]
    pub(super) ready: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(super) serving: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub(super) terminating: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Hints {
    #[prost(message, repeated, tag = "1")]
    pub(super) for_zones: Vec<ForZone>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ForZone {
    #[prost(string, required, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Port {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) protocol: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub(super) port: Option<i32>,
    #[prost(string, optional, tag = "4")]
    pub(super) app_protocol: Option<String>,
}
