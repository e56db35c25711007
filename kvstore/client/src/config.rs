//! The client's configuration in etcd's own YAML, as stock meshes have it.

mod address;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Deserialize;

use self::address::check_endpoint;
use certificates::{Authorities, CertificateError, Pair, Purpose};

pub use self::address::Address;

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

/// What was read and found usable.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) ca: Option<Authorities>,
    pub(crate) pair: Option<Pair>,
}

/// A client file of more bytes is none: ten endpoints take one thousandth of it.
const MAX_FILE: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is no file: name an etcd client configuration in YAML")]
    NoFile { path: PathBuf },
    #[error("{path} has {size} bytes, and an etcd client configuration at most {MAX_FILE}: is it the right file?")]
    TooLarge { path: PathBuf, size: u64 },
    #[error("{path} is empty: it needs at least `endpoints: [\"http://host:port\"]`")]
    Empty { path: PathBuf },
    /// With line and column in etcd's YAML.
    #[error("{path}{place} is no etcd client configuration: {what}")]
    Parse { path: PathBuf, place: String, what: String },
    #[error("{path}")]
    In {
        path: PathBuf,
        #[source]
        source: Box<Self>,
    },
    #[error("no endpoints: name at least one, such as http://host:2379")]
    NoEndpoints,
    #[error("endpoint {endpoint:?} is not of the form http[s]://host:port or unix:///path: {rule}")]
    Endpoint { endpoint: String, rule: &'static str },
    #[error("endpoints mix http and https: one client uses TLS for all of them or for none")]
    MixedEndpoints,
    #[error("https endpoints need trusted-ca-file")]
    NoCa,
    #[error("cert-file and key-file must be given together")]
    HalfIdentity,
    #[error("username and password must be given together")]
    HalfUser,
    #[error("insecure-skip-tls-verify is not supported: name the CA in trusted-ca-file")]
    SkipVerify,
    #[error("the certificate files cannot be used for TLS: {why}")]
    Tls { why: String },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

pub fn load_config(path: &Path) -> Result<EtcdConfig, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(ConfigError::NoFile { path: path.to_owned() });
    }
    if metadata.len() > MAX_FILE {
        return Err(ConfigError::TooLarge { path: path.to_owned(), size: metadata.len() });
    }
    parse_config(path, &fs::read_to_string(path).map_err(failed)?)
}

/// `path` is for error messages only.
pub fn parse_config(path: &Path, text: &str) -> Result<EtcdConfig, ConfigError> {
    let size = text.len() as u64;
    if size > MAX_FILE {
        return Err(ConfigError::TooLarge { path: path.to_owned(), size });
    }
    if text.trim().is_empty() {
        return Err(ConfigError::Empty { path: path.to_owned() });
    }
    let config: EtcdConfig = serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        let what = error.without_snippet().to_string();
        let what = what.lines().next().unwrap_or_default().to_owned();
        ConfigError::Parse { path: path.to_owned(), place, what }
    })?;
    config.check().map_err(|source| ConfigError::In { path: path.to_owned(), source: Box::new(source) })?;
    Ok(config)
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
            check_endpoint(endpoint).map_err(|rule| ConfigError::Endpoint { endpoint: endpoint.clone(), rule })?;
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
        let plain = self.endpoints.iter().any(|e| e.starts_with("http://") || e.starts_with("unix:"));
        !self.insecure_transport && !plain && (scheme || self.ca().is_some() || self.cert_file.is_some())
    }

    /// Reads the certificate files and looks at them, as if they were about to be used.
    ///
    /// # Errors
    /// A file that cannot be used, by name, with what is wrong and how to mend it.
    pub fn check_certificates(&self, now: SystemTime) -> Result<(), ConfigError> {
        self.certificates(now).map(drop)
    }

    /// `None` without TLS.
    pub(crate) fn certificates(&self, now: SystemTime) -> Result<Option<Files>, ConfigError> {
        self.check()?;
        if !self.is_tls() {
            return Ok(None);
        }
        let ca = self.ca().map(|path| Authorities::read(path, now)).transpose()?;
        let pair = self.cert_file.as_deref().zip(self.key_file.as_deref());
        let pair = pair.map(|(cert, key)| Pair::read(cert, key, Purpose::Client, now)).transpose()?;
        Ok(Some(Files { ca, pair }))
    }

    pub(crate) fn user(&self) -> Result<Option<(String, String)>, ConfigError> {
        self.check()?;
        Ok(self.username.clone().zip(self.password.clone()))
    }
}

#[cfg(test)]
mod tests;
