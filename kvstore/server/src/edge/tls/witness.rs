//! The check of one client's certificate, which remembers what it found: a handshake's error names neither subject nor
//! issuer.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    identity::Identity,
    refusal::{Refusal, rule},
};

#[derive(Debug)]
pub(super) struct Witness {
    clients: Option<Arc<dyn ClientCertVerifier>>,
    hostnames: Vec<String>,
    found: Mutex<Option<(CertificateDer<'static>, Error)>>,
}

// === impl Witness ===

impl Witness {
    pub(super) fn new(clients: Option<Arc<dyn ClientCertVerifier>>, hostnames: &[String]) -> Self {
        Self { clients, hostnames: hostnames.to_vec(), found: Mutex::default() }
    }

    pub(super) fn refusal(&self, error: &io::Error, identity: &Identity) -> Refusal {
        let found = self.found.lock().take();
        let said = found.map(|(leaf, wrong)| self.sentence(&leaf, &wrong, &identity.authorities));
        Refusal::of(error, said, &identity.authorities)
    }

    fn sentence(&self, leaf: &CertificateDer<'_>, wrong: &Error, authorities: &[String]) -> String {
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
            return "the client's certificate cannot be read".to_owned();
        };
        let subject = certificate.subject();
        if *wrong == Error::InvalidCertificate(CertificateError::NotValidForName) {
            let (names, wanted) = (certificates::names_of(&certificate).join(", "), self.hostnames.join(", "));
            return format!(
                "the client's certificate ({subject}) is for {names}, and --client-cert-allowed-hostname wants one of \
                 {wanted}"
            );
        }
        let usage = certificates::usage_of(&certificate);
        let rule = rule(wrong, &certificate.issuer().to_string(), &usage, authorities);
        format!("the client's certificate ({subject}) {rule}")
    }

    fn clients(&self) -> Result<&Arc<dyn ClientCertVerifier>, Error> {
        self.clients.as_ref().ok_or(Error::NoCertificatesPresented)
    }

    fn check(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        self.clients()?.verify_client_cert(leaf, chain, now)?;
        if self.hostnames.is_empty() {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(leaf)?;
        let is_for = |name: &String| {
            let name = ServerName::try_from(name.as_str());
            name.is_ok_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
        };
        if self.hostnames.iter().any(is_for) {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidForName))
    }
}

impl ClientCertVerifier for Witness {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.as_ref().map_or(&[], |clients| clients.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let note = |wrong: &Error| *self.found.lock() = Some((leaf.clone().into_owned(), wrong.clone()));
        self.check(leaf, chain, now).inspect_err(note)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients()?.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients()?.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.as_ref().map_or_else(Vec::new, |clients| clients.supported_verify_schemes())
    }
}
