//! Certificates with one fault each, made for one test.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, and where it puts what it issues.
pub(crate) struct Authority {
    pub(crate) folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    name: String,
}

/// What is special about a certificate. By default it is valid, and for clients.
pub(crate) struct Spec {
    pub(crate) valid: (i64, i64),
    pub(crate) usage: Option<ExtendedKeyUsagePurpose>,
    pub(crate) names: Vec<&'static str>,
    pub(crate) serial: u64,
}

impl Default for Spec {
    fn default() -> Self {
        Self { valid: (-1, 2), usage: Some(ExtendedKeyUsagePurpose::ClientAuth), names: Vec::new(), serial: 7 }
    }
}

impl Spec {
    pub(crate) fn server() -> Self {
        Self {
            usage: Some(ExtendedKeyUsagePurpose::ServerAuth),
            names: vec!["127.0.0.1", "127.0.0.2", "localhost"],
            ..Self::default()
        }
    }
}

// === impl Authority ===

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, (-40, 30));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        write(folder, &format!("{name}.crt"), &params.self_signed(&key).unwrap().pem(), 0o644);
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), name: name.to_owned() }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.path(&format!("{}.crt", self.name))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `name.crt` and `name.key`.
    pub(crate) fn issue(&self, name: &str, spec: Spec) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, spec.valid);
        params.serial_number = Some(SerialNumber::from(spec.serial));
        params.extended_key_usages.extend(spec.usage);
        for name in spec.names {
            params.subject_alt_names.push(match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(name.try_into().unwrap()),
            });
        }
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        write(&self.folder, &format!("{name}.crt"), &cert.pem(), 0o644);
        write(&self.folder, &format!("{name}.key"), &key.serialize_pem(), 0o600);
        (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")))
    }

    /// A list that takes this serial number back; DER, as etcd's own tests have it, or PEM.
    pub(crate) fn revoke(&self, serial: u64, der: bool) -> PathBuf {
        let now = SystemTime::now();
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: (now - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (now - DAY).into(),
            next_update: (now + DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        let path = self.path("revoked.crl");
        fs::write(&path, if der { list.der().to_vec() } else { list.pem().unwrap().into_bytes() }).unwrap();
        path
    }
}

fn params(name: &str, (from, until): (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let at = |days: i64| {
        let distance = DAY * u32::try_from(days.unsigned_abs()).unwrap();
        if days < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
    };
    (params.not_before, params.not_after) = (at(from).into(), at(until).into());
    params
}

pub(crate) fn write(folder: &Path, name: &str, text: &str, mode: u32) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}
