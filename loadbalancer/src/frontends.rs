//! Who answers each address of a service.

use model::{Affinity, Backend, BackendState, L3n4Addr, Service};
use tables::{BackendSet, Frontend, RemoteService, RemoteSlice};

/// The frontends of a service: one for each cluster address and port.
///
/// - local only, unless the service is global;
/// - affinity `none`: local and remote together; `local`: remote ones only while no active local one is healthy;
///   `remote`: the mirror image;
/// - a backend answers the addresses of its own family, and the ports that carry its name;
/// - terminating backends keep their connections, and serve new ones only when no active one is left (KEP-1669).
pub fn frontends<'a>(
    service: &Service,
    local: impl Iterator<Item = &'a BackendSet>,
    remote: impl Iterator<Item = &'a RemoteService>,
    slices: impl Iterator<Item = &'a RemoteSlice>,
) -> Vec<Frontend> {
    let local: Vec<Backend> = local.flat_map(|set| set.backends.iter().cloned()).collect();
    let shared = remote.filter(|row| service.sharing.global && row.service.shared);
    let sliced = slices.filter(|_| service.sharing.global).flat_map(|row| row.slice.to_backends());
    let remote: Vec<Backend> = shared.flat_map(|row| row.service.to_backends()).chain(sliced).collect();
    let mut frontends = Vec::new();
    for ip in service.cluster_ips.iter().filter(|_| !service.headless) {
        for port in &service.ports {
            let serves = |backend: &&Backend| {
                backend.addr.ip.is_ipv4() == ip.is_ipv4()
                    && backend.addr.proto == port.proto
                    && carries(backend, &port.name)
            };
            let local = local.iter().filter(serves).cloned().collect();
            let remote = remote.iter().filter(serves).cloned().collect();
            let chosen = choose(service.sharing.affinity, local, remote);
            let (backends, draining) = split(chosen);
            frontends.push(Frontend {
                addr: L3n4Addr::new(*ip, port.port, port.proto),
                service: service.name.clone(),
                backends,
                draining,
            });
        }
    }
    frontends
}

/// An unnamed port is the only one of its service, and its backends carry no name.
fn carries(backend: &Backend, name: &String) -> bool {
    if name.is_empty() { backend.port_names.is_empty() } else { backend.port_names.contains(name) }
}

fn choose(affinity: Affinity, local: Vec<Backend>, remote: Vec<Backend>) -> Vec<Backend> {
    let active = |backends: &[Backend]| backends.iter().any(|backend| backend.state == BackendState::Active);
    let healthy = |backends: &[Backend]| backends.iter().any(|backend| backend.state.is_healthy());
    match affinity {
        Affinity::Local if active(&local) || !healthy(&remote) => local,
        Affinity::Local => remote,
        Affinity::Remote if healthy(&remote) => remote,
        Affinity::Remote => local,
        Affinity::None => local.into_iter().chain(remote).collect(),
    }
}

/// Active backends and draining ones, each sorted, one for each address.
fn split(chosen: Vec<Backend>) -> (Vec<Backend>, Vec<Backend>) {
    let in_state = |state| {
        let mut found: Vec<_> = chosen.iter().filter(|backend| backend.state == state).cloned().collect();
        found.sort_by_key(|backend| backend.addr);
        found.dedup_by_key(|backend| backend.addr);
        found
    };
    match (in_state(BackendState::Active), in_state(BackendState::Terminating)) {
        (active, terminating) if active.is_empty() => (terminating, Vec::new()),
        both => both,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{
        ClusterId, ClusterName, EndpointSlice, GlobalService, PortProto, Protocol, ServiceName, ServicePort, Sharing,
        SliceEndpoint, SlicePort, Source, TargetPort,
    };
    use tables::BackendSource;

    use super::*;

    fn backend(addr: &str, state: BackendState) -> Backend {
        let addr = L3n4Addr::new(addr.parse().unwrap(), 8080, Protocol::Tcp);
        let (port_names, zone, cluster_id) = (vec!["http".to_owned()], None, ClusterId::NONE);
        Backend { addr, port_names, state, zone, cluster_id, source: Source::Kubernetes }
    }

    fn service(sharing: Sharing) -> Service {
        Service {
            name: ServiceName::try_new("shop", "cart").unwrap(),
            cluster_ips: vec!["10.96.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            ports: vec![ServicePort {
                name: "http".into(),
                port: 80,
                proto: Protocol::Tcp,
                target: TargetPort::Number(8080),
            }],
            selector: Default::default(),
            labels: Default::default(),
            headless: false,
            sharing,
        }
    }

    fn remote(ips: &[&str], shared: bool) -> RemoteService {
        let name = ServiceName::try_new("shop", "cart").unwrap();
        let cluster = ClusterName::try_new("west").unwrap();
        let mut service = GlobalService::new(cluster, ClusterId::try_new(2).unwrap(), name);
        for ip in ips {
            let ports = [("http".to_owned(), PortProto::new(8080, Protocol::Tcp))].into();
            service.backends.insert(ip.parse().unwrap(), ports);
        }
        service.shared = shared;
        RemoteService { service: Arc::new(service) }
    }

    /// `local` as `address` or `address!` for a terminating backend; the answer is IPv4's backends, `/` and draining.
    #[track_caller]
    fn check(global: bool, affinity: Affinity, local: &[&str], remotes: &[&str], expected: &str) {
        let state = |text: &str| match text.strip_suffix('!') {
            Some(ip) => backend(ip, BackendState::Terminating),
            None => backend(text, BackendState::Active),
        };
        let set = BackendSet {
            service: ServiceName::try_new("shop", "cart").unwrap(),
            source: BackendSource::Selector,
            backends: local.iter().map(|text| state(text)).collect(),
        };
        let made = frontends(
            &service(Sharing { global, shared: true, affinity }),
            std::iter::once(&set),
            std::iter::once(&remote(remotes, true)),
            std::iter::empty(),
        );
        assert_eq!(made.len(), 2, "one frontend a family");
        let show = |backends: &[Backend]| {
            backends.iter().map(|backend| backend.addr.ip.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(format!("{} / {}", show(&made[0].backends), show(&made[0].draining)), expected);
        assert!(made[1].backends.is_empty(), "no IPv6 backend answers an IPv6 address");
    }

    #[test]
    fn affinity_and_readiness_choose_backends() {
        let (one, two) = ("10.1.0.1", "10.2.0.1");
        check(false, Affinity::None, &[one], &[two], "10.1.0.1 / ");
        check(true, Affinity::None, &[one], &[two], "10.1.0.1 10.2.0.1 / ");
        check(true, Affinity::Local, &[one], &[two], "10.1.0.1 / ");
        check(true, Affinity::Local, &[], &[two], "10.2.0.1 / ");
        check(true, Affinity::Local, &["10.1.0.1!"], &[two], "10.2.0.1 / ");
        check(true, Affinity::Local, &["10.1.0.1!"], &[], "10.1.0.1 / ");
        check(true, Affinity::Remote, &[one], &[two], "10.2.0.1 / ");
        check(true, Affinity::Remote, &[one], &[], "10.1.0.1 / ");
        check(false, Affinity::None, &[one, "10.1.0.2!"], &[], "10.1.0.1 / 10.1.0.2");
        check(false, Affinity::None, &["10.1.0.2!"], &[], "10.1.0.2 / ");
        check(false, Affinity::None, &[], &[], " / ");
    }

    #[test]
    fn a_remote_cluster_may_say_it_by_slices_with_readiness() {
        let slice = |ip: &str, terminating: bool| RemoteSlice {
            slice: Arc::new(EndpointSlice {
                cluster: ClusterName::try_new("west").unwrap(),
                cluster_id: ClusterId::try_new(2).unwrap(),
                name: ServiceName::try_new("shop", "cart-abc").unwrap(),
                labels: [(model::SERVICE_NAME.to_owned(), "cart".to_owned())].into(),
                annotations: [].into(),
                ipv4: true,
                endpoints: vec![SliceEndpoint {
                    addresses: vec![ip.parse().unwrap()],
                    ready: Some(!terminating),
                    serving: Some(true),
                    terminating: Some(terminating),
                    ..SliceEndpoint::default()
                }],
                ports: vec![SlicePort { name: Some("http".into()), port: Some(8080), ..SlicePort::default() }],
            }),
        };
        let slices = [slice("10.2.0.1", false), slice("10.2.0.2", true)];
        let made = |global| {
            let sharing = Sharing { global, shared: true, affinity: Affinity::None };
            let made = frontends(&service(sharing), std::iter::empty(), std::iter::empty(), slices.iter());
            let show =
                |backends: &[Backend]| backends.iter().map(|it| it.addr.to_string()).collect::<Vec<_>>().join(" ");
            format!("{} / {}", show(&made[0].backends), show(&made[0].draining))
        };
        assert_eq!(made(true), "10.2.0.1:8080/TCP / 10.2.0.2:8080/TCP");
        assert_eq!(made(false), " / ");
    }

    #[test]
    fn unshared_remote_counts_as_absent_and_a_headless_service_has_no_frontend() {
        let mut global = service(Sharing { global: true, shared: true, affinity: Affinity::None });
        let made =
            frontends(&global, std::iter::empty(), std::iter::once(&remote(&["10.2.0.1"], false)), std::iter::empty());
        assert!(made[0].backends.is_empty());
        global.headless = true;
        assert!(frontends(&global, std::iter::empty(), std::iter::empty(), std::iter::empty()).is_empty());
    }
}
