//! What ADD and VERSION answer.

use serde_json::{Value, json};

/// The versions of the specification whose calls we understand.
pub(crate) const SUPPORTED: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The newest of them.
pub(crate) const NEWEST: &str = "1.1.0";

/// What ADD made.
pub(crate) struct Added<'a> {
    pub(crate) version: &'a str,
    pub(crate) host_ifname: &'a str,
    pub(crate) host_mac: String,
    pub(crate) ifname: &'a str,
    pub(crate) mac: String,
    pub(crate) netns: &'a str,
    pub(crate) mtu: u32,
    /// Address with prefix length, and its gateway.
    pub(crate) ips: Vec<(String, String)>,
}

pub(crate) fn versions() -> String {
    json!({"cniVersion": NEWEST, "supportedVersions": SUPPORTED}).to_string()
}

impl Added<'_> {
    pub(crate) fn to_json(&self) -> String {
        let newest = self.version == NEWEST;
        let ip = |(address, gateway): &(String, String)| {
            let mut ip = json!({"address": address, "gateway": gateway, "interface": 1});
            if !self.version.starts_with("1.") {
                ip["version"] = Value::from(if address.contains(':') { "6" } else { "4" });
            }
            ip
        };
        let route = |(address, gateway): &(String, String)| {
            let all = if address.contains(':') { "::/0" } else { "0.0.0.0/0" };
            let mut route = json!({"dst": all, "gw": gateway});
            if newest {
                route["mtu"] = Value::from(self.mtu);
            }
            route
        };
        let mut inside = json!({"name": self.ifname, "mac": self.mac, "sandbox": self.netns});
        if newest {
            inside["mtu"] = Value::from(self.mtu);
        }
        json!({
            "cniVersion": self.version,
            "interfaces": [{"name": self.host_ifname, "mac": self.host_mac}, inside],
            "ips": self.ips.iter().map(ip).collect::<Vec<_>>(),
            "routes": self.ips.iter().map(route).collect::<Vec<_>>(),
            "dns": {},
        })
        .to_string()
    }
}
