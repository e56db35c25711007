//! The client's configuration in etcd's own YAML, as stock meshes have it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use etcd_client::{Certificate, Identity, TlsOptions};
use serde::Deserialize;

/// Fields as etcd's client library names them. What we cannot honour is refused, not ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EtcdConfig {
    pub endpoints: Vec<String>,
    #[serde(default)]
    pub trusted_ca_file: Option<PathBuf>,
    /// The old name of `trusted-ca-file`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<String>,
    /// No TLS, whatever files are named.
    #[serde(default)]
    pub insecure_transport: bool,
    #[serde(default)]
    pub insecure_skip_tls_verify: bool,
    // Nanoseconds, as Go marshals them. Cilium overrides all of these, and so do we.
    #[serde(default)]
    pub dial_timeout: Option<u64>,
    #[serde(default)]
    pub dial_keep_alive_time: Option<u64>,
    #[serde(default)]
    pub dial_keep_alive_timeout: Option<u64>,
    #[serde(default)]
    pub auto_sync_interval: Option<u64>,
    #[serde(default)]
    pub permit_without_stream: Option<bool>,
    /// From our own options, not from the file.
    #[serde(skip)]
    pub keep_alive_time: Option<Duration>,
    #[serde(skip)]
    pub keep_alive_timeout: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is no etcd client configuration")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    #[error("no endpoints")]
    NoEndpoints,
    #[error("endpoint {0:?} is not of the form http[s]://host:port")]
    Endpoint(String),
    #[error("endpoints mix http and https")]
    MixedEndpoints,
    #[error("https endpoints need trusted-ca-file")]
    NoCa,
    #[error("cert-file and key-file must be given together")]
    HalfIdentity,
    #[error("username and password must be given together")]
    HalfUser,
    #[error("insecure-skip-tls-verify is not supported: name the CA in trusted-ca-file")]
    SkipVerify,
}

pub fn load_config(path: &Path) -> Result<EtcdConfig, ConfigError> {
    parse_config(path, &read_text(path)?)
}

/// `path` is for error messages only.
pub fn parse_config(path: &Path, text: &str) -> Result<EtcdConfig, ConfigError> {
    let config: EtcdConfig = serde_saphyr::from_str(text)
        .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
    config.check()?;
    Ok(config)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

// === impl EtcdConfig ===

impl EtcdConfig {
    /// Plain text to one server: for tests and tools.
    pub fn insecure(endpoint: impl Into<String>) -> Self {
        Self { endpoints: vec![endpoint.into()], ..Self::default() }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoints);
        }
        for endpoint in &self.endpoints {
            let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
            let host = rest.unwrap_or(endpoint).trim_end_matches('/');
            let port = host.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
            if endpoint.contains("://") && rest.is_none() || !matches!(port, Some(Ok(_))) || host.contains('/') {
                return Err(ConfigError::Endpoint(endpoint.clone()));
            }
        }
        let https = self.endpoints.iter().filter(|e| e.starts_with("https://")).count();
        if https > 0 && https < self.endpoints.len() {
            return Err(ConfigError::MixedEndpoints);
        }
        if self.insecure_skip_tls_verify {
            return Err(ConfigError::SkipVerify);
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err(ConfigError::HalfIdentity);
        }
        if self.username.is_some() != self.password.is_some() {
            return Err(ConfigError::HalfUser);
        }
        if self.is_tls() && self.ca().is_none() {
            return Err(ConfigError::NoCa);
        }
        Ok(())
    }

    fn ca(&self) -> Option<&PathBuf> {
        self.trusted_ca_file.as_ref().or(self.ca_file.as_ref())
    }

    /// By the endpoints' scheme; endpoints without one use TLS where files are named.
    fn is_tls(&self) -> bool {
        let scheme = self.endpoints.iter().any(|e| e.starts_with("https://"));
        let plain = self.endpoints.iter().any(|e| e.starts_with("http://"));
        !self.insecure_transport && !plain && (scheme || self.ca().is_some() || self.cert_file.is_some())
    }

    /// Reads the certificate files.
    pub(crate) fn tls(&self) -> Result<Option<TlsOptions>, ConfigError> {
        self.check()?;
        if !self.is_tls() {
            return Ok(None);
        }
        let mut tls = TlsOptions::new();
        if let Some(ca) = self.ca() {
            tls = tls.ca_certificate(Certificate::from_pem(read_text(ca)?));
        }
        if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
            tls = tls.identity(Identity::from_pem(read_text(cert)?, read_text(key)?));
        }
        Ok(Some(tls))
    }

    pub(crate) fn user(&self) -> Result<Option<(String, String)>, ConfigError> {
        self.check()?;
        Ok(self.username.clone().zip(self.password.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<EtcdConfig, String> {
        parse_config(Path::new("west"), text).map_err(|e| match std::error::Error::source(&e) {
            Some(source) => format!("{e}: {source}"),
            None => e.to_string(),
        })
    }

    #[test]
    fn the_file_of_a_stock_mesh_is_understood() {
        let config = parse(
            "endpoints:\n- https://west.mesh.cilium.io:2379\n- https://10.0.0.1:2379\n\
             trusted-ca-file: /var/lib/cilium/clustermesh/common-etcd-client-ca.crt\n\
             cert-file: /c.crt\nkey-file: /c.key\n",
        );
        let config = config.unwrap();
        assert_eq!(config.endpoints.len(), 2);
        assert!(config.is_tls());
        assert!(!parse("endpoints: [\"http://127.0.0.1:2379\"]").unwrap().is_tls());
        assert!(parse("endpoints: [\"127.0.0.1:2379\"]\nca-file: /ca").unwrap().is_tls());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        fn check(text: &str, part: &str) {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        check("endpoints: []", "no endpoints");
        check("endpoints: [\"http://a:1\"]\ntrust-ca-file: x", "trust-ca-file");
        check("endpoints: [\"ftp://a:1\"]", "ftp://a:1");
        check("endpoints: [\"http://a\"]", "http://a");
        check("endpoints: [\"http://a:1\", \"https://b:1\"]\nca-file: /x", "mix");
        check("endpoints: [\"https://a:1\"]", "trusted-ca-file");
        check("endpoints: [\"https://a:1\"]\nca-file: /x\ncert-file: /c", "key-file");
        check("endpoints: [\"http://a:1\"]\nusername: x", "password");
        check("endpoints: [\"https://a:1\"]\ninsecure-skip-tls-verify: true", "insecure-skip-tls-verify");
        check("endpoints: 7", "no etcd client configuration");
    }

    #[test]
    fn a_missing_certificate_is_named() {
        let config = parse("endpoints: [\"https://a:1\"]\ntrusted-ca-file: /nowhere/ca.crt").unwrap();
        assert_eq!(config.tls().unwrap_err().to_string(), "cannot read /nowhere/ca.crt");
    }
}
