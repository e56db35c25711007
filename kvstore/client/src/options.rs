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
    /// `etcd.maxInflight`: requests at one time; as many as `qps` unless stated.
    pub max_inflight: Option<usize>,
    /// `etcd.keepaliveHeartbeat`: how often a silent connection is probed.
    pub keep_alive_time: Option<Duration>,
    /// `etcd.keepaliveTimeout`: how long a probe may stay without an answer.
    pub keep_alive_timeout: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("--kvstore-opt {0:?} is not of the form key=value")]
    Form(String),
    #[error("--kvstore-opt {0:?} is not known: there are {known}", known = KEYS.join(", "))]
    Unknown(String),
    #[error("--kvstore-opt {key}: {value:?} is not {what}")]
    Value { key: &'static str, value: String, what: &'static str },
    #[error("--kvstore-opt: give one of etcd.address and etcd.config")]
    Where,
    #[error("the store's client configuration cannot be used")]
    Config(#[from] ConfigError),
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
    ///
    /// `etcd.limit` is checked and then left alone: pages are sized by bytes. So is
    /// `etcd.bootstrapQps`: nothing here waits for a bootstrap, so one rate holds throughout.
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
                "etcd.maxInflight" => options.max_inflight = Some(number()? as usize),
                "etcd.keepaliveHeartbeat" => options.keep_alive_time = Some(time()?),
                "etcd.keepaliveTimeout" => options.keep_alive_timeout = Some(time()?),
                _ => drop(number()?),
            }
        }
        if options.address.is_some() && options.config.is_some() {
            return Err(OptionsError::Where);
        }
        Ok(options)
    }

    /// How hard the store may be pressed; remote clusters inherit it.
    pub fn client_options(&self) -> ClientOptions {
        let default = ClientOptions::default();
        ClientOptions {
            qps: self.qps.unwrap_or(default.qps),
            max_inflight: self.max_inflight.unwrap_or(default.max_inflight),
            ..default
        }
    }

    /// Where the store is, with these keep-alive times.
    pub fn etcd_config(&self) -> Result<EtcdConfig, OptionsError> {
        let config = match (&self.address, &self.config) {
            (Some(address), None) if address.contains("://") => EtcdConfig::insecure(address.clone()),
            (Some(address), None) => EtcdConfig::insecure(format!("http://{address}")),
            (None, Some(path)) => load_config(path)?,
            _ => return Err(OptionsError::Where),
        };
        Ok(self.with_keep_alive(config))
    }

    /// Another store's configuration with these keep-alive times.
    pub fn with_keep_alive(&self, mut config: EtcdConfig) -> EtcdConfig {
        config.keep_alive_time = self.keep_alive_time;
        config.keep_alive_timeout = self.keep_alive_timeout;
        config
    }

    /// Sets up the connection to our own cluster's store; the server need not be there yet.
    pub async fn connect(&self) -> Result<Arc<Client>, OptionsError> {
        let etcd = Etcd::connect(&self.etcd_config()?, false).await?;
        Ok(Client::new(Arc::new(etcd), self.client_options()))
    }
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
            "etcd.address=127.0.0.1:2379,etcd.qps=100, etcd.limit=256,etcd.keepaliveHeartbeat=15s,etcd.maxInflight=10",
        )
        .unwrap();
        assert_eq!(options.etcd_config().unwrap().endpoints, ["http://127.0.0.1:2379"]);
        let client = options.client_options();
        assert_eq!((client.qps, client.max_inflight), (100, 10));
        assert_eq!(options.keep_alive_time, Some(Duration::from_secs(15)));
        assert_eq!(Options::parse("").unwrap(), Options::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        fn check(text: &str, part: &str) {
            let error = Options::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        check("etcd.adress=x", "etcd.adress");
        check("etcd.address", "key=value");
        check("etcd.qps=fast", "\"fast\" is not a number");
        check("etcd.limit=-1", "etcd.limit");
        check("etcd.keepaliveTimeout=5", "a time");
        check("etcd.address=a:1,etcd.config=/x", "one of");
        assert!(Options::default().etcd_config().is_err());
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
