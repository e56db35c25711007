//! Where an archive's content comes from.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command as Process;

/// Options of the agent that name a file or a directory worth having.
const NAMES_FILES: [&str; 3] = ["--config-dir", "--clustermesh-config", "--k8s-manifests"];

/// A command whose output goes into a file.
pub(super) struct Command {
    pub(super) file: String,
    words: Vec<String>,
}

impl Command {
    fn new(file: impl Into<String>, words: &[&str]) -> Self {
        Self { file: file.into(), words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    pub(super) fn shown(&self) -> String {
        self.words.join(" ")
    }

    /// Everything that it prints; a program that is not there is an answer too.
    pub(super) async fn run(&self) -> Vec<u8> {
        let mut process = Process::new(&self.words[0]);
        process.args(&self.words[1..]).stdin(Stdio::null()).kill_on_drop(true);
        match process.output().await {
            Ok(output) => {
                let head = format!("# {}\n# {}\n", self.shown(), output.status);
                [head.as_bytes(), &output.stdout, &output.stderr].concat()
            }
            Err(error) => format!("# {}\n# cannot be run: {error}\n", self.shown()).into_bytes(),
        }
    }
}

/// Everything that is asked by a command.
pub(super) fn commands(socket: &Path, bpf_root: &Path) -> Vec<Command> {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("causeway"));
    let (own, socket) = (own.display().to_string(), socket.display().to_string());
    let root = bpf_root.display().to_string();
    let agent = |file: &str, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        Command::new(format!("causeway/{file}"), &[&[&own[..]], &words[..], &["--socket-path", &socket]].concat())
    };
    let kernel = |file: &str, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        Command::new(format!("bpf/{file}"), &[&[&own[..], "bpf"], &words[..], &["--bpf-root", &root]].concat())
    };
    let system =
        |file: &str, words: &str| Command::new(format!("system/{file}"), &words.split(' ').collect::<Vec<_>>());
    let mut all = vec![
        agent("status.txt", "status --verbose"),
        agent("status.json", "status -o json"),
        agent("endpoint-list.txt", "endpoint list"),
        agent("endpoint-list.json", "endpoint list -o json"),
        agent("identity-list.txt", "identity list"),
        agent("ip-list.txt", "ip list"),
        agent("node-list.txt", "node list"),
        agent("service-list.txt", "service list"),
        agent("policy-get.txt", "policy get"),
        agent("policy-selectors.txt", "policy selectors"),
        agent("clustermesh-status.txt", "clustermesh status"),
        agent("metrics-list.txt", "metrics list"),
        agent("map-list.txt", "map list --verbose"),
        agent("statedb.txt", "statedb"),
    ];
    for table in TABLES {
        all.push(agent(&format!("statedb/{table}.txt"), &format!("statedb show {table}")));
    }
    for map in MAPS {
        all.push(agent(&format!("map-events/{map}.txt"), &format!("map events {map}")));
    }
    all.extend([
        kernel("ipcache.txt", "ipcache list"),
        kernel("policy.txt", "policy list"),
        kernel("lb.txt", "lb list"),
        kernel("lb-backends.txt", "lb list --backends"),
        kernel("lb-revnat.txt", "lb list --revnat"),
        kernel("ct.txt", "ct list global"),
        kernel("metrics.txt", "metrics list"),
        kernel("endpoint.txt", "endpoint list"),
        system("version.txt", &format!("{own} --version")),
        system("uname.txt", "uname -a"),
        system("links.txt", "ip -d -s link"),
        system("addresses.txt", "ip address"),
        system("routes4.txt", "ip -4 route show table all"),
        system("routes6.txt", "ip -6 route show table all"),
        system("rules.txt", "ip rule"),
        system("neighbours.txt", "ip neighbour"),
        system("sockets.txt", "ss -s"),
        system("bpftool-prog.txt", "bpftool prog show"),
        system("bpftool-map.txt", "bpftool map show"),
        system("bpftool-net.txt", "bpftool net show"),
        system("memory.txt", "cat /proc/meminfo"),
    ]);
    all
}

/// The agent's tables.
const TABLES: [&str; 22] = [
    "alarms",
    "backends",
    "endpoints",
    "exports",
    "frontends",
    "global-services",
    "identities",
    "identity-grants",
    "identity-requests",
    "ipcache",
    "ips",
    "namespaces",
    "nodes",
    "pods",
    "policy-map",
    "policy-progress",
    "policy-rules",
    "policy-selectors",
    "realized-endpoints",
    "rejected",
    "remote-clusters",
    "services",
];

/// Maps whose last writes tell something.
const MAPS: [&str; 6] = ["ipcache4", "ipcache6", "policy_set", "endpoints4", "services4", "backends4"];

/// A file as it is.
pub(super) fn file(path: &Path) -> (String, Vec<u8>) {
    let name = path.display().to_string();
    let content = std::fs::read(path).unwrap_or_else(|error| format!("cannot be read: {error}\n").into_bytes());
    (format!("files/{}", name.trim_start_matches('/')), content)
}

/// Arguments, environment and configuration files of the agent behind the socket.
pub(super) async fn agent(socket: &Path) -> Vec<(String, Vec<u8>)> {
    let pid = match tokio::net::UnixStream::connect(socket).await {
        Ok(stream) => nix::sys::socket::getsockopt(&stream.as_fd(), nix::sys::socket::sockopt::PeerCredentials),
        Err(error) => {
            return vec![("agent/missing.txt".to_owned(), format!("{}: {error}\n", socket.display()).into_bytes())];
        }
    };
    let Ok(pid) = pid.map(|credentials| credentials.pid()) else { return Vec::new() };
    let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let split = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let (arguments, environment) = (split(read("cmdline")), split(read("environ")));
    let mut found = vec![
        ("agent/arguments.txt".to_owned(), format!("{}\n", arguments.join(" ")).into_bytes()),
        ("agent/environment.txt".to_owned(), format!("{}\n", environment.join("\n")).into_bytes()),
        ("agent/status.txt".to_owned(), read("status")),
        ("agent/limits.txt".to_owned(), read("limits")),
    ];
    for path in named(&arguments) {
        let inside = std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
        let files: Vec<PathBuf> =
            if path.is_dir() { inside.filter(|path| path.is_file()).collect() } else { vec![path] };
        found.extend(files.iter().map(|path| file(path)));
    }
    found
}

/// The files and directories that arguments name.
fn named(arguments: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (index, word) in arguments.iter().enumerate() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), arguments.get(index + 1).map(String::as_str)),
        };
        let Some(value) = value else { continue };
        if NAMES_FILES.contains(&name) {
            found.push(PathBuf::from(value));
        }
        if name == "--kvstore-opt" {
            found.extend(value.split(',').filter_map(|pair| pair.strip_prefix("etcd.config=")).map(PathBuf::from));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_found_in_both_forms_of_an_argument() {
        let words = "agent --config-dir /a --clustermesh-config=/b --kvstore-opt etcd.qps=1,etcd.config=/c --other /d";
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        assert_eq!(named(&words), ["/a", "/b", "/c"].map(PathBuf::from));
    }
}
