//! `--auto-tls`: a certificate that we make for ourselves, kept beside the data, where etcd keeps it.

use std::{
    fs,
    io::Write,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::options::{TlsConfig, TlsError};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The pair in `folder`, made if there is none, for these hosts.
///
/// # Errors
/// When the folder cannot be written, or what is there cannot be used.
pub(crate) fn generate(folder: &Path, hosts: &[String], years: u32) -> Result<TlsConfig, TlsError> {
    let config = TlsConfig::new(folder.join("cert.pem"), folder.join("key.pem"));
    if config.cert_file.exists() && config.key_file.exists() {
        return Ok(config);
    }
    let failed = |why: String| TlsError::Auto { folder: folder.to_owned(), why };
    let mut names: Vec<String> = hosts.to_vec();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.retain(|name| !name.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()));
    names.sort();
    names.dedup();
    let mut params = CertificateParams::new(names).map_err(|error| failed(error.to_string()))?;
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    params.not_before = SystemTime::now().into();
    params.not_after = (SystemTime::now() + YEAR * years.max(1)).into();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().map_err(|error| failed(error.to_string()))?;
    let cert = params.self_signed(&key).map_err(|error| failed(error.to_string()))?;
    fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
    write(&config.cert_file, 0o644, &cert.pem()).map_err(failed)?;
    write(&config.key_file, 0o600, &key.serialize_pem()).map_err(failed)?;
    tracing::info!(cert = %config.cert_file.display(), "made a certificate for --auto-tls");
    Ok(config)
}

fn write(path: &PathBuf, mode: u32, text: &str) -> Result<(), String> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| format!("{}: {error}", path.display()))
}
