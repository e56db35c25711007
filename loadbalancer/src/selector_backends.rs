//! Backends of services without EndpointSlices: addresses whose identity matches the selector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Backend, BackendState, ClusterId, IpEntry, L3n4Addr, Labels, Prefix, Service, ServiceName, TargetPort};
use tables::{BackendSet, BackendSource};

/// Which addresses of this cluster stand behind which service. Work per change: an address looks at the services of
/// its namespace, a service at the addresses once when it appears.
#[derive(Default)]
pub struct SelectorBackends {
    services: BTreeMap<ServiceName, Arc<Service>>,
    addresses: BTreeMap<Arc<str>, BTreeMap<Prefix, (IpEntry, Labels)>>,
    dirty: BTreeSet<ServiceName>,
}

// === impl SelectorBackends ===

impl SelectorBackends {
    /// A service that has a selector and no EndpointSlice is there, or (`None`) not any more.
    pub fn handle_service(&mut self, name: ServiceName, service: Option<Arc<Service>>) {
        match service.filter(|service| !service.selector.is_empty()) {
            Some(service) => drop(self.services.insert(name.clone(), service)),
            None => drop(self.services.remove(&name)),
        }
        self.dirty.insert(name);
    }

    /// An address of this cluster with the labels of its identity is there, or (`None`) not any more.
    pub fn handle_address(&mut self, prefix: Prefix, now: Option<(IpEntry, Labels)>) {
        let namespace = now.as_ref().and_then(|(entry, _)| entry.texts.namespace().map(Arc::<str>::from));
        let held = self.addresses.iter().find(|(_, held)| held.contains_key(&prefix)).map(|(name, _)| Arc::clone(name));
        for touched in held.iter().chain(&namespace) {
            let before = self.addresses.get(touched).and_then(|held| held.get(&prefix));
            let labels = before.map(|(_, labels)| labels).into_iter().chain(now.as_ref().map(|(_, labels)| labels));
            let labels: Vec<&Labels> = labels.collect();
            for (name, service) in self.services.iter().filter(|(name, _)| name.namespace() == &**touched) {
                if labels.iter().any(|labels| selects(service, labels)) {
                    self.dirty.insert(name.clone());
                }
            }
        }
        if let Some(held) = held.and_then(|namespace| self.addresses.get_mut(&namespace)) {
            held.remove(&prefix);
        }
        if let (Some(namespace), Some(now)) = (namespace, now) {
            self.addresses.entry(namespace).or_default().insert(prefix, now);
        }
        self.addresses.retain(|_, held| !held.is_empty());
    }

    /// The sets that changed since the last call; `None` for a service that has none any more.
    pub fn resolve(&mut self) -> Vec<(ServiceName, Option<BackendSet>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty
            .into_iter()
            .map(|name| (name.clone(), self.services.get(&name).map(|service| self.set(service))))
            .collect()
    }

    fn set(&self, service: &Service) -> BackendSet {
        let mut backends = Vec::new();
        for (prefix, (entry, labels)) in self.addresses.get(service.name.namespace()).into_iter().flatten() {
            if !prefix.is_host() || !selects(service, labels) {
                continue;
            }
            for port in &service.ports {
                let number = match &port.target {
                    TargetPort::Number(number) => Some(*number),
                    TargetPort::Name(name) => entry.named_port(name).map(|named| named.port),
                };
                // A name that the pod does not have: Kubernetes leaves such a pod out of the slice, so do we.
                let Some(number) = number else { continue };
                let addr = L3n4Addr::new(prefix.addr(), number, port.proto);
                let name = Some(port.name.clone()).filter(|name| !name.is_empty());
                match backends.iter_mut().find(|backend: &&mut Backend| backend.addr == addr) {
                    Some(backend) => backend.port_names.extend(name),
                    None => backends.push(Backend {
                        addr,
                        port_names: name.into_iter().collect(),
                        state: BackendState::Active,
                        zone: None,
                        cluster_id: ClusterId::NONE,
                        source: model::Source::Kvstore,
                    }),
                }
            }
        }
        backends.sort_by_key(|backend| backend.addr);
        BackendSet { service: service.name.clone(), source: BackendSource::Selector, backends }
    }
}

fn selects(service: &Service, labels: &Labels) -> bool {
    let has = |(key, value): (&String, &String)| labels.value(Some("k8s"), key) == Some(value.as_str());
    service.selector.iter().all(has)
}

#[cfg(test)]
mod tests {
    use model::{IpNames, NamedPort, NumericIdentity, Protocol, ServicePort, Sharing};

    use super::*;

    fn service(target: TargetPort) -> Arc<Service> {
        let port = ServicePort { name: "web".into(), port: 80, proto: Protocol::Tcp, target };
        Arc::new(Service {
            name: ServiceName::try_new("shop", "cart").unwrap(),
            cluster_ips: Vec::new(),
            ports: vec![port],
            selector: [("app".to_owned(), "cart".to_owned())].into(),
            labels: Default::default(),
            headless: false,
            sharing: Sharing::default(),
        })
    }

    fn address(namespace: &str, app: &str) -> Option<(IpEntry, Labels)> {
        let mut entry = IpEntry::new("10.0.0.1".parse().unwrap(), NumericIdentity::new(1000));
        entry.texts = IpNames { namespace, ..IpNames::default() }.into();
        entry.named_ports = vec![NamedPort { name: "http".into(), port: 8080, proto: Protocol::Tcp }].into();
        Some((entry, format!("k8s:app={app}").split(',').map(|label| label.parse().unwrap()).collect()))
    }

    fn show(sets: Vec<(ServiceName, Option<BackendSet>)>) -> String {
        let line = |(name, set): (ServiceName, Option<BackendSet>)| match set {
            Some(set) => {
                let backends = set.backends.iter().map(|backend| backend.addr.to_string()).collect::<Vec<_>>();
                format!("{name}: {}", backends.join(" "))
            }
            None => format!("{name} gone"),
        };
        sets.into_iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn backends_follow_addresses_labels_and_services() {
        let prefix: Prefix = "10.0.0.1".parse().unwrap();
        let name = ServiceName::try_new("shop", "cart").unwrap();
        let mut core = SelectorBackends::default();
        core.handle_address(prefix, address("shop", "cart"));
        assert_eq!(show(core.resolve()), "");
        core.handle_service(name.clone(), Some(service(TargetPort::Number(8080))));
        assert_eq!(show(core.resolve()), "shop/cart: 10.0.0.1:8080/TCP");
        core.handle_address("10.0.0.2".parse().unwrap(), address("other", "cart"));
        assert_eq!(show(core.resolve()), "", "another namespace is not looked at");
        core.handle_address(prefix, address("shop", "batch"));
        assert_eq!(show(core.resolve()), "shop/cart: ");
        core.handle_address(prefix, address("shop", "cart"));
        core.handle_service(name.clone(), Some(service(TargetPort::Name("http".into()))));
        assert_eq!(show(core.resolve()), "shop/cart: 10.0.0.1:8080/TCP");
        core.handle_service(name.clone(), Some(service(TargetPort::Name("nope".into()))));
        assert_eq!(show(core.resolve()), "shop/cart: ");
        core.handle_service(name, None);
        assert_eq!(show(core.resolve()), "shop/cart gone");
    }
}
