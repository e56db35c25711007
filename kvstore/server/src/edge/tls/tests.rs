//! What is said of a client whose certificate is refused, and who a client is that is not.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, pki_types::PrivateKeyDer};
use tokio_rustls::TlsConnector;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn params(name: &str, valid_until: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = ((SystemTime::now() - 9 * DAY).into(), valid_until.into());
    params
}

fn authority(name: &str) -> (rcgen::Certificate, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = params(name, SystemTime::now() + DAY);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap(), Issuer::new(params, key))
}

/// A server whose clients must be of the authority "mesh ca".
fn server(folder: &Path, hostnames: &[&str]) -> (Tls, rcgen::Certificate, Issuer<'static, KeyPair>) {
    let (ca, issuer) = authority("mesh ca");
    std::fs::write(folder.join("ca.crt"), ca.pem()).unwrap();
    let mut config = generate(folder, &[], 1).unwrap();
    config.trusted_ca_file = Some(folder.join("ca.crt"));
    config.allowed_hostnames = hostnames.iter().map(|name| (*name).to_owned()).collect();
    (Tls::new(config, Connections::new(&prometheus::Registry::new())).unwrap(), ca, issuer)
}

/// What becomes of a client with this certificate.
async fn meet(
    tls: &Tls,
    client: Option<(CertificateParams, &Issuer<'static, KeyPair>)>,
) -> Result<Option<String>, Refusal> {
    let mut roots = RootCertStore::empty();
    roots.add(tls.identity.load().certified.cert[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((params, issuer)) => {
            let key = KeyPair::generate().unwrap();
            let cert = params.signed_by(&key, issuer).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![cert.der().clone()], key).unwrap()
        }
    };
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let dialled = TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), theirs);
    let (met, _) = tokio::join!(tls.accept(Box::pin(ours)), dialled);
    met.map(|(_, peer)| peer.common_name.map(|name| name.to_string()))
}

#[tokio::test]
async fn a_refusal_names_the_certificate_the_rule_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, _, ca) = server(folder.path(), &[]);
    let soon = SystemTime::now() + DAY;
    let with = |usage| {
        let mut params = params("node-7", soon);
        params.extended_key_usages = vec![usage];
        params
    };
    let (_, stranger) = authority("stranger ca");
    for (client, reason, expected) in [
        (Some((params("node-7", SystemTime::now() - DAY), &ca)), "client-certificate", "(CN=node-7) is expired: "),
        (
            Some((with(ExtendedKeyUsagePurpose::ServerAuth), &ca)),
            "client-certificate",
            "(CN=node-7) is for serverAuth only, and a client needs extended key usage clientAuth: have it issued anew",
        ),
        (
            Some((params("node-7", soon), &stranger)),
            "client-certificate",
            "(CN=node-7) was issued by CN=stranger ca, and --trusted-ca-file holds CN=mesh ca: have it issued there",
        ),
        (
            None,
            "no-client-certificate",
            "the client showed no certificate, and --trusted-ca-file asks for one of CN=mesh ca",
        ),
    ] {
        let refusal = meet(&tls, client).await.unwrap_err();
        assert_eq!(refusal.reason, reason);
        assert!(refusal.text.contains(expected), "{:?} lacks {expected:?}", refusal.text);
    }
}

#[tokio::test]
async fn a_name_that_is_not_allowed_is_told_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, _, ca) = server(folder.path(), &["a.test", "b.test"]);
    let mut params = params("node-7", SystemTime::now() + DAY);
    params.subject_alt_names = vec![SanType::DnsName("c.test".try_into().unwrap())];
    let refusal = meet(&tls, Some((params, &ca))).await.unwrap_err();
    let expected = "is for c.test, and --client-cert-allowed-hostname wants one of a.test, b.test";
    assert!(refusal.text.contains(expected), "{refusal:?}");
}

#[tokio::test]
async fn the_common_name_is_who_a_client_is() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, _, ca) = server(folder.path(), &[]);
    let client = params("remote-west", SystemTime::now() + DAY);
    assert_eq!(meet(&tls, Some((client, &ca))).await, Ok(Some("remote-west".to_owned())));
    let mut nameless = params("", SystemTime::now() + DAY);
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    assert_eq!(meet(&tls, Some((nameless, &ca))).await, Ok(None));
}
