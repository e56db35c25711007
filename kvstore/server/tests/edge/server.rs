//! A store of this crate, in this process, on a data directory of its own.

use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use kvstore_server::{Config, Server, TlsConfig, TlsSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::{Authority, Spec};

/// How long anything may take that is at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Store {
    /// Taken when it stops.
    server: Option<Server>,
    directory: tempfile::TempDir,
    urls: Vec<String>,
}

// === impl Store ===

impl Store {
    /// In plain text, for its pages too.
    pub(crate) fn plain() -> Self {
        Self::start(|_| {})
    }

    /// At `https`, and for looking at its pages in plain text, too.
    pub(crate) fn tls(authority: &Authority, set: impl FnOnce(&mut TlsConfig)) -> Self {
        let (cert, key) = authority.issue("server", Spec::server());
        let mut tls = TlsConfig::new(cert, key);
        set(&mut tls);
        Self::start(|config| config.tls = Some(TlsSource::Files(tls)))
    }

    pub(crate) fn start(set: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config {
            data_dir: directory.path().join("data"),
            listen_client_urls: vec!["http://127.0.0.1:0".to_owned()],
            workers: 2,
            ..Config::default()
        };
        set(&mut config);
        if config.tls.is_some() {
            config.listen_client_urls.insert(0, "https://127.0.0.1:0".to_owned());
        }
        let server = Server::start(config).unwrap_or_else(|error| panic!("{error}"));
        let urls = server.client_urls().to_vec();
        Self { server: Some(server), directory, urls }
    }

    /// The first: `https` where there is TLS.
    pub(crate) fn url(&self) -> &str {
        &self.urls[0]
    }

    pub(crate) fn address(&self) -> &str {
        self.url().split_once("://").unwrap().1
    }

    pub(crate) fn plain_address(&self) -> &str {
        self.urls.last().unwrap().split_once("://").unwrap().1
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect([format!("http://{}", self.plain_address())], None).await.unwrap()
    }

    /// A client that trusts this authority, and shows this certificate; it has written a key.
    pub(crate) async fn secure_client(&self, ca: &Authority, name: Option<&str>) -> Result<Client, String> {
        let client = self.client_as(ca, name, None).await?;
        client.kv_client().put("k", "v", None).await.map_err(|error| chain(&error))?;
        Ok(client)
    }

    /// The same, which has asked for nothing but, with a name and a password, for a token.
    pub(crate) async fn client_as(
        &self,
        ca: &Authority,
        name: Option<&str>,
        login: Option<(&str, &str)>,
    ) -> Result<Client, String> {
        let read = |name: String| std::fs::read(ca.folder.join(name)).unwrap();
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(std::fs::read(ca.ca()).unwrap()));
        if let Some(name) = name {
            tls = tls.identity(Identity::from_pem(read(format!("{name}.crt")), read(format!("{name}.key"))));
        }
        let mut options = ConnectOptions::new().with_tls(tls).with_connect_timeout(SOON).with_timeout(SOON);
        if let Some((user, password)) = login {
            options = options.with_user(user, password);
        }
        Client::connect([self.url()], Some(options)).await.map_err(|error| chain(&error))
    }

    /// A page, in plain text.
    pub(crate) async fn page(&self, path: &str) -> String {
        get(self.plain_address(), path).await
    }

    /// The value of a series, by the whole of its name and labels.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let page = self.page("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
    }

    /// Waits until a series has at least this value.
    pub(crate) async fn metric_reaches(&self, series: &str, least: u64) -> u64 {
        let reached = tokio::time::timeout(SOON, async {
            loop {
                let now = self.metric(series).await;
                if now >= least {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        match reached.await {
            Ok(value) => value,
            Err(_) => panic!("{series} is {} and not {least}", self.metric(series).await),
        }
    }

    /// Somebody else is served meanwhile.
    pub(crate) async fn serves(&self) {
        let asked = tokio::time::timeout(SOON, async { self.client().await.put("others", "served", None).await });
        asked.await.expect("others are served in time").expect("others are served");
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().expect("the store did not stop by itself");
        }
    }
}

pub(crate) async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
