//! CHECK.

use crate::agent::Agent;
use crate::call::Call;
use crate::error::Error;
use crate::interface;

/// Whether what ADD made is still there, in the agent and in the sandbox.
pub(crate) fn run(call: &Call) -> Result<(), Error> {
    let endpoint = Agent::new(&call.conf.socket_path).endpoint(&call.attachment())?;
    let netns = call.netns.as_deref().ok_or(Error::Environment { name: "CNI_NETNS", rule: "is required" })?;
    let there = interface::addresses(netns, &call.ifname)?;
    for pair in &endpoint.status.networking.addressing {
        let wanted = pair.ipv4.map(std::net::IpAddr::V4).into_iter().chain(pair.ipv6.map(std::net::IpAddr::V6));
        for ip in wanted {
            if !there.contains(&ip) {
                return Err(Error::Check(format!("{} in {} has lost its address {ip}", call.ifname, netns.display())));
            }
        }
    }
    if endpoint.status.state == "disconnecting" {
        return Err(Error::Check(format!("endpoint {} is being disconnected", endpoint.id)));
    }
    Ok(())
}
