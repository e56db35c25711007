//! `--auth-token`: `simple`, or `jwt,sign-method=M,priv-key=FILE[,pub-key=FILE][,ttl=D]`.
//!
//! Source: etcd server/auth/options.go of 3.6. Unlike there, an option that is not known is refused.

use std::{path::PathBuf, time::Duration};

use super::{Tokens, jwt::Jwt, keys::Key, simple::Simple};

const JWT_TTL: Duration = Duration::from_secs(300);
/// etcd's: what a time of 0 or less means for simple tokens.
pub(super) const SIMPLE_TTL: Duration = Duration::from_secs(300);

/// An `--auth-token` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("--auth-token {0:?} is neither simple nor jwt,sign-method=...,priv-key=...")]
    Kind(String),
    #[error("--auth-token: {0:?} is no option of the form name=value")]
    Option(String),
    #[error("--auth-token: {0} is given twice")]
    Twice(String),
    #[error("--auth-token: {0:?} is not known: there are sign-method, pub-key, priv-key and ttl")]
    Unknown(String),
    #[error(
        "--auth-token: sign-method {0:?} is not supported: use HS, RS or PS with 256, 384 or 512, ES256, ES384 or EdDSA"
    )]
    Method(String),
    #[error("--auth-token: ttl {0:?} is no time such as 10m")]
    Ttl(String),
    #[error("--auth-token: cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("--auth-token: {method} needs {needed}")]
    MissingKey { method: String, needed: &'static str },
    #[error("--auth-token: {} holds no key for {method}: {rule}", path.display())]
    Key { path: PathBuf, method: String, rule: String },
    #[error("--auth-token: the public key is not that of the private key")]
    Mismatch,
}

/// # Errors
/// When it names no way to make tokens, or its keys are not there.
pub(crate) fn parse(text: &str, simple_ttl: Duration) -> Result<Tokens, TokenError> {
    let mut parts = text.split(',');
    let kind = parts.next().unwrap_or_default();
    let (mut method, mut public, mut private, mut ttl) = (None, None, None, None);
    for part in parts {
        let (name, value) = part.split_once('=').ok_or_else(|| TokenError::Option(part.to_owned()))?;
        let place = match name {
            "sign-method" => &mut method,
            "pub-key" => &mut public,
            "priv-key" => &mut private,
            "ttl" => &mut ttl,
            _ => return Err(TokenError::Unknown(name.to_owned())),
        };
        if place.replace(value.to_owned()).is_some() {
            return Err(TokenError::Twice(name.to_owned()));
        }
    }
    match kind {
        "simple" => Ok(Tokens::Simple(Simple::new(if simple_ttl.is_zero() { SIMPLE_TTL } else { simple_ttl }))),
        "jwt" => {
            let method = method.unwrap_or_default();
            let ttl = ttl.map_or(Ok(JWT_TTL), |ttl| duration(&ttl).ok_or(TokenError::Ttl(ttl)))?;
            let file = |path: Option<String>| path.filter(|path| !path.is_empty()).map(PathBuf::from);
            let key = Key::load(&method, file(public), file(private))?;
            Ok(Tokens::Jwt(Box::new(Jwt::new(method, key, ttl))))
        }
        _ => Err(TokenError::Kind(text.to_owned())),
    }
}

/// As Go writes it: numbers, each with its unit.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let millis = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        sum += Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?);
        rest = after;
    }
    (!sum.is_zero()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_options_are_refused_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let garbage = dir.path().join("key");
        std::fs::write(&garbage, "no key").unwrap();
        let garbage = garbage.display().to_string();
        for (text, expected) in [
            ("basic", "--auth-token \"basic\" is neither simple nor jwt,sign-method=...,priv-key=...".to_owned()),
            ("jwt,sign-method", "--auth-token: \"sign-method\" is no option of the form name=value".to_owned()),
            ("jwt,ttl=1m,ttl=2m", "--auth-token: ttl is given twice".to_owned()),
            (
                "jwt,pubkey=x",
                "--auth-token: \"pubkey\" is not known: there are sign-method, pub-key, priv-key and ttl".to_owned(),
            ),
            (
                "jwt,sign-method=ES512,priv-key=x",
                "--auth-token: sign-method \"ES512\" is not supported: use HS, RS or PS with 256, 384 or 512, ES256, \
                 ES384 or EdDSA"
                    .to_owned(),
            ),
            ("jwt,sign-method=HS256", "--auth-token: HS256 needs priv-key".to_owned()),
            ("jwt,sign-method=RS256", "--auth-token: RS256 needs priv-key, or pub-key to take tokens only".to_owned()),
            (
                "jwt,sign-method=HS256,priv-key=x,ttl=soon",
                "--auth-token: ttl \"soon\" is no time such as 10m".to_owned(),
            ),
            ("jwt,sign-method=HS256,priv-key=/none", "--auth-token: cannot read /none".to_owned()),
            (
                &format!("jwt,sign-method=ES256,priv-key={garbage}"),
                format!("--auth-token: {garbage} holds no key for ES256: it is not PEM"),
            ),
        ] {
            let error = parse(text, SIMPLE_TTL).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        }
        assert!(matches!(parse("simple", Duration::ZERO), Ok(Tokens::Simple(_))));
    }

    #[test]
    fn times_are_read_as_go_writes_them() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["", "5", "s", "5 s", "-5s", "0s", "99999999999999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
