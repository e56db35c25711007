//! What is wrong with a file, and how to mend it.

use std::path::PathBuf;

use crate::Purpose;

/// A file that cannot be used, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is no file of at most 1 MiB")]
    NoFile { path: PathBuf },
    #[error("{path} is DER, and PEM is needed: convert it with `openssl {tool} -inform der -in {path} -out FILE`")]
    Der { path: PathBuf, tool: &'static str },
    #[error("{path} holds no PEM block `-----BEGIN {wanted}-----`{found}")]
    NoBlock { path: PathBuf, wanted: &'static str, found: String },
    #[error("{path} is encrypted: decrypt it with `openssl pkey -in {path} -out FILE`")]
    Encrypted { path: PathBuf },
    #[error("{path} has mode {mode:04o}, and a private key must not be open to others: chmod 0600 {path}")]
    Open { path: PathBuf, mode: u32 },
    #[error("{path} holds a damaged {what}: {why}")]
    Damaged { path: PathBuf, what: &'static str, why: String },
    #[error("certificate {cert} does not match key {key}: they were not made together")]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("certificate {path} ({subject}) expired on {until}; now it is {now}: renew it")]
    Expired { path: PathBuf, subject: String, until: String, now: String },
    #[error("certificate {path} ({subject}) is not valid before {from}; now it is {now}: is the clock right?")]
    NotYet { path: PathBuf, subject: String, from: String, now: String },
    #[error("certificate {path} ({subject}) is for {usage} only, and {purpose}: have it issued anew")]
    Usage { path: PathBuf, subject: String, usage: String, purpose: Purpose },
    #[error("{path} holds a damaged list of revoked certificates: {why}")]
    Revocations { path: PathBuf, why: String },
}
