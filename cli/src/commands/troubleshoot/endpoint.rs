//! One endpoint: its name, its port, its TLS, and which etcd answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kvstore::{Address, Backend, Etcd, EtcdConfig};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout as within;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::report::Report;
use super::{certificates, whole};

pub(super) async fn check(report: &mut Report, config: &EtcdConfig, endpoint: &str, timeout: Duration) {
    let part = format!("Endpoint {endpoint}");
    match Address::of(endpoint) {
        Address::Tcp { authority, host } => {
            let Some(stream) = reach(report, &part, &authority, timeout).await else { return };
            if endpoint.starts_with("https://") && !config.insecure_transport {
                match handshake(config, &host, stream, timeout).await {
                    Ok((text, chain)) => {
                        report.good(&part, text);
                        certificates::server(report, &part, &chain);
                    }
                    Err(error) => return report.bad(&part, format!("TLS: {error}")),
                }
            }
        }
        Address::Unix(path) => match within(timeout, UnixStream::connect(&path)).await {
            Ok(Ok(_)) => report.good(&part, format!("socket {}", path.display())),
            Ok(Err(error)) => return report.bad(&part, format!("socket {}: {error}", path.display())),
            Err(_) => return report.bad(&part, format!("socket {}: no answer within {timeout:?}", path.display())),
        },
    }
    let one = EtcdConfig { endpoints: vec![endpoint.to_owned()], ..config.clone() };
    let asked = within(timeout, async {
        let etcd = Etcd::connect(&one, false).map_err(whole)?;
        etcd.status().await.map_err(|error| error.full())
    });
    match asked.await {
        Ok(Ok(status)) if status.has_leader => report.good(&part, format!("etcd {}", status.version)),
        Ok(Ok(status)) => {
            report.bad(&part, format!("etcd {} has no leader: its cluster has no quorum", status.version))
        }
        Ok(Err(error)) => report.bad(&part, format!("etcd: {error}")),
        Err(_) => report.bad(&part, format!("etcd: no answer within {timeout:?}")),
    }
}

/// Resolves and connects; what worked and what did not is in the report.
async fn reach(report: &mut Report, part: &str, address: &str, timeout: Duration) -> Option<TcpStream> {
    let found: Vec<SocketAddr> = match within(timeout, tokio::net::lookup_host(address)).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            report.bad(part, format!("name is not resolved: {error}"));
            return None;
        }
        Err(_) => {
            report.bad(part, format!("name is not resolved within {timeout:?}"));
            return None;
        }
    };
    let ips = found.iter().map(|found| found.ip().to_string()).collect::<Vec<_>>().join(", ");
    report.good(part, format!("name resolved to {ips}"));
    let mut last = "it has no address".to_owned();
    for at in found {
        match within(timeout, TcpStream::connect(at)).await {
            Ok(Ok(stream)) => {
                report.good(part, format!("TCP connection to {at}"));
                return Some(stream);
            }
            Ok(Err(error)) => last = format!("{at}: {error}"),
            Err(_) => last = format!("{at}: no answer within {timeout:?}"),
        }
    }
    report.bad(part, format!("TCP connection fails: {last}"));
    None
}

type Chain = Vec<CertificateDer<'static>>;

/// Version and suite of a TLS connection, and the server's certificates.
async fn handshake(
    config: &EtcdConfig,
    host: &str,
    stream: TcpStream,
    timeout: Duration,
) -> Result<(String, Chain), String> {
    let mut roots = RootCertStore::empty();
    let ca = config.trusted_ca_file.as_ref().or(config.ca_file.as_ref()).ok_or("no trusted-ca-file")?;
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| format!("{}: {error}", ca.display()))? {
        let certificate = certificate.map_err(|error| format!("{}: {error}", ca.display()))?;
        roots.add(certificate).map_err(|error| format!("{}: {error}", ca.display()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(whole)?.with_root_certificates(roots);
    let mut client = match (&config.cert_file, &config.key_file) {
        (Some(cert), Some(key)) => {
            let chain: Result<Chain, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
            let chain = chain.map_err(|error| format!("{}: {error}", cert.display()))?;
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
            builder.with_client_auth_cert(chain, key_der).map_err(whole)?
        }
        _ => builder.with_no_client_auth(),
    };
    client.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
    let connecting = TlsConnector::from(Arc::new(client)).connect(name, stream);
    let stream = within(timeout, connecting).await.map_err(|_| format!("no answer within {timeout:?}"))?;
    let stream = stream.map_err(|error| error.to_string())?;
    let (_, session) = stream.get_ref();
    let version = session.protocol_version().map_or_else(|| "?".to_owned(), |version| format!("{version:?}"));
    let suite =
        session.negotiated_cipher_suite().map_or_else(|| "?".to_owned(), |suite| format!("{:?}", suite.suite()));
    let chain = session.peer_certificates().unwrap_or_default().iter().map(|one| one.clone().into_owned()).collect();
    Ok((format!("TLS {version}, {suite}"), chain))
}
