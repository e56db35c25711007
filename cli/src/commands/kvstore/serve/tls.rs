//! etcd's flags for clients' TLS.

use std::path::PathBuf;

use anyhow::{Result, bail};
use kvstore_server::{TlsConfig, TlsSource, TlsVersion};

#[derive(clap::Args)]
#[group(id = "tls")]
pub(super) struct Args {
    /// Certificate that clients are shown, with its chain, PEM
    #[arg(long, help_heading = "TLS")]
    cert_file: Option<PathBuf>,
    /// Its key, PEM, readable by its owner only
    #[arg(long, help_heading = "TLS")]
    key_file: Option<PathBuf>,
    /// Clients must show a certificate of --trusted-ca-file
    #[arg(long, help_heading = "TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    client_cert_auth: Option<bool>,
    /// Authorities whose clients are taken, PEM; clients must then show a certificate
    #[arg(long, help_heading = "TLS")]
    trusted_ca_file: Option<PathBuf>,
    /// Certificates of clients that were taken back, PEM or DER
    #[arg(long, help_heading = "TLS")]
    client_crl_file: Option<PathBuf>,
    /// Names of which a client's certificate must have one, separated by commas
    #[arg(long, help_heading = "TLS", value_delimiter = ',')]
    client_cert_allowed_hostname: Vec<String>,
    /// Make a certificate beside the data
    #[arg(long, help_heading = "TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    auto_tls: Option<bool>,
    /// Years for which a made certificate holds
    #[arg(long, help_heading = "TLS", default_value_t = 1)]
    self_signed_cert_validity: u32,
    /// Cipher suites by their names in Go, separated by commas; all that we have by default
    #[arg(long, help_heading = "TLS", value_delimiter = ',')]
    cipher_suites: Vec<String>,
    /// TLS1.2 or TLS1.3
    #[arg(long, help_heading = "TLS", default_value = "TLS1.2", value_parser = version)]
    tls_min_version: TlsVersion,
    /// TLS1.2 or TLS1.3; the newest by default
    #[arg(long, help_heading = "TLS", value_parser = version)]
    tls_max_version: Option<TlsVersion>,
}

// === impl Args ===

impl Args {
    /// # Errors
    /// Flags that need another one, or exclude one another.
    pub(super) fn source(self, urls: &[String]) -> Result<Option<TlsSource>> {
        let auto = self.auto_tls == Some(true);
        let (cert, key) = match (self.cert_file, self.key_file) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) if auto => {
                let years = self.self_signed_cert_validity;
                return Ok(Some(TlsSource::Auto { years }));
            }
            (None, None) => {
                if self.client_cert_auth == Some(true) || self.trusted_ca_file.is_some() {
                    bail!("--client-cert-auth and --trusted-ca-file need --cert-file and --key-file");
                }
                return Ok(None);
            }
            (Some(_), None) => bail!("--cert-file is given without --key-file: give both"),
            (None, Some(_)) => bail!("--key-file is given without --cert-file: give both"),
        };
        if self.client_cert_auth == Some(true) && self.trusted_ca_file.is_none() {
            bail!("--client-cert-auth needs --trusted-ca-file: whose clients are to be taken?");
        }
        if self.trusted_ca_file.is_none()
            && (self.client_crl_file.is_some() || !self.client_cert_allowed_hostname.is_empty())
        {
            bail!("--client-crl-file and --client-cert-allowed-hostname need --trusted-ca-file");
        }
        if !urls.iter().any(|url| url.starts_with("https://")) {
            tracing::warn!(
                "--cert-file is given, and no URL of --listen-client-urls begins with https://: nobody will see it"
            );
        }
        Ok(Some(TlsSource::Files(TlsConfig {
            trusted_ca_file: self.trusted_ca_file,
            client_crl_file: self.client_crl_file,
            allowed_hostnames: self.client_cert_allowed_hostname,
            cipher_suites: self.cipher_suites,
            min_version: self.tls_min_version,
            max_version: self.tls_max_version.unwrap_or(TlsVersion::Tls13),
            ..TlsConfig::new(cert, key)
        })))
    }
}

fn version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "TLS1.2" => Ok(TlsVersion::Tls12),
        "TLS1.3" => Ok(TlsVersion::Tls13),
        _ => Err("TLS versions are TLS1.2 and TLS1.3; older ones are not safe".to_owned()),
    }
}
