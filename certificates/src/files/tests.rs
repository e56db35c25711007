use std::{os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate and its key, valid from a day before to a day after now.
fn make(folder: &Path, name: &str, usage: Option<ExtendedKeyUsagePurpose>) -> (PathBuf, PathBuf) {
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + DAY).into();
    params.extended_key_usages.extend(usage);
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    let (cert_path, key_path) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    fs::write(&cert_path, cert.pem()).unwrap();
    fs::write(folder.join(format!("{name}.der")), cert.der()).unwrap();
    fs::write(&key_path, key.serialize_pem()).unwrap();
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).unwrap();
    (cert_path, key_path)
}

#[test]
fn each_fault_of_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (good, good_key) = make(folder, "good", Some(ExtendedKeyUsagePurpose::ClientAuth));
    let (server, server_key) = make(folder, "server", Some(ExtendedKeyUsagePurpose::ServerAuth));
    let check = |cert: &Path, key: &Path, now: SystemTime, expected: &str| {
        let got = Authorities::read(&good, now).and_then(|_| Pair::read(cert, key, Purpose::Client, now));
        let got = got.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert!(got.contains(expected), "{got:?} lacks {expected:?}");
    };
    let now = SystemTime::now();
    check(&good, &good_key, now, "ok");
    check(&good, &server_key, now, "good.crt does not match key");
    check(&server, &server_key, now, "serverAuth only, and a client needs extended key usage clientAuth");
    let wrong = Pair::read(&good, &good_key, Purpose::Server, now).map(drop).unwrap_err().to_string();
    assert!(wrong.contains("clientAuth only, and a server needs extended key usage serverAuth"), "{wrong}");
    Pair::read(&server, &server_key, Purpose::Server, now).unwrap();
    check(&good, &good_key, now + 3 * DAY, "expired on ");
    check(&good, &good_key, now - 3 * DAY, "is not valid before ");
    check(&folder.join("good.der"), &good_key, now, "is DER");
    check(&good_key, &good, now, "but PRIVATE KEY: is it the right file?");
    check(&good, &good, now, "BEGIN PRIVATE KEY");
    check(folder, &good_key, now, "is no file");
    check(&folder.join("none"), &good_key, now, "cannot read");
    let variant = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    check(
        &good,
        &variant("pw", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----"),
        now,
        "is encrypted",
    );
    check(
        &variant("cut", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"),
        &good_key,
        now,
        "damaged certificate",
    );
    fs::set_permissions(&good_key, fs::Permissions::from_mode(0o644)).unwrap();
    check(&good, &good_key, now, "mode 0644");
    fs::set_permissions(&good_key, fs::Permissions::from_mode(0o640)).unwrap();
    check(&good, &good_key, now, "ok");
}
