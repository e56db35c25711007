//! ADD.

use std::net::IpAddr;

use api::{AddressPair, EndpointChangeRequest, FamilyAddress};

use crate::agent::Agent;
use crate::call::Call;
use crate::error::Error;
use crate::interface::{self, Address};
use crate::result::Added;

/// Connects the sandbox; returns when its traffic flows under its policy. Repeating it starts over.
pub(crate) fn run(call: &Call) -> Result<String, Error> {
    let agent = Agent::new(&call.conf.socket_path);
    let netns = call.netns.as_deref().ok_or(Error::Environment { name: "CNI_NETNS", rule: "is required" })?;
    let config = agent.config()?;
    // What an unfinished call left would hold the addresses.
    agent.delete(&call.attachment())?;
    let given = agent.allocate(&call.owner())?;
    let host_ifname = interface::host_ifname(&call.container_id, &call.ifname);
    let connect = || {
        let addresses = addresses(&given.address, &given.host_addressing)?;
        let pair = interface::create(&host_ifname, &call.ifname, netns, config.device_mtu)?;
        interface::configure(netns, &call.ifname, &pair, &addresses, config.route_mtu)?;
        let request = EndpointChangeRequest {
            container_id: call.container_id.clone(),
            container_netns_path: netns.display().to_string(),
            container_interface_name: call.ifname.clone(),
            interface_name: pair.host_ifname.clone(),
            interface_index: pair.host_index,
            mac: pair.mac.to_string(),
            host_mac: pair.host_mac.to_string(),
            addressing: given.address.clone(),
            k8s_namespace: call.namespace.clone(),
            k8s_pod_name: call.pod_name.clone(),
        };
        agent.create(&call.attachment(), &request)?;
        interface::open(&pair)?;
        let ip = |address: &Address| (ipnet::IpNet::from(address.ip).to_string(), address.gateway.to_string());
        let added = Added {
            version: &call.conf.cni_version,
            host_ifname: &pair.host_ifname,
            host_mac: pair.host_mac.to_string(),
            ifname: &call.ifname,
            mac: pair.mac.to_string(),
            netns: &netns.display().to_string(),
            mtu: config.device_mtu,
            ips: addresses.iter().map(ip).collect(),
        };
        Ok(added.to_json())
    };
    connect().inspect_err(|_| {
        // The first error is the one to report; what cannot be taken back now, the runtime's DEL takes back.
        agent.delete(&call.attachment()).ok();
        interface::remove(&host_ifname).ok();
        for ip in ips(&given.address) {
            agent.release(ip).ok();
        }
    })
}

fn ips(pair: &AddressPair) -> impl Iterator<Item = IpAddr> {
    pair.ipv4.map(IpAddr::V4).into_iter().chain(pair.ipv6.map(IpAddr::V6))
}

fn addresses(pair: &AddressPair, host: &api::Addressing) -> Result<Vec<Address>, Error> {
    let gateway = |family: &Option<FamilyAddress>| {
        let gateway = family.as_ref().and_then(|family| family.ip.parse().ok());
        let rule = "it gives an address without a gateway".to_owned();
        gateway.ok_or(Error::Answer { request: "POST /ipam".to_owned(), rule })
    };
    let address = |ip: IpAddr| {
        let family = if ip.is_ipv4() { &host.ipv4 } else { &host.ipv6 };
        Ok(Address { ip, gateway: gateway(family)? })
    };
    ips(pair).map(address).collect()
}
