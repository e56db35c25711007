//! A Kubernetes Service, reduced to what load balancing needs.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{Protocol, ServiceName};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: ServiceName,
    /// None for a headless service.
    pub cluster_ips: Vec<IpAddr>,
    pub ports: Vec<ServicePort>,
    /// Empty: endpoints are maintained by somebody else.
    pub selector: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub headless: bool,
    pub sharing: Sharing,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// Empty for a single unnamed port.
    pub name: String,
    pub port: u16,
    pub proto: Protocol,
    pub target: TargetPort,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetPort {
    Number(u16),
    /// A named port of the pods.
    Name(String),
}

/// What a Service's annotations say about other clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sharing {
    /// Backends of other clusters are used.
    pub global: bool,
    /// Our backends are offered to other clusters. Never without `global`.
    pub shared: bool,
    pub affinity: Affinity,
}

/// Which backends a global service uses while both sides have healthy ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Affinity {
    #[default]
    None,
    Local,
    Remote,
}

// === impl Sharing ===

impl Sharing {
    pub const GLOBAL: [&'static str; 2] = ["service.cilium.io/global", "io.cilium/global-service"];
    pub const SHARED: [&'static str; 2] = ["service.cilium.io/shared", "io.cilium/shared-service"];
    pub const AFFINITY: [&'static str; 2] = ["service.cilium.io/affinity", "io.cilium/service-affinity"];

    /// Reads the annotations; each key's legacy alias counts where the key is absent. An affinity
    /// nobody knows means none, as in Cilium, and comes back as the second value for a warning.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> (Self, Option<&str>) {
        let get = |keys: [&str; 2]| keys.iter().find_map(|k| annotations.get(*k)).map(String::as_str);
        let is_true = |text: &str| text.eq_ignore_ascii_case("true");
        let global = get(Self::GLOBAL).is_some_and(is_true);
        let shared = global && get(Self::SHARED).is_none_or(is_true);
        let (affinity, unknown) = match get(Self::AFFINITY) {
            None | Some("" | "none") => (Affinity::None, None),
            Some("local") => (Affinity::Local, None),
            Some("remote") => (Affinity::Remote, None),
            Some(other) => (Affinity::None, Some(other)),
        };
        (Self { global, shared, affinity }, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_say_what_is_shared() {
        fn check(annotations: &[(&str, &str)], global: bool, shared: bool, affinity: Affinity) {
            let map = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(Sharing::from_annotations(&map).0, Sharing { global, shared, affinity }, "{annotations:?}");
        }
        let [global, old_global] = Sharing::GLOBAL;
        let [shared, old_shared] = Sharing::SHARED;
        let [affinity, _] = Sharing::AFFINITY;
        check(&[], false, false, Affinity::None);
        check(&[(global, "true")], true, true, Affinity::None);
        check(&[(old_global, "True"), (affinity, "local")], true, true, Affinity::Local);
        check(&[(global, "true"), (shared, "false")], true, false, Affinity::None);
        check(&[(global, "true"), (old_shared, "false"), (affinity, "remote")], true, false, Affinity::Remote);
        check(&[(global, "false"), (old_global, "true")], false, false, Affinity::None);
        check(&[(shared, "true")], false, false, Affinity::None);
        let map = BTreeMap::from([(affinity.to_owned(), "near".to_owned())]);
        assert_eq!(Sharing::from_annotations(&map).1, Some("near"));
    }
}
