//! The manifest directory of a cluster: files are replaced whole, by rename.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A cluster's manifests.
#[derive(Debug, Clone)]
pub struct Manifests {
    dir: PathBuf,
}

impl Manifests {
    /// The directory, made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Writes a file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        self.write_bytes(name, text.as_bytes())
    }

    /// Writes a file that need not be text.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write_bytes(&self, name: &str, text: &[u8]) -> Result<()> {
        let temporary = self.dir.join(format!(".{name}"));
        let file = self.dir.join(name);
        fs::write(&temporary, text)
            .and_then(|()| fs::rename(&temporary, &file))
            .with_context(|| format!("write {}", file.display()))
    }

    /// Removes a file; an absent one is removed already.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let file = self.dir.join(name);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", file.display()))
            }
            _ => Ok(()),
        }
    }

    /// Writes a Namespace.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn namespace(&self, name: &str) -> Result<()> {
        self.object(
            &format!("namespace-{name}.yaml"),
            &json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
            }),
        )
    }

    /// Writes a Pod.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn pod(&self, namespace: &str, name: &str, labels: &Labels) -> Result<()> {
        self.object(
            &format!("pod-{namespace}-{name}.yaml"),
            &json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": namespace, "name": name, "labels": labels},
                "spec": {"containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8080}]}]},
            }),
        )
    }

    /// Writes a Service on port 80 for pods by label `app`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn service(
        &self,
        namespace: &str,
        name: &str,
        app: &str,
        ips: &[String],
        annotations: &[(&str, &str)],
    ) -> Result<()> {
        let port = json!({"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"});
        self.service_with_ports(namespace, name, app, ips, annotations, &[port])
    }

    /// The same with ports as a Service's spec has them.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn service_with_ports(
        &self,
        namespace: &str,
        name: &str,
        app: &str,
        ips: &[String],
        annotations: &[(&str, &str)],
        ports: &[Value],
    ) -> Result<()> {
        let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
        self.object(
            &service_file(namespace, name),
            &json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
                "spec": {
                    "clusterIP": ips.first(), "clusterIPs": ips, "selector": {"app": app}, "ports": ports,
                },
            }),
        )
    }

    /// A Service as it was written.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read_service(&self, namespace: &str, name: &str) -> Result<Value> {
        let file = self.dir.join(service_file(namespace, name));
        let text = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("understand {}", file.display()))
    }

    /// Writes a CiliumNetworkPolicy with this spec.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn policy(&self, namespace: &str, name: &str, spec: &Value) -> Result<()> {
        self.object(
            &policy_file(namespace, name),
            &json!({
                "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
                "metadata": {"namespace": namespace, "name": name}, "spec": spec,
            }),
        )
    }

    /// Removes a CiliumNetworkPolicy.
    ///
    /// # Errors
    ///
    /// When its file cannot be removed.
    pub fn remove_policy(&self, namespace: &str, name: &str) -> Result<()> {
        self.remove(&policy_file(namespace, name))
    }

    /// JSON is YAML, so an object needs no writer of its own.
    fn object(&self, file: &str, object: &Value) -> Result<()> {
        self.write(file, &format!("{object:#}\n"))
    }
}

fn service_file(namespace: &str, name: &str) -> String {
    format!("service-{namespace}-{name}.yaml")
}

fn policy_file(namespace: &str, name: &str) -> String {
    format!("policy-{namespace}-{name}.yaml")
}
