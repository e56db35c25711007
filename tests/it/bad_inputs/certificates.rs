//! Certificates with one fault each, made for this run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

const DAY: Duration = Duration::from_secs(86_400);

/// What is special about a certificate.
struct Spec {
    file: &'static str,
    authority: &'static str,
    /// Days from now.
    valid: (i64, i64),
    usage: Option<ExtendedKeyUsagePurpose>,
    names: &'static [&'static str],
}

const SPECS: [Spec; 9] = [
    client("client", "ca", (-1, 2), Some(ExtendedKeyUsagePurpose::ClientAuth)),
    client("plain-client", "ca", (-1, 2), None),
    client("expired-client", "ca", (-30, -2), Some(ExtendedKeyUsagePurpose::ClientAuth)),
    client("future-client", "ca", (5, 30), Some(ExtendedKeyUsagePurpose::ClientAuth)),
    client("server-only", "ca", (-1, 2), Some(ExtendedKeyUsagePurpose::ServerAuth)),
    client("stranger-client", "other-ca", (-1, 2), Some(ExtendedKeyUsagePurpose::ClientAuth)),
    server("server", "ca", (-1, 2), &["192.168.240.10", "etcd.test"]),
    server("misnamed-server", "ca", (-1, 2), &["192.0.2.99", "elsewhere.test"]),
    server("expired-server", "ca", (-30, -2), &["192.168.240.10"]),
];

const fn client(
    file: &'static str,
    authority: &'static str,
    valid: (i64, i64),
    usage: Option<ExtendedKeyUsagePurpose>,
) -> Spec {
    Spec { file, authority, valid, usage, names: &[] }
}

const fn server(
    file: &'static str,
    authority: &'static str,
    valid: (i64, i64),
    names: &'static [&'static str],
) -> Spec {
    Spec { file, authority, valid, usage: Some(ExtendedKeyUsagePurpose::ServerAuth), names }
}

/// Two authorities, certificates of theirs, and copies that are damaged.
pub(crate) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (authority, valid) in [("ca", (-40, 30)), ("other-ca", (-40, 30)), ("expired-ca", (-40, -2))] {
        let key = KeyPair::generate()?;
        let mut params = params(authority, valid)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key)?;
        write(folder, &format!("{authority}.crt"), cert.pem().as_bytes(), 0o644)?;
        let issuer = Issuer::new(params, key);
        for spec in SPECS.iter().filter(|spec| spec.authority == authority) {
            let key = KeyPair::generate()?;
            let mut params = self::params(spec.file, spec.valid)?;
            params.extended_key_usages.extend(spec.usage.clone());
            for name in spec.names {
                params.subject_alt_names.push(match name.parse() {
                    Ok(ip) => SanType::IpAddress(ip),
                    Err(_) => SanType::DnsName((*name).try_into()?),
                });
            }
            let cert = params.signed_by(&key, &issuer)?;
            write(folder, &format!("{}.crt", spec.file), cert.pem().as_bytes(), 0o644)?;
            write(folder, &format!("{}.key", spec.file), key.serialize_pem().as_bytes(), 0o600)?;
            write(folder, &format!("{}.der", spec.file), cert.der(), 0o644)?;
            write(folder, &format!("{}.key.der", spec.file), &key.serialize_der(), 0o600)?;
        }
    }
    let key = fs::read(folder.join("client.key"))?;
    write(folder, "open.key", &key, 0o644)?;
    write(folder, "writable.key", &key, 0o620)?;
    let cut = &key[..key.len() / 2];
    write(folder, "cut.key", cut, 0o600)?;
    let text = fs::read_to_string(folder.join("client.key"))?;
    write(folder, "encrypted.key", text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY").as_bytes(), 0o600)?;
    let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    write(folder, "encrypted-old.key", old.as_bytes(), 0o600)
}

fn params(name: &str, (from, until): (i64, i64)) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let at = |days: i64| {
        let now = SystemTime::now();
        let distance = DAY * u32::try_from(days.unsigned_abs()).unwrap_or_default();
        if days < 0 { now - distance } else { now + distance }
    };
    (params.not_before, params.not_after) = (at(from).into(), at(until).into());
    Ok(params)
}

fn write(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
}
