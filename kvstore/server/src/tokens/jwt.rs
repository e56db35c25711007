//! Signed tokens (RFC 7519) as etcd makes them: the user, the revision of the permissions, and when it ends.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use super::keys::Key;
use crate::core::Failure;

#[derive(Debug)]
pub(crate) struct Jwt {
    method: String,
    key: Key,
    ttl: Duration,
}

// === impl Jwt ===

impl Jwt {
    pub(super) fn new(method: String, key: Key, ttl: Duration) -> Self {
        Self { method, key, ttl }
    }

    pub(super) fn assign(&self, user: &str, revision: u64) -> Result<String, Failure> {
        let ends = now().saturating_add(self.ttl).as_secs();
        let head = json!({ "alg": self.method, "typ": "JWT" });
        let claims = json!({ "exp": ends, "revision": revision, "username": user });
        let message = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
        let signed = self.key.sign(message.as_bytes()).ok_or(Failure::VerifyOnly)?;
        Ok(format!("{message}.{}", BASE64.encode(signed)))
    }

    /// The user and the revision, if we signed it and it is not over. The method is ours, whatever the token says.
    pub(super) fn find(&self, token: &str) -> Option<(Arc<str>, u64)> {
        let (message, signed) = token.rsplit_once('.')?;
        let (head, claims) = message.split_once('.')?;
        let part = |text: &str| serde_json::from_slice::<Value>(&BASE64.decode(text).ok()?).ok();
        if part(head)?.get("alg")?.as_str()? != self.method
            || !self.key.checks(message.as_bytes(), &BASE64.decode(signed).ok()?)
        {
            return None;
        }
        let claims = part(claims)?;
        let at = |name: &str| claims.get(name).map(Value::as_f64);
        let now = now().as_secs_f64();
        // A time that is there has to be a number, and the right side of now.
        let over = at("exp").is_some_and(|ends| ends.is_none_or(|ends| ends <= now));
        let early = at("nbf").is_some_and(|begins| begins.is_none_or(|begins| begins > now));
        if over || early {
            return None;
        }
        Some((claims.get("username")?.as_str()?.into(), claims.get("revision")?.as_f64()? as u64))
    }
}

fn now() -> Duration {
    // Before 1970 everything is over.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command};

    use super::*;
    use crate::tokens::{TokenError, Tokens, parse};

    fn openssl(dir: &Path, arguments: &str) {
        let ran = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("openssl runs");
        assert!(ran.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Keys in every form that openssl writes them in.
    fn keys() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let run = |arguments| openssl(dir.path(), arguments);
        run("genrsa -traditional -out rsa1.pem 2048");
        run("pkcs8 -topk8 -nocrypt -in rsa1.pem -out rsa8.pem");
        run("rsa -in rsa1.pem -pubout -out rsa.pub");
        run("rsa -in rsa1.pem -RSAPublicKey_out -out rsa1.pub");
        run("ecparam -name prime256v1 -genkey -noout -out ec1.pem");
        run("pkcs8 -topk8 -nocrypt -in ec1.pem -out ec8.pem");
        run("ec -in ec1.pem -pubout -out ec.pub");
        run("ecparam -name secp384r1 -genkey -noout -out ec384.pem");
        run("ec -in ec384.pem -pubout -out ec384.pub");
        run("genpkey -algorithm ed25519 -out ed.pem");
        run("pkey -in ed.pem -pubout -out ed.pub");
        std::fs::write(dir.path().join("secret"), b"a secret of some length, as bytes").unwrap();
        dir
    }

    fn with(dir: &Path, method: &str, keys: &[(&str, &str)]) -> Result<Jwt, TokenError> {
        let mut text = format!("jwt,sign-method={method},ttl=1m");
        for (name, file) in keys {
            text.push_str(&format!(",{name}={}", dir.join(file).display()));
        }
        match parse(&text, Duration::ZERO)? {
            Tokens::Jwt(jwt) => Ok(*jwt),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_method_signs_what_its_public_key_checks() {
        let keys = keys();
        let dir = keys.path();
        for (method, private, public) in [
            ("RS256", "rsa1.pem", "rsa.pub"),
            ("RS384", "rsa8.pem", "rsa1.pub"),
            ("RS512", "rsa1.pem", "rsa.pub"),
            ("PS256", "rsa8.pem", "rsa.pub"),
            ("PS384", "rsa1.pem", "rsa.pub"),
            ("PS512", "rsa1.pem", "rsa1.pub"),
            ("ES256", "ec1.pem", "ec.pub"),
            ("ES256", "ec8.pem", "ec.pub"),
            ("ES384", "ec384.pem", "ec384.pub"),
            ("EdDSA", "ed.pem", "ed.pub"),
        ] {
            let signs = with(dir, method, &[("priv-key", private)]).unwrap();
            let both = with(dir, method, &[("priv-key", private), ("pub-key", public)]).unwrap();
            let checks = with(dir, method, &[("pub-key", public)]).unwrap();
            let token = signs.assign("alice", 7).unwrap();
            for jwt in [&signs, &both, &checks] {
                assert_eq!(jwt.find(&token), Some(("alice".into(), 7)), "{method} {private} {public}");
            }
            assert_eq!(checks.assign("alice", 7), Err(Failure::VerifyOnly));
        }
        for method in ["HS256", "HS384", "HS512"] {
            let jwt = with(dir, method, &[("priv-key", "secret")]).unwrap();
            assert_eq!(jwt.find(&jwt.assign("bob", 3).unwrap()), Some(("bob".into(), 3)), "{method}");
        }
        let other = with(dir, "ES256", &[("priv-key", "ec1.pem"), ("pub-key", "ec384.pub")]);
        assert_eq!(other.unwrap_err().to_string(), "--auth-token: the public key is not that of the private key");
    }

    #[test]
    fn what_is_changed_over_or_signed_otherwise_is_no_token() {
        let keys = keys();
        let jwt = with(keys.path(), "HS256", &[("priv-key", "secret")]).unwrap();
        let made = |head: Value, claims: Value| {
            let message = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
            let signed = jwt.key.sign(message.as_bytes()).unwrap();
            format!("{message}.{}", BASE64.encode(signed))
        };
        let (head, later) = (json!({ "alg": "HS256" }), now().as_secs() + 60);
        let good = json!({ "username": "a", "revision": 1, "exp": later });
        assert_eq!(jwt.find(&made(head.clone(), good.clone())), Some(("a".into(), 1)));
        let over = json!({ "username": "a", "revision": 1, "exp": later - 120 });
        let nobody = json!({ "revision": 1, "exp": later });
        let no_revision = json!({ "username": "a", "exp": later });
        for (head, claims) in [
            (head.clone(), over),
            (head.clone(), nobody),
            (head.clone(), no_revision),
            (json!({ "alg": "none" }), good.clone()),
            (json!({ "alg": "HS384" }), good.clone()),
            (json!({}), good.clone()),
        ] {
            assert_eq!(jwt.find(&made(head.clone(), claims.clone())), None, "{head} {claims}");
        }
        let token = made(head, good);
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        for text in [&unsigned, &format!("x{token}"), &format!("{token}x"), "", ".", "..", "a.b.c"] {
            assert_eq!(jwt.find(text), None, "{text}");
        }
    }

    /// The public key of an RSA pair is public: as a secret of HMAC it must not sign.
    #[test]
    fn a_public_key_is_no_secret() {
        let keys = keys();
        let rsa = with(keys.path(), "RS256", &[("pub-key", "rsa.pub")]).unwrap();
        let hmac = with(keys.path(), "HS256", &[("priv-key", "rsa.pub")]).unwrap();
        assert_eq!(rsa.find(&hmac.assign("root", 1).unwrap()), None);
    }
}
