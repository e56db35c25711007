//! Where each resource lies.

/// Every path begins with it.
pub const BASE: &str = "/v1";
/// `GET`: [`crate::Healthz`].
pub const HEALTHZ: &str = "/v1/healthz";
/// `GET`: [`crate::Config`].
pub const CONFIG: &str = "/v1/config";
/// `POST ?owner=`: [`crate::IpamResponse`]. `DELETE /{ip}`.
pub const IPAM: &str = "/v1/ipam";
/// `GET`: a list of [`crate::Endpoint`]. With `/{id}`: `GET`, `PUT` of [`crate::EndpointChangeRequest`], `DELETE`.
pub const ENDPOINT: &str = "/v1/endpoint";
/// Below an endpoint, `GET`: a list of [`crate::EndpointChange`], oldest first.
pub const LOG: &str = "log";
/// Below an endpoint, `GET`: [`crate::EndpointHealth`].
pub const ENDPOINT_HEALTH: &str = "healthz";
/// `GET`: a list of [`crate::Map`]. With `/{name}`: its rows, a list of [`crate::MapRow`]. With `/{name}/events?since=`:
/// what was written to it, a list of [`crate::MapEvent`].
pub const MAP: &str = "/v1/map";
/// `GET`: a list of [`crate::Identity`]. With `/{id}`: one.
pub const IDENTITY: &str = "/v1/identity";
/// `GET`: a list of [`crate::IpEntry`].
pub const IP: &str = "/v1/ip";
/// `GET`: a list of [`crate::Node`].
pub const NODES: &str = "/v1/cluster/nodes";
/// `GET`: a list of [`crate::Service`].
pub const SERVICE: &str = "/v1/service";
/// `GET`: the rules in force, a list of [`crate::PolicyEntry`].
pub const POLICY: &str = "/v1/policy";
/// `GET`: a list of [`crate::Selector`].
pub const SELECTORS: &str = "/v1/policy/selectors";
/// `GET ?src=&dst=&port=`: a list of [`crate::PolicyTrace`].
pub const POLICY_EXPLAIN: &str = "/v1/policy/explain";
/// `GET`: a list of [`crate::Table`]. With `/{table}`: its rows; `?format=text` as aligned text.
pub const STATEDB: &str = "/v1/statedb";
/// `GET ?pattern=`: a list of [`crate::Metric`].
pub const METRICS: &str = "/v1/metrics";
/// The socket's default place.
pub const SOCKET: &str = "/var/run/causeway/causeway.sock";
/// The name of the event socket beside it.
pub const MONITOR_SOCKET: &str = "monitor.sock";
