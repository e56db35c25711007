//! What a server's configuration says of TLS.

use std::sync::Arc;

use crate::{
    config::{Config, TlsSource},
    edge::{Tls, TlsConfig, TlsError, generate},
    metrics::Metrics,
};

/// What is given is looked at before anything is written.
///
/// # Errors
/// A file that cannot be used, or a setting that cannot be honoured.
pub(super) fn given(config: &Config, metrics: &Metrics) -> Result<Option<Arc<Tls>>, TlsError> {
    match &config.tls {
        Some(TlsSource::Files(files)) => load(config, files.clone(), metrics).map(Some),
        Some(TlsSource::Auto { .. }) | None => Ok(None),
    }
}

/// What lies beside the data needs the data's directory.
///
/// # Errors
/// When it cannot be made or used.
pub(super) fn made(config: &Config, metrics: &Metrics) -> Result<Option<Arc<Tls>>, TlsError> {
    let Some(TlsSource::Auto { years }) = config.tls else { return Ok(None) };
    let hosts: Vec<_> = config.listen_client_urls.iter().filter_map(|url| host(url)).collect();
    let files = generate(&config.data_dir.join("fixtures/client"), &hosts, years)?;
    load(config, files, metrics).map(Some)
}

fn load(config: &Config, files: TlsConfig, metrics: &Metrics) -> Result<Arc<Tls>, TlsError> {
    let tls = Tls::new(files, metrics.connections.clone())?;
    warn_of_names(&tls, &config.advertise_client_urls);
    Ok(Arc::new(tls))
}

/// Clients that are told of a URL whose host is not in the certificate will not come. etcd says nothing, and clients
/// that never ask for the member list do not mind: so it is no error.
fn warn_of_names(tls: &Tls, urls: &[String]) {
    for host in urls.iter().filter(|url| url.starts_with("https://")).filter_map(|url| host(url)) {
        if !tls.is_for(&host) {
            let names = tls.names().join(", ");
            tracing::warn!(
                "--advertise-client-urls names {host}, and the certificate is for {names}: clients that dial it will \
                 refuse us"
            );
        }
    }
}

fn host(url: &str) -> Option<String> {
    let (_, authority) = url.split_once("://")?;
    let (host, _) = authority.rsplit_once(':')?;
    Some(host.trim_matches(['[', ']']).to_owned())
}
