//! Why a handshake failed, in words that name whose certificate and which rule.

use std::io;

use rustls::{AlertDescription, CertificateError as Wrong, Error};

/// What is counted of a failed handshake, and what is logged of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) text: String,
}

/// Every reason there is, for the metric.
pub(crate) const REASONS: [&str; 8] = [
    "client-certificate",
    "no-client-certificate",
    "server-certificate",
    "not-tls",
    "versions",
    "closed",
    "slow",
    "ours",
];

// === impl Refusal ===

impl Refusal {
    pub(super) fn ours(error: Error) -> Self {
        Self { reason: "ours", text: format!("the handshake cannot be begun: {error}") }
    }

    pub(in crate::edge) fn slow(text: String) -> Self {
        Self { reason: "slow", text }
    }

    /// `said` is what the check of the client's certificate found.
    pub(super) fn of(error: &io::Error, said: Option<String>, authorities: &[String]) -> Self {
        let of = |reason, text| Self { reason, text };
        if let Some(said) = said {
            return of("client-certificate", said);
        }
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            None => of("closed", format!("the client left within the handshake: {error}")),
            Some(Error::NoCertificatesPresented) => {
                let takes = authorities.join("; ");
                let text = "the client showed no certificate, and --trusted-ca-file asks for one of";
                of("no-client-certificate", format!("{text} {takes}: give it a certificate and its key"))
            }
            Some(Error::AlertReceived(alert)) => of("server-certificate", refused_by_client(*alert)),
            Some(Error::InvalidMessage(what)) => {
                of("not-tls", format!("what came is no TLS ({what:?}): does the client use http:// for this URL?"))
            }
            Some(Error::PeerIncompatible(what)) => {
                of("versions", format!("client and server have no version or cipher suite in common ({what:?})"))
            }
            Some(other) => of("not-tls", format!("the handshake failed: {other}")),
        }
    }
}

fn refused_by_client(alert: AlertDescription) -> String {
    let hint = match alert {
        AlertDescription::UnknownCA => ": its CA file is not of the authority that issued ours",
        AlertDescription::BadCertificate => ": the name that it dialled may not be in our certificate",
        AlertDescription::CertificateExpired => ": it takes our certificate for expired; are the clocks right?",
        _ => "",
    };
    format!("the client refuses our certificate ({alert:?}){hint}")
}

/// What is wrong with a client's certificate, as a rule and its remedy.
pub(super) fn rule(wrong: &Error, issuer: &str, usage: &str, authorities: &[String]) -> String {
    let Error::InvalidCertificate(wrong) = wrong else { return format!("cannot be used: {wrong}") };
    match wrong {
        Wrong::UnknownIssuer | Wrong::BadSignature => {
            format!(
                "was issued by {issuer}, and --trusted-ca-file holds {}: have it issued there",
                authorities.join("; ")
            )
        }
        Wrong::Expired | Wrong::ExpiredContext { .. } => format!("is expired: {wrong}: renew it"),
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            format!("is not valid yet: {wrong}: is the clock right?")
        }
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => {
            format!("is for {usage} only, and a client needs extended key usage clientAuth: have it issued anew")
        }
        Wrong::Revoked => "is revoked by --client-crl-file: have another one issued".to_owned(),
        other => format!("cannot be used: {other}"),
    }
}
