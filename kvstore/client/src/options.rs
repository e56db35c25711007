//! `--kvstore-opt`: where the store is and how hard it may be pressed, in Cilium's own words.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{Client, ClientOptions, ConfigError, ConnectError, Etcd, EtcdConfig, load_config};

/// `key=value` pairs, separated by commas. The names are Cilium's; an unknown one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `etcd.address`: one server in plain text.
    pub address: Option<String>,
    /// `etcd.config`: a file in etcd's own YAML.
    pub config: Option<PathBuf>,
    /// `etcd.qps`: requests a second; 20 unless stated, 0 for no limit.
    pub qps: Option<u32>,
    /// `etcd.bootstrapQps`: requests a second until a process is ready; 0 or absent: no rate of its own.
    pub bootstrap_qps: Option<u32>,
    /// `etcd.maxInflight`: requests at one time; as many as `qps` unless stated.
    pub max_inflight: Option<usize>,
    /// `etcd.limit`: keys of a page of a list, at most; 0 or absent: pages are sized by bytes alone.
    pub limit: Option<u32>,
    /// `etcd.keepaliveHeartbeat`: how often a silent connection is probed.
    pub keep_alive_time: Option<Duration>,
    /// `etcd.keepaliveTimeout`: how long a probe may stay without an answer.
    pub keep_alive_timeout: Option<Duration>,
    /// Name and password, before those of the file; not one of the pairs, for a password may hold a comma.
    pub user: Option<(String, String)>,
    /// Given beside, for commands: they win over those of `etcd.config`.
    pub files: ClientFiles,
}

/// Files for TLS, as etcdctl takes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientFiles {
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("--kvstore-opt {0:?} is not of the form key=value")]
    Form(String),
    #[error("--kvstore-opt {0:?} is not known{hint}: there are {known}", hint = did_you_mean(.0), known = KEYS.join(", "))]
    Unknown(String),
    #[error("--kvstore-opt {key}: {value:?} is not {what}")]
    Value { key: &'static str, value: String, what: &'static str },
    #[error("--kvstore-opt: where is the store? Give etcd.address=http://host:2379 or etcd.config=FILE")]
    Nowhere,
    #[error("--kvstore-opt: give one of etcd.address and etcd.config, not both")]
    Where,
    #[error("--kvstore-opt etcd.address")]
    Address(#[source] ConfigError),
    #[error("--kvstore-opt etcd.config")]
    Config(#[source] ConfigError),
    #[error("the connection to the store cannot be set up")]
    Connect(#[from] ConnectError),
}

const KEYS: [&str; 8] = [
    "etcd.address",
    "etcd.config",
    "etcd.qps",
    "etcd.bootstrapQps",
    "etcd.maxInflight",
    "etcd.limit",
    "etcd.keepaliveHeartbeat",
    "etcd.keepaliveTimeout",
];

// === impl Options ===

impl Options {
    /// Reads the flag's text. The empty text is no option.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| OptionsError::Form(pair.to_owned()))?;
            let (key, value) = (key.trim(), value.trim());
            let known = KEYS.into_iter().find(|known| *known == key);
            let key = known.ok_or_else(|| OptionsError::Unknown(key.to_owned()))?;
            let bad = |what| OptionsError::Value { key, value: value.to_owned(), what };
            let number = || value.parse::<u32>().map_err(|_| bad("a number"));
            let time = || duration(value).ok_or_else(|| bad("a time such as 15s"));
            match key {
                "etcd.address" => options.address = Some(value.to_owned()),
                "etcd.config" => options.config = Some(value.into()),
                "etcd.qps" => options.qps = Some(number()?),
                "etcd.bootstrapQps" => options.bootstrap_qps = Some(number()?),
                "etcd.maxInflight" => options.max_inflight = Some(number()? as usize),
                "etcd.keepaliveHeartbeat" => options.keep_alive_time = Some(time()?),
                "etcd.keepaliveTimeout" => options.keep_alive_timeout = Some(time()?),
                _ => options.limit = Some(number()?),
            }
        }
        if options.address.is_some() && options.config.is_some() {
            return Err(OptionsError::Where);
        }
        Ok(options)
    }

    /// How hard our own store may be pressed.
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions { bootstrap_qps: self.bootstrap_qps.unwrap_or_default(), ..self.remote_client_options() }
    }

    /// How hard those of remote clusters: the same, but without a rate for the bootstrap.
    pub fn remote_client_options(&self) -> ClientOptions {
        let default = ClientOptions::default();
        ClientOptions {
            qps: self.qps.unwrap_or(default.qps),
            max_inflight: self.max_inflight.unwrap_or(default.max_inflight),
            page_limit: self.limit.unwrap_or(default.page_limit),
            ..default
        }
    }

    /// Where the store is, with these keep-alive times.
    pub fn etcd_config(&self) -> Result<EtcdConfig, OptionsError> {
        let config = match (&self.address, &self.config) {
            (Some(address), None) if address.contains("://") => EtcdConfig::insecure(address.clone()),
            (Some(address), None) => EtcdConfig::insecure(format!("http://{address}")),
            (None, Some(path)) => load_config(path).map_err(OptionsError::Config)?,
            (None, None) => return Err(OptionsError::Nowhere),
            (Some(_), Some(_)) => return Err(OptionsError::Where),
        };
        let ClientFiles { ca, cert, key } = self.files.clone();
        let config = EtcdConfig {
            trusted_ca_file: ca.or(config.trusted_ca_file),
            cert_file: cert.or(config.cert_file),
            key_file: key.or(config.key_file),
            ..config
        };
        let mut config = self.with_keep_alive(config);
        if let Some((name, password)) = self.user.clone() {
            (config.username, config.password) = (Some(name), Some(password));
        }
        Ok(config)
    }

    /// Whether the store could be connected to, as far as that can be said without asking it: for a process that
    /// shall refuse before it touches anything.
    ///
    /// # Errors
    /// What [`Self::connect`] would fail with at once.
    pub fn check(&self) -> Result<(), OptionsError> {
        let config = self.etcd_config()?;
        let checked = config.check_certificates(runtime::wall());
        checked.map_err(|error| match &self.config {
            Some(path) => OptionsError::Config(ConfigError::In { path: path.clone(), source: Box::new(error) }),
            None => OptionsError::Address(error),
        })
    }

    /// Another store's configuration with these keep-alive times.
    pub fn with_keep_alive(&self, mut config: EtcdConfig) -> EtcdConfig {
        config.keep_alive_time = self.keep_alive_time;
        config.keep_alive_timeout = self.keep_alive_timeout;
        config
    }

    /// Sets up the connection to our own cluster's store; the server need not be there yet.
    pub async fn connect(&self) -> Result<Arc<Client>, OptionsError> {
        self.check()?;
        let etcd = Etcd::connect(&self.etcd_config()?, false)?;
        Ok(Client::new(Arc::new(etcd), self.client_options()))
    }
}

/// A key that is nearly one that is known.
fn did_you_mean(key: &str) -> String {
    let similar = |known: &&&str| {
        let (a, b) = (known.to_lowercase(), key.to_lowercase());
        // One letter more, less or other, or the name without its first part.
        runtime::distance(&a, &b) <= 2 || a.ends_with(&format!(".{b}"))
    };
    KEYS.iter().find(similar).map(|known| format!("; did you mean {known}?")).unwrap_or_default()
}

/// The value of `--kvstore-lease-ttl`, within Cilium's bounds: what is shorter is lost by a slow network, what is longer
/// keeps ghosts for more than a day.
///
/// # Errors
/// The rule, and what to write.
pub fn lease_ttl(text: &str) -> Result<Duration, String> {
    let unit =
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) { ": it needs a unit" } else { "" };
    let ttl = duration(text).ok_or_else(|| format!("{text:?} is not a duration such as 15m or 90s{unit}"))?;
    let bounds = Duration::from_secs(25)..=Duration::from_secs(86_400);
    if bounds.contains(&ttl) { Ok(ttl) } else { Err(format!("{text} is not in the range 25s to 24h")) }
}

/// Go's form with one or more units: `15s`, `1m30s`, `500ms`. A bare 0 is a time too.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let secs = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * secs).ok()?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciliums_options_are_understood() {
        let options = Options::parse(
            "etcd.address=127.0.0.1:2379,etcd.qps=100, etcd.limit=256,etcd.keepaliveHeartbeat=15s,etcd.maxInflight=10,\
             etcd.bootstrapQps=10000",
        )
        .unwrap();
        assert_eq!(options.etcd_config().unwrap().endpoints, ["http://127.0.0.1:2379"]);
        let client = options.client_options();
        assert_eq!((client.qps, client.max_inflight, client.bootstrap_qps), (100, 10, 10_000));
        assert_eq!(client.page_limit, 256);
        assert_eq!(options.remote_client_options().bootstrap_qps, 0, "remote stores do not inherit it");
        assert_eq!(options.keep_alive_time, Some(Duration::from_secs(15)));
        assert_eq!(Options::parse("").unwrap(), Options::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        fn check(text: &str, part: &str) {
            let error = Options::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        check("etcd.adress=x", "did you mean etcd.address?");
        check("address=x", "did you mean etcd.address?");
        check("etcd.frob=x", "\"etcd.frob\" is not known: there are");
        check("etcd.address", "key=value");
        check("etcd.qps=fast", "\"fast\" is not a number");
        check("etcd.limit=-1", "etcd.limit");
        check("etcd.keepaliveTimeout=5", "a time");
        check("etcd.address=a:1,etcd.config=/x", "one of");
        assert!(Options::default().etcd_config().is_err());
    }

    #[test]
    fn lease_ttls_are_bounded_and_have_a_unit() {
        assert_eq!(lease_ttl("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(lease_ttl("15").unwrap_err(), "\"15\" is not a duration such as 15m or 90s: it needs a unit");
        for bad in ["", "x", "0", "24s", "25h", "-15m", "15 m"] {
            assert!(lease_ttl(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_gos() {
        for (text, ms) in [("15s", 15_000), ("1m30s", 90_000), ("15m0s", 900_000), ("500ms", 500), ("1.5h", 5_400_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-1s", "1d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
