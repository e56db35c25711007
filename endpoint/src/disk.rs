//! An endpoint's file: what a restarted agent needs to go on where it was.
//!
//! One JSON file an endpoint, `<id>.json`, written to a temporary file and renamed. A file that does not parse is
//! reported and left where it is: its pod keeps forwarding by the pinned programs.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model::{EndpointId, Labels, NamedPort, NumericIdentity};
use serde::{Deserialize, Serialize};
use tables::{Endpoint, EndpointState};

/// Why a file could not be written, read or understood.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading or writing failed.
    #[error("{what} endpoint file {}", path.display())]
    Io {
        /// `read`, `write` or `remove`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not an endpoint.
    #[error("endpoint file {} is not an endpoint of this version ({rule})", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        rule: String,
    },
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    id: u16,
    container_id: String,
    netns: String,
    container_ifname: String,
    host_ifname: String,
    host_ifindex: u32,
    mac: String,
    host_mac: String,
    ipv4: Option<std::net::Ipv4Addr>,
    ipv6: Option<std::net::Ipv6Addr>,
    namespace: String,
    pod_name: String,
    service_account: String,
    named_ports: Vec<(String, u16, String)>,
    labels: Vec<String>,
    identity: Option<u32>,
}

const VERSION: u32 = 1;

/// Writes an endpoint's file.
///
/// # Errors
///
/// [`FileError::Io`].
pub fn save(folder: &Path, row: &Endpoint) -> Result<(), FileError> {
    let path = path(folder, row.id);
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let temporary = path.with_extension("tmp");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&File::of(row))?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|source| FileError::Io { what: "write", path: path.clone(), source })
}

/// Removes an endpoint's file; an absent one is removed already.
///
/// # Errors
///
/// [`FileError::Io`].
pub fn remove(folder: &Path, id: EndpointId) -> Result<(), FileError> {
    let path = path(folder, id);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::Io { what: "remove", path, source: error })
        }
        _ => Ok(()),
    }
}

/// Every endpoint of the folder, and every file that is none.
///
/// # Errors
///
/// [`FileError::Io`] when the folder itself cannot be read.
pub fn load(folder: &Path) -> Result<(Vec<Endpoint>, Vec<FileError>), FileError> {
    let error = |path: &Path, source| FileError::Io { what: "read", path: path.to_path_buf(), source };
    let entries = match fs::read_dir(folder) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        entries => entries.map_err(|source| error(folder, source))?,
    };
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.map_err(|source| error(folder, source))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match read(&path) {
            Ok(row) => rows.push(row),
            Err(error) => bad.push(error),
        }
    }
    rows.sort_by_key(|row| row.id);
    Ok((rows, bad))
}

fn path(folder: &Path, id: EndpointId) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn read(path: &Path) -> Result<Endpoint, FileError> {
    let bytes = fs::read(path).map_err(|source| FileError::Io { what: "read", path: path.to_path_buf(), source })?;
    let parse = || -> Result<Endpoint, String> {
        let file: File = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        file.endpoint()
    };
    parse().map_err(|rule| FileError::Format { path: path.to_path_buf(), rule })
}

// === impl File ===

impl File {
    fn of(row: &Endpoint) -> Self {
        let named = |port: &NamedPort| (port.name.to_string(), port.port, port.proto.to_string());
        Self {
            version: VERSION,
            id: row.id.0,
            container_id: row.container_id.to_string(),
            netns: row.netns.to_string(),
            container_ifname: row.container_ifname.to_string(),
            host_ifname: row.host_ifname.to_string(),
            host_ifindex: row.host_ifindex,
            mac: row.mac.to_string(),
            host_mac: row.host_mac.to_string(),
            ipv4: row.ipv4,
            ipv6: row.ipv6,
            namespace: row.namespace.to_string(),
            pod_name: row.pod_name.to_string(),
            service_account: row.service_account.to_string(),
            named_ports: row.named_ports.iter().map(named).collect(),
            labels: row.labels.iter().map(ToString::to_string).collect(),
            identity: row.identity.map(NumericIdentity::get),
        }
    }

    fn endpoint(self) -> Result<Endpoint, String> {
        if self.version != VERSION {
            return Err(format!("version {} is not {VERSION}", self.version));
        }
        let named = |(name, port, proto): (String, u16, String)| {
            let proto = proto.parse().map_err(|_| format!("protocol {proto:?}"))?;
            Ok::<_, String>(NamedPort { name: name.into(), port, proto })
        };
        let label = |text: &String| text.parse().map_err(|_| format!("label {text:?}"));
        Ok(Endpoint {
            id: EndpointId(self.id),
            container_id: self.container_id.into(),
            netns: self.netns.into(),
            container_ifname: self.container_ifname.into(),
            host_ifname: self.host_ifname.into(),
            host_ifindex: self.host_ifindex,
            mac: self.mac.parse().map_err(|error| format!("mac: {error}"))?,
            host_mac: self.host_mac.parse().map_err(|error| format!("host_mac: {error}"))?,
            ipv4: self.ipv4,
            ipv6: self.ipv6,
            namespace: self.namespace.into(),
            pod_name: self.pod_name.into(),
            service_account: self.service_account.into(),
            named_ports: self.named_ports.into_iter().map(named).collect::<Result<_, _>>()?,
            labels: self
                .labels
                .iter()
                .map(label)
                .collect::<Result<Vec<model::Label>, _>>()?
                .into_iter()
                .collect::<Labels>(),
            identity: self.identity.map(NumericIdentity::new),
            state: EndpointState::Restoring,
        })
    }
}

#[cfg(test)]
mod tests {
    use tables::MacAddr;

    use super::*;

    #[test]
    fn round_trip_and_a_damaged_file_is_reported_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let row = Endpoint {
            id: EndpointId(7),
            container_id: "abc".into(),
            netns: "/run/netns/p".into(),
            container_ifname: "eth0".into(),
            host_ifname: "lxc7".into(),
            host_ifindex: 9,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            host_mac: MacAddr([2, 0, 0, 0, 0, 2]),
            ipv4: "10.0.0.2".parse().ok(),
            ipv6: "fd00::2".parse().ok(),
            namespace: "shop".into(),
            pod_name: "cart".into(),
            service_account: "default".into(),
            named_ports: vec![NamedPort { name: "http".into(), port: 80, proto: model::Protocol::Tcp }],
            labels: "k8s:app=cart".split(',').map(|label| label.parse().unwrap()).collect(),
            identity: Some(NumericIdentity::new(65600)),
            state: EndpointState::Restoring,
        };
        save(folder.path(), &row).unwrap();
        fs::write(folder.path().join("8.json"), r#"{"version":1}"#).unwrap();
        let (rows, bad) = load(folder.path()).unwrap();
        assert_eq!(rows, [row]);
        assert!(bad[0].to_string().contains("8.json"), "{}", bad[0]);
        remove(folder.path(), EndpointId(7)).unwrap();
        remove(folder.path(), EndpointId(7)).unwrap();
        assert!(load(folder.path()).unwrap().0.is_empty());
    }
}
