//! Why a TLS connection cannot be made: a second handshake that goes on where the first one must stop, only to look.
//!
//! Nothing but the handshake is sent, and its outcome is never used for a connection.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};

use certificates::{Pair, Shown, name_text, subject_and_issuer};

use crate::{Address, EtcdConfig};

const TIMEOUT: Duration = Duration::from_secs(1);

/// What is wrong with the endpoints of this configuration; `None` when no fault shows.
pub(super) fn fault(config: &EtcdConfig) -> Option<String> {
    config.endpoints.iter().find_map(|endpoint| look(endpoint, config))
}

fn look(endpoint: &str, config: &EtcdConfig) -> Option<String> {
    let files = match config.certificates(runtime::wall()) {
        Ok(files) => files?,
        // They were fine at the start, and are not any more.
        Err(error) => return Some(crate::chain(&error)),
    };
    let Address::Tcp { authority, host } = Address::of(endpoint) else { return None };
    let address = authority.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).and_then(|()| stream.set_write_timeout(Some(TIMEOUT))).ok()?;

    let shown = Arc::new(Mutex::new(Shown::default()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let shown_pair = files.pair.as_ref().and_then(|pair| subject_and_issuer(&pair.cert_text));
    let ours = files.pair.and_then(|pair| certified(&provider, pair));
    let witness = Arc::new(Witness { shown: Arc::clone(&shown), provider: Arc::clone(&provider), ours });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(witness.clone());
    let mut tls = builder.with_client_cert_resolver(witness);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.clone()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(tls), name).ok()?;
    let ended = talk(&mut connection, &mut stream).err();
    let shown = shown.lock();
    let ca_path = config.trusted_ca_file.clone().or_else(|| config.ca_file.clone()).unwrap_or_default();
    let ca = files.ca.as_ref().map(|ca| (ca_path.as_path(), ca.text.as_str()));
    if let Some(fault) = shown.fault(&host, ca) {
        return Some(format!("{endpoint}: {fault}"));
    }
    let ended = ended?;
    // A server of another protocol hangs up, or answers what is no TLS.
    let hung_up = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&ended.kind());
    if ended.kind() != ErrorKind::InvalidData && !(hung_up && shown.server.is_empty()) {
        return None;
    }
    let why = ended.to_string();
    if shown.server.is_empty() {
        return Some(format!("{endpoint} does not speak TLS as we do: {why}; is it an http endpoint?"));
    }
    // The server has our certificate and does not like it.
    let accepts = match shown.accepts.is_empty() {
        true => "it does not say whose clients it takes".to_owned(),
        false => format!("it takes clients of {}", shown.accepts.join("; ")),
    };
    Some(match shown_pair {
        Some((subject, issuer)) => {
            format!("{endpoint} refuses our certificate ({subject}, issued by {issuer}): {why}; {accepts}")
        }
        None => format!("{endpoint} wants a client certificate: give cert-file and key-file; {accepts}"),
    })
}

fn talk(connection: &mut ClientConnection, stream: &mut TcpStream) -> std::io::Result<()> {
    while connection.is_handshaking() {
        connection.complete_io(stream)?;
    }
    // With TLS 1.3 a server refuses a client after the client takes the handshake for done.
    let mut tls = rustls::Stream::new(connection, stream);
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    tls.read(&mut [0; 64]).map(drop)
}

fn certified(provider: &CryptoProvider, pair: Pair) -> Option<Arc<CertifiedKey>> {
    let key = provider.key_provider.load_private_key(pair.key).ok()?;
    Some(Arc::new(CertifiedKey::new(pair.chain, key)))
}

/// Accepts any server and writes down what it shows.
#[derive(Debug)]
struct Witness {
    shown: Arc<Mutex<Shown>>,
    provider: Arc<CryptoProvider>,
    ours: Option<Arc<CertifiedKey>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(leaf).chain(chain);
        self.shown.lock().server = all.map(|der| der.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(&self, hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.shown.lock().accepts = hints.iter().filter_map(|der| name_text(der)).collect();
        self.ours.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
