//! Keys of signed tokens: which algorithm, and the files that they come in.
//!
//! Source: RFC 7518, section 3 (algorithms); RFC 5915 (EC keys), RFC 5958 (PKCS#8).

use std::path::{Path, PathBuf};

use ring::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use x509_parser::{pem::parse_x509_pem, prelude::FromDer, x509::SubjectPublicKeyInfo};

use super::TokenError;

/// What signs and checks.
pub(super) enum Key {
    Hmac(hmac::Key),
    Rsa(RsaMethod, Option<RsaKeyPair>, Vec<u8>),
    Ec(EcMethod, Option<EcdsaKeyPair>, Vec<u8>),
    Ed(Option<Ed25519KeyPair>, Vec<u8>),
}

/// How an RSA key signs and is checked.
type RsaMethod = (&'static dyn signature::RsaEncoding, &'static signature::RsaParameters);

#[derive(Clone, Copy)]
pub(super) struct EcMethod {
    signs: &'static signature::EcdsaSigningAlgorithm,
    checks: &'static signature::EcdsaVerificationAlgorithm,
    /// The curve's object identifier, encoded.
    curve: &'static [u8],
}

const P256: EcMethod = EcMethod {
    signs: &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
    checks: &signature::ECDSA_P256_SHA256_FIXED,
    curve: &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
};
const P384: EcMethod = EcMethod {
    signs: &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    checks: &signature::ECDSA_P384_SHA384_FIXED,
    curve: &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
};
/// The object identifier of elliptic curve keys, encoded.
const EC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// Signed, and compared, to see whether two keys are a pair.
const PROBE: &[u8] = b"causeway";

// === impl Key ===

impl Key {
    /// # Errors
    /// When the method is not known, or the files do not hold its keys.
    pub(super) fn load(method: &str, public: Option<PathBuf>, private: Option<PathBuf>) -> Result<Self, TokenError> {
        let rsa =
            |encoding, parameters| Self::rsa(method, (encoding, parameters), public.as_deref(), private.as_deref());
        let ec = |curve| Self::ec(method, curve, public.as_deref(), private.as_deref());
        let key = match method {
            "HS256" => Self::hmac(method, hmac::HMAC_SHA256, private.as_deref()),
            "HS384" => Self::hmac(method, hmac::HMAC_SHA384, private.as_deref()),
            "HS512" => Self::hmac(method, hmac::HMAC_SHA512, private.as_deref()),
            "RS256" => rsa(&signature::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256),
            "RS384" => rsa(&signature::RSA_PKCS1_SHA384, &signature::RSA_PKCS1_2048_8192_SHA384),
            "RS512" => rsa(&signature::RSA_PKCS1_SHA512, &signature::RSA_PKCS1_2048_8192_SHA512),
            "PS256" => rsa(&signature::RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256),
            "PS384" => rsa(&signature::RSA_PSS_SHA384, &signature::RSA_PSS_2048_8192_SHA384),
            "PS512" => rsa(&signature::RSA_PSS_SHA512, &signature::RSA_PSS_2048_8192_SHA512),
            "ES256" => ec(P256),
            "ES384" => ec(P384),
            "EdDSA" => Self::ed(method, public.as_deref(), private.as_deref()),
            _ => Err(TokenError::Method(method.to_owned())),
        }?;
        if let (Some(_), Some(signed)) = (&public, key.sign(PROBE))
            && !key.checks(PROBE, &signed)
        {
            return Err(TokenError::Mismatch);
        }
        Ok(key)
    }

    fn hmac(method: &str, algorithm: hmac::Algorithm, private: Option<&Path>) -> Result<Self, TokenError> {
        let path = private.ok_or_else(|| missing(method, "priv-key"))?;
        Ok(Self::Hmac(hmac::Key::new(algorithm, &read(path)?)))
    }

    fn rsa(
        method: &str,
        algorithm: RsaMethod,
        public: Option<&Path>,
        private: Option<&Path>,
    ) -> Result<Self, TokenError> {
        let pair = private.map(|path| {
            let pair = match private_key(method, path)? {
                PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
                PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
                _ => return Err(wrong(method, path, "it is no RSA key")),
            };
            pair.map_err(|error| wrong(method, path, error))
        });
        let pair = pair.transpose()?;
        let own = pair.as_ref().map(|pair: &rsa::KeyPair| pair.public_key().as_ref().to_vec());
        let shown = public.map(|path| public_key(method, path)).transpose()?;
        let bits = shown.or(own).ok_or_else(|| missing(method, EITHER))?;
        Ok(Self::Rsa(algorithm, pair, bits))
    }

    fn ec(method: &str, curve: EcMethod, public: Option<&Path>, private: Option<&Path>) -> Result<Self, TokenError> {
        let pair = private.map(|path| {
            let der = match private_key(method, path)? {
                PrivateKeyDer::Sec1(key) => pkcs8(curve, key.secret_sec1_der()),
                PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der().to_vec(),
                _ => return Err(wrong(method, path, "it is no EC key")),
            };
            EcdsaKeyPair::from_pkcs8(curve.signs, &der, &SystemRandom::new())
                .map_err(|error| wrong(method, path, error))
        });
        let pair = pair.transpose()?;
        let own = pair.as_ref().map(|pair| pair.public_key().as_ref().to_vec());
        let shown = public.map(|path| public_key(method, path)).transpose()?;
        let bits = shown.or(own).ok_or_else(|| missing(method, EITHER))?;
        Ok(Self::Ec(curve, pair, bits))
    }

    fn ed(method: &str, public: Option<&Path>, private: Option<&Path>) -> Result<Self, TokenError> {
        let pair = private.map(|path| match private_key(method, path)? {
            PrivateKeyDer::Pkcs8(key) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der())
                .map_err(|error| wrong(method, path, error)),
            _ => Err(wrong(method, path, "it is no Ed25519 key")),
        });
        let pair = pair.transpose()?;
        let own = pair.as_ref().map(|pair| pair.public_key().as_ref().to_vec());
        let shown = public.map(|path| public_key(method, path)).transpose()?;
        let bits = shown.or(own).ok_or_else(|| missing(method, EITHER))?;
        Ok(Self::Ed(pair, bits))
    }

    /// `None` when there is only a public key.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa((encoding, _), pair, _) => {
                let pair = pair.as_ref()?;
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signed).ok()?;
                Some(signed)
            }
            Self::Ec(_, pair, _) => Some(pair.as_ref()?.sign(&random, message).ok()?.as_ref().to_vec()),
            Self::Ed(pair, _) => Some(pair.as_ref()?.sign(message).as_ref().to_vec()),
        }
    }

    pub(super) fn checks(&self, message: &[u8], signed: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => hmac::verify(key, message, signed).is_ok(),
            Self::Rsa((_, parameters), _, bits) => {
                UnparsedPublicKey::new(*parameters, bits).verify(message, signed).is_ok()
            }
            Self::Ec(curve, _, bits) => UnparsedPublicKey::new(curve.checks, bits).verify(message, signed).is_ok(),
            Self::Ed(_, bits) => UnparsedPublicKey::new(&signature::ED25519, bits).verify(message, signed).is_ok(),
        }
    }
}

impl std::fmt::Debug for Key {
    /// Keys are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

const EITHER: &str = "priv-key, or pub-key to take tokens only";

fn missing(method: &str, needed: &'static str) -> TokenError {
    TokenError::MissingKey { method: method.to_owned(), needed }
}

fn wrong(method: &str, path: &Path, rule: impl ToString) -> TokenError {
    TokenError::Key { path: path.to_owned(), method: method.to_owned(), rule: rule.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, TokenError> {
    std::fs::read(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })
}

fn private_key(method: &str, path: &Path) -> Result<PrivateKeyDer<'static>, TokenError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| wrong(method, path, "it is not PEM"))
}

/// The bits of a public key: what `PUBLIC KEY` wraps, or `RSA PUBLIC KEY` is.
fn public_key(method: &str, path: &Path) -> Result<Vec<u8>, TokenError> {
    let text = read(path)?;
    let (_, pem) = parse_x509_pem(&text).map_err(|_| wrong(method, path, "it is not PEM"))?;
    match pem.label.as_str() {
        "RSA PUBLIC KEY" => Ok(pem.contents),
        "PUBLIC KEY" => {
            let (_, info) =
                SubjectPublicKeyInfo::from_der(&pem.contents).map_err(|error| wrong(method, path, error))?;
            Ok(info.subject_public_key.data.to_vec())
        }
        _ => Err(wrong(method, path, "it is no public key")),
    }
}

/// An EC key of its own form in the form that all private keys have.
fn pkcs8(curve: EcMethod, sec1: &[u8]) -> Vec<u8> {
    let algorithm = wrapped(0x30, &[EC_KEY, curve.curve].concat());
    let version: &[u8] = &[0x02, 0x01, 0x00];
    wrapped(0x30, &[version, &algorithm, &wrapped(0x04, sec1)].concat())
}

/// A DER value; shorter than 64 KiB, as keys are.
fn wrapped(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len() as u16;
    let mut der = vec![tag];
    match length {
        0..0x80 => der.push(length as u8),
        0x80..0x100 => der.extend([0x81, length as u8]),
        _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    der.extend(value);
    der
}
