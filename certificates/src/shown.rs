//! What a server showed in a handshake: why a client does not go on with it.

use std::{fmt, path::Path, sync::Arc};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// What a server showed in a handshake that we would not have gone on with.
#[derive(Debug, Default)]
pub struct Shown {
    pub server: Vec<CertificateDer<'static>>,
    /// Names of the authorities whose clients it takes.
    pub accepts: Vec<String>,
}

impl Shown {
    /// What is wrong with the server's certificate, for a client that dialled `host` and trusts `ca`.
    pub fn fault(&self, host: &str, ca: Option<(&Path, &str)>) -> Option<String> {
        let leaf = self.server.first()?;
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let (subject, now) = (certificate.subject(), ASN1Time::now());
        let validity = certificate.validity();
        if now > validity.not_after {
            let until = validity.not_after;
            return Some(format!("the server's certificate ({subject}) expired on {until}; now it is {now}"));
        }
        if now < validity.not_before {
            let from = validity.not_before;
            return Some(format!("the server's certificate ({subject}) is not valid before {from}; now it is {now}"));
        }
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).ok()?;
        let (path, text) = ca?;
        let mut roots = rustls::RootCertStore::empty();
        let authorities: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).flatten().collect();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().ok()?;
        let time = rustls::pki_types::UnixTime::now();
        use rustls::client::danger::ServerCertVerifier;
        match verifier.verify_server_cert(leaf, &self.server[1..], &name, &[], time).err()? {
            rustls::Error::InvalidCertificate(why) => Some(match why {
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature => {
                    let trusted: Vec<String> = authorities.iter().filter_map(|der| subject_of(der)).collect();
                    let (issuer, trusted) = (certificate.issuer(), trusted.join("; "));
                    let path = path.display();
                    format!(
                        "the server's certificate ({subject}) was issued by {issuer}, and trusted-ca-file {path} holds \
                         {trusted}"
                    )
                }
                rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. } => {
                    let names = names_of(&certificate).join(", ");
                    format!("the server's certificate ({subject}) is for {names}, and the endpoint says {host}")
                }
                other => format!("the server's certificate ({subject}) cannot be used: {}", Printed(&other)),
            }),
            _ => None,
        }
    }
}

/// Subject of a certificate.
pub fn subject_of(der: &CertificateDer<'_>) -> Option<String> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate.subject().to_string())
}

/// Subject and issuer of the first certificate of a PEM text.
pub fn subject_and_issuer(pem: &str) -> Option<(String, String)> {
    let der = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().next()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some((certificate.subject().to_string(), certificate.issuer().to_string()))
}

/// A distinguished name of a server's list of authorities.
pub fn name_text(der: &[u8]) -> Option<String> {
    x509_parser::x509::X509Name::from_der(der).ok().map(|(_, name)| name.to_string())
}

/// The names that a certificate is for.
pub fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let listed = certificate.subject_alternative_name().ok().flatten();
    let names = listed.iter().flat_map(|list| &list.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        },
        _ => None,
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() { vec!["no name".to_owned()] } else { names }
}

struct Printed<'a>(&'a rustls::CertificateError);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
