//! The directory with one client configuration per remote cluster.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use kvstore::{EtcdConfig, parse_config};
use model::ClusterName;

/// What makes a file a remote cluster: certificates lie beside them.
const MARK: &str = "endpoints:";

/// One remote cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Where its store is.
    pub config: EtcdConfig,
    /// The file's text: another text means another connection.
    pub text: String,
}

/// What the directory says, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// Usable files.
    pub remotes: BTreeMap<ClusterName, RemoteFile>,
    /// Files that are there but not usable: the cluster keeps the file that it had.
    pub keep: Vec<ClusterName>,
    /// What is wrong, by file name.
    pub problems: BTreeMap<String, String>,
}

// === impl Directory ===

impl Directory {
    /// Reads it. Hidden files and directories are left out, and so is what has no endpoints.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed: then nothing has changed.
    pub fn read(path: &Path, own: &ClusterName) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            if name.starts_with('.') || path.is_dir() {
                continue;
            }
            found.add(&name, own, &path, fs::read_to_string(&path));
        }
        Ok(found)
    }

    fn add(&mut self, name: &str, own: &ClusterName, path: &Path, text: io::Result<String>) {
        let cluster = ClusterName::try_new(name);
        let mut problem = |what: String| drop(self.problems.insert(name.to_owned(), what));
        let text = match text {
            Ok(text) => text,
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                // A certificate that only others may read is none of our business.
                if let Ok(cluster) = cluster {
                    problem(format!("cannot read {}: {error}", path.display()));
                    self.keep.push(cluster);
                }
                return;
            }
        };
        if !text.contains(MARK) {
            return;
        }
        let cluster = match cluster {
            Ok(cluster) if cluster == *own => {
                return problem(format!("{} is our own cluster: remove the file", path.display()));
            }
            Ok(cluster) if cluster.as_str() == ClusterName::DEFAULT => {
                return problem(format!("{}: the name \"default\" is reserved", path.display()));
            }
            Ok(cluster) => cluster,
            Err(error) => return problem(format!("{}: {error}", path.display())),
        };
        match parse_config(path, &text) {
            Ok(config) => drop(self.remotes.insert(cluster, RemoteFile { config, text })),
            Err(error) => {
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                problem(format!("{}: {error}{}", path.display(), source.unwrap_or_default()));
                self.keep.push(cluster);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_endpoints_are_clusters() {
        let folder = tempfile::tempdir().unwrap();
        let good = "endpoints: [\"http://127.0.0.1:2379\"]\n";
        for (name, text) in [
            ("west", good),
            ("..data", good),
            (".west.swp", good),
            ("east", good),
            ("West", good),
            ("default", good),
            ("common-etcd-client.crt", "-----BEGIN"),
            ("north", "endpoints: 7"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("south")).unwrap();
        let found = Directory::read(folder.path(), &"east".parse().unwrap()).unwrap();
        assert_eq!(found.remotes.keys().map(ClusterName::as_str).collect::<Vec<_>>(), ["west"]);
        assert_eq!(found.problems.keys().collect::<Vec<_>>(), ["West", "default", "east", "north"]);
        assert_eq!(found.keep, ["north".parse().unwrap()]);
        assert!(Directory::read(&folder.path().join("nowhere"), &"east".parse().unwrap()).is_err());
    }
}
