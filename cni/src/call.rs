//! What the runtime asks for.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::Error;
use crate::result;

/// A call of the plugin.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) command: Command,
    pub(crate) conf: Conf,
    /// The sandbox; empty for VERSION and STATUS.
    pub(crate) container_id: String,
    /// Its network namespace; a DEL may come without one.
    pub(crate) netns: Option<PathBuf>,
    /// The interface in it.
    pub(crate) ifname: String,
    pub(crate) namespace: String,
    pub(crate) pod_name: String,
}

/// The verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Version,
    Status,
}

/// The network configuration, as far as we use it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Conf {
    #[serde(default)]
    pub(crate) cni_version: String,
    /// The network's name, which every call but VERSION must have.
    #[serde(default)]
    pub(crate) name: String,
    /// Where the agent is.
    #[serde(rename = "socket-path", default = "default_socket")]
    pub(crate) socket_path: PathBuf,
    /// What ADD answered, for CHECK and DEL.
    #[serde(default)]
    pub(crate) prev_result: Option<Previous>,
}

/// What an earlier ADD answered.
#[derive(Debug, Deserialize)]
pub(crate) struct Previous {
    #[serde(default)]
    pub(crate) ips: Vec<PreviousIp>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PreviousIp {
    pub(crate) address: String,
}

/// It becomes part of paths and names; runtimes use 64 digits.
const MAX_CONTAINER_ID: usize = 255;

/// What a runtime may hand on of an earlier call.
fn check_previous(command: Command, previous: Option<&Previous>) -> Result<(), Error> {
    match (command, previous) {
        (Command::Add, Some(_)) => Err(Error::Unusable(
            "prevResult is set for ADD: this plugin makes the interface and must be the first of its chain".to_owned(),
        )),
        (Command::Check, None) => Err(Error::Unusable("prevResult is required for CHECK".to_owned())),
        (Command::Check, Some(previous)) => {
            let bad = previous.ips.iter().find(|ip| ip.address.parse::<ipnet::IpNet>().is_err());
            bad.map_or(Ok(()), |ip| {
                Err(Error::Unusable(format!("prevResult.ips: {:?} is not an address with a prefix length", ip.address)))
            })
        }
        _ => Ok(()),
    }
}

fn default_socket() -> PathBuf {
    std::env::var_os("CAUSEWAY_SOCK").map_or_else(|| api::paths::SOCKET.into(), PathBuf::from)
}

// === impl Call ===

impl Call {
    /// Reads the environment and the configuration.
    pub(crate) fn parse(env: impl Fn(&str) -> Option<String>, stdin: &[u8]) -> Result<Self, Error> {
        let set = |name: &'static str| env(name).filter(|value| !value.is_empty());
        let required = |name: &'static str| set(name).ok_or(Error::Environment { name, rule: "is required" });
        let command = match required("CNI_COMMAND")?.as_str() {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "VERSION" => Command::Version,
            "STATUS" => Command::Status,
            _ => {
                let rule = "is none of ADD, DEL, CHECK, VERSION, STATUS";
                return Err(Error::Environment { name: "CNI_COMMAND", rule });
            }
        };
        let mut conf: Conf = serde_json::from_slice(stdin).map_err(Error::Configuration)?;
        if conf.cni_version.is_empty() {
            // What the specification means by an absent version.
            conf.cni_version = "0.1.0".to_owned();
        }
        if command != Command::Version && !result::SUPPORTED.contains(&conf.cni_version.as_str()) {
            return Err(Error::Version { version: conf.cni_version });
        }
        if command != Command::Version && conf.name.is_empty() {
            return Err(Error::Unusable("name is required".to_owned()));
        }
        if !conf.socket_path.is_absolute() {
            let path = conf.socket_path.display();
            return Err(Error::Unusable(format!("socket-path {path} is not absolute: it would depend on the runtime")));
        }
        check_previous(command, conf.prev_result.as_ref())?;
        let mut call = Self {
            command,
            conf,
            container_id: String::new(),
            netns: set("CNI_NETNS").map(PathBuf::from),
            ifname: String::new(),
            namespace: String::new(),
            pod_name: String::new(),
        };
        if matches!(command, Command::Version | Command::Status) {
            return Ok(call);
        }
        call.container_id = required("CNI_CONTAINERID")?;
        call.ifname = required("CNI_IFNAME")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !call.container_id.chars().all(plain) || !call.container_id.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            let rule = "must begin with a letter or digit and hold only letters, digits, '_', '.', '-'";
            return Err(Error::Environment { name: "CNI_CONTAINERID", rule });
        }
        if call.container_id.len() > MAX_CONTAINER_ID {
            return Err(Error::Environment { name: "CNI_CONTAINERID", rule: "is longer than 255 bytes" });
        }
        // IFNAMSIZ less the terminating zero.
        if call.ifname.len() > 15
            || call.ifname.contains(|c: char| "/:".contains(c) || c.is_whitespace() || c.is_control())
            || [".", ".."].contains(&&*call.ifname)
        {
            let rule = "is no interface name: at most 15 bytes without '/', ':' and blanks";
            return Err(Error::Environment { name: "CNI_IFNAME", rule });
        }
        if command != Command::Del && call.netns.is_none() {
            return Err(Error::Environment { name: "CNI_NETNS", rule: "is required" });
        }
        for (key, value) in
            set("CNI_ARGS").iter().flat_map(|args| args.split(';')).filter_map(|arg| arg.split_once('='))
        {
            match key {
                "K8S_POD_NAMESPACE" => call.namespace = value.to_owned(),
                "K8S_POD_NAME" => call.pod_name = value.to_owned(),
                _ => {}
            }
        }
        let name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
        if !name(&call.namespace) || !name(&call.pod_name) {
            let rule = "must hold names of letters, digits, '-' and '.' in K8S_POD_NAMESPACE and K8S_POD_NAME";
            return Err(Error::Environment { name: "CNI_ARGS", rule });
        }
        if command == Command::Add && (call.namespace.is_empty() || call.pod_name.is_empty()) {
            let rule = "must hold K8S_POD_NAMESPACE and K8S_POD_NAME: an identity needs the pod's name";
            return Err(Error::Environment { name: "CNI_ARGS", rule });
        }
        Ok(call)
    }

    /// How the agent finds the endpoint again.
    pub(crate) fn attachment(&self) -> String {
        format!("cni-attachment-id:{}:{}", self.container_id, self.ifname)
    }

    /// Who the addresses are handed to.
    pub(crate) fn owner(&self) -> String {
        format!("{}/{}:{}:{}", self.namespace, self.pod_name, self.container_id, self.ifname)
    }

    /// The addresses that an earlier ADD answered.
    pub(crate) fn previous_ips(&self) -> Vec<IpAddr> {
        let previous = self.conf.prev_result.iter().flat_map(|previous| &previous.ips);
        previous.filter_map(|ip| ip.address.split('/').next()?.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r#"{"cniVersion":"1.0.0","name":"causeway","type":"causeway-cni"}"#;

    fn parse(env: &[(&str, &str)], conf: &str) -> Result<Call, String> {
        let look = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Call::parse(look, conf.as_bytes()).map_err(|error| error.to_string())
    }

    const ADD: [(&str, &str); 5] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "abc"),
        ("CNI_NETNS", "/run/netns/p"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart"),
    ];

    #[track_caller]
    fn refused(change: (&str, &str), conf: &str, expected: &str) {
        let mut env = ADD.to_vec();
        env.retain(|(key, _)| *key != change.0);
        env.push(change);
        let error = parse(&env, conf).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn call_is_read_from_environment_and_configuration() {
        let call = parse(&ADD, CONF).unwrap();
        assert_eq!(call.attachment(), "cni-attachment-id:abc:eth0");
        assert_eq!(call.owner(), "shop/cart:abc:eth0");
    }

    #[test]
    fn bad_input_is_named() {
        refused(("CNI_COMMAND", "FROB"), CONF, "CNI_COMMAND is none of");
        refused(("CNI_CONTAINERID", ""), CONF, "CNI_CONTAINERID is required");
        refused(("CNI_CONTAINERID", "../x"), CONF, "CNI_CONTAINERID must begin");
        refused(("CNI_IFNAME", "a/b"), CONF, "CNI_IFNAME is no interface name");
        refused(("CNI_NETNS", ""), CONF, "CNI_NETNS is required");
        refused(("CNI_ARGS", "K8S_POD_NAME=cart"), CONF, "CNI_ARGS must hold");
        refused(("CNI_CONTAINERID", &"a".repeat(256)), CONF, "longer than 255");
        refused(("CNI_ARGS", "K8S_POD_NAMESPACE=a/b;K8S_POD_NAME=cart"), CONF, "CNI_ARGS must hold names");
        refused(("x", "x"), r#"{"cniVersion":"1.0.0"}"#, "name is required");
        refused(("x", "x"), r#"{"cniVersion":"1.0.0","name":"n","prevResult":{"ips":[]}}"#, "first of its chain");
        refused(("CNI_COMMAND", "CHECK"), CONF, "required for CHECK");
        let bad = r#"{"cniVersion":"1.0.0","name":"n","prevResult":{"ips":[{"address":"10.1"}]}}"#;
        refused(("CNI_COMMAND", "CHECK"), bad, "\"10.1\" is not an address");
        refused(("x", "x"), r#"{"cniVersion":"1.0.0","name":"n","socket-path":"x"}"#, "not absolute");
        refused(("x", "x"), r#"{"cniVersion":"9.0.0"}"#, "9.0.0");
        refused(("x", "x"), "{", "configuration");
    }
}
