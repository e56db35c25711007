//! What the process of a store holds of memory, by its own metrics.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use certificates::{Authorities, Pair, Purpose};
use kvstore::EtcdConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const SERIES: &str = "process_resident_memory_bytes ";
const WITHIN: Duration = Duration::from_secs(10);

/// Of the first endpoint, as etcdctl has it.
pub(super) async fn resident_bytes(config: &EtcdConfig) -> Result<f64> {
    let endpoint = config.endpoints.first().context("no endpoint")?;
    let page = tokio::time::timeout(WITHIN, page(endpoint, config)).await;
    let page =
        page.context("no answer in time").and_then(|page| page).with_context(|| format!("read {endpoint}/metrics"))?;
    let line = page.lines().find_map(|line| line.strip_prefix(SERIES));
    let value = line.with_context(|| format!("{endpoint}/metrics has no {}", SERIES.trim_end()))?;
    value.trim().parse().with_context(|| format!("{endpoint}/metrics says {value:?}"))
}

async fn page(endpoint: &str, config: &EtcdConfig) -> Result<String> {
    let (scheme, authority) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let authority = authority.trim_end_matches('/');
    let socket = TcpStream::connect(authority).await?;
    if scheme != "https" {
        return get(socket, authority).await;
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']).to_owned();
    let connector = TlsConnector::from(Arc::new(tls(config)?));
    get(connector.connect(host.try_into()?, socket).await?, authority).await
}

fn tls(config: &EtcdConfig) -> Result<ClientConfig> {
    let now = SystemTime::now();
    let Some(ca) = config.trusted_ca_file.as_ref().or(config.ca_file.as_ref()) else { bail!("no --cacert") };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(Authorities::read(ca, now)?.certificates);
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    Ok(match (&config.cert_file, &config.key_file) {
        (Some(cert), Some(key)) => {
            let pair = Pair::read(cert, key, Purpose::Client, now)?;
            builder.with_client_auth_cert(pair.chain, pair.key)?
        }
        _ => builder.with_no_client_auth(),
    })
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str) -> Result<String> {
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes).await {
        // Not every server says in TLS that it is done.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !bytes.is_empty() => {}
        read => drop(read?),
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
