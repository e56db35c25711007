//! Documents become objects.

use std::fmt;
use std::sync::Arc;

use model::{Families, Rule, Service, ServiceName};
use serde_json::Value;
use tables::{BackendSet, IpPool, Namespace, NodeObject, Pod};

use crate::Document;

mod endpoint_slice;
mod ip_pool;
mod metadata;
mod namespace;
mod node;
mod pod;
mod policy;
mod service;

/// Kinds whose objects are in no namespace.
const CLUSTER_WIDE: [&str; 4] = ["Namespace", "Node", "CiliumNode", "CiliumPodIPPool"];

/// An object that we use.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A Namespace.
    Namespace(Namespace),
    /// A Node or a CiliumNode.
    Node(NodeObject),
    /// A CiliumPodIPPool.
    IpPool(IpPool),
    /// A Pod.
    Pod(Pod),
    /// A Service.
    Service(Arc<Service>),
    /// An EndpointSlice of a Service.
    Slice(BackendSet),
    /// A CiliumNetworkPolicy: its rules.
    Policy(Vec<Arc<Rule>>),
}

/// What names an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty for what is in none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// What parsing needs to know of this cluster.
#[derive(Debug, Clone)]
pub struct ParseOptions {
    /// Our own cluster's name.
    pub cluster: Arc<str>,
    /// Whether peer selectors that name no cluster mean our own (`--policy-default-local-cluster`).
    pub default_local_cluster: bool,
    /// The families of pods: strangers of a family without any are not told apart.
    pub families: Families,
}

/// The object of a document: its key when that much is known, and the object or why it is refused.
pub fn parse(document: &Document, options: &ParseOptions) -> (Option<ObjectKey>, Result<Object, String>) {
    let place = format!("{}:{}", document.file, document.line);
    let (key, result) = object(document, options);
    let named = key.as_ref().map_or_else(String::new, |key| format!(" {key}:"));
    (key, result.map_err(|why| format!("{place}:{named} {why}")))
}

fn object(document: &Document, options: &ParseOptions) -> (Option<ObjectKey>, Result<Object, String>) {
    let text = |pointer: &str| document.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    let kind = match (version, kind) {
        ("v1", "Namespace") => "Namespace",
        ("v1", "Node") => "Node",
        ("cilium.io/v2", "CiliumNode") => "CiliumNode",
        ("cilium.io/v2" | "cilium.io/v2alpha1", "CiliumPodIPPool") => "CiliumPodIPPool",
        ("v1", "Pod") => "Pod",
        ("v1", "Service") => "Service",
        ("discovery.k8s.io/v1", "EndpointSlice") => "EndpointSlice",
        ("cilium.io/v2", "CiliumNetworkPolicy") => "CiliumNetworkPolicy",
        ("", _) | (_, "") => return (None, Err("apiVersion and kind are required".to_owned())),
        _ => {
            let known =
                "Namespace, Node, Pod, Service, EndpointSlice, CiliumNode, CiliumPodIPPool, CiliumNetworkPolicy";
            return (None, Err(format!("{version} {kind} is not supported; supported are {known}")));
        }
    };
    let (namespace, name) = match metadata::names(&document.value, !CLUSTER_WIDE.contains(&kind)) {
        Ok(names) => names,
        Err(why) => return (None, Err(why)),
    };
    let key = ObjectKey { kind, namespace: Arc::clone(&namespace), name: Arc::clone(&name) };
    let result = match kind {
        "Namespace" => namespace::parse(&document.value, name).map(Object::Namespace),
        "Node" => node::parse(&document.value, &name).map(Object::Node),
        "CiliumNode" => node::parse_cilium(&document.value, &name).map(Object::Node),
        "CiliumPodIPPool" => ip_pool::parse(&document.value, name).map(Object::IpPool),
        "Pod" => pod::parse(&document.value, namespace, name).map(Object::Pod),
        "Service" => service_name(&key)
            .and_then(|name| service::parse(&document.value, name))
            .map(|service| Object::Service(Arc::new(service))),
        "EndpointSlice" => endpoint_slice::parse(&document.value, &namespace, name).map(Object::Slice),
        _ => policy::parse(document, &namespace, &name, options).map(Object::Policy),
    };
    (Some(key), result)
}

fn service_name(key: &ObjectKey) -> Result<ServiceName, String> {
    ServiceName::try_new(&key.namespace, &key.name).map_err(|error| error.to_string())
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}
