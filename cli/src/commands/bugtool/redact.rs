//! Secrets out of text.
//!
//! Two steps. Secrets are known by what they are called (`password: x`, `TOKEN=x`, `"secret": "x"`), by their form
//! (private keys, `user:password@` in an address, bearer tokens). What was learned from any file then goes from every
//! other file too, whatever it is called there.

use std::collections::BTreeSet;

const GONE: &str = "REDACTED";

/// Parts of names whose values are secrets.
const NAMES: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "credential",
    "api-key",
    "api_key",
    "key-data",
    "tls.key",
];

/// Values that a name above may have and that say nothing.
const HARMLESS: [&str; 6] = ["", "true", "false", "none", "null", GONE];

/// A secret shorter than this goes from where it was found only: elsewhere it might be any word.
const TELLING: usize = 6;

/// Base64 of `-----BEGIN`.
const ENCODED_PEM: &str = "LS0tLS1CRUdJTi";

/// Removes secrets, and those that it has learned.
#[derive(Default)]
pub(super) struct Redactor {
    learned: BTreeSet<String>,
}

impl Redactor {
    /// Learns the secrets of a text.
    pub(super) fn learn(&mut self, text: &str) {
        let mut found = Vec::new();
        scrub(text, &mut |secret| found.push(secret.to_owned()));
        self.learned.extend(found.into_iter().filter(|secret| secret.len() >= TELLING));
    }

    /// The text without secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = scrub(text, &mut |_| {});
        for secret in &self.learned {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), GONE);
            }
        }
        text
    }
}

fn scrub(text: &str, found: &mut dyn FnMut(&str)) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        if in_key {
            found(line.trim());
            if line.contains("-----END") {
                in_key = false;
            }
            continue;
        }
        if let Some(at) = line.find("-----BEGIN").filter(|at| line[*at..].contains("PRIVATE KEY")) {
            clean.push_str(&line[..at]);
            clean.push_str(GONE);
            clean.push('\n');
            in_key = !line[at..].contains("-----END");
            if !in_key {
                found(line[at..].trim());
            }
            continue;
        }
        let line = runtime::replace_passwords(line, GONE, found);
        let line = named(&line, found);
        clean.push_str(&encoded(&line, found));
    }
    clean
}

/// `name: value`, `name=value`, `"name": "value"`, `--name value`.
fn named(line: &str, found: &mut dyn FnMut(&str)) -> String {
    let lower = line.to_ascii_lowercase();
    let mut clean = String::with_capacity(line.len());
    let mut from = 0;
    loop {
        let next = NAMES.iter().filter_map(|name| Some((lower[from..].find(name)? + from, name.len()))).min();
        let Some((at, length)) = next else { break };
        let part_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let end = at + length;
        let name_end = line[end..].find(|c| !part_of_name(c)).map_or(line.len(), |more| end + more);
        let flag = line[..at].rfind(|c| !part_of_name(c)).map_or(line[..name_end].trim_start(), |before| {
            line[before..name_end].trim_start_matches(|c: char| !part_of_name(c))
        });
        let flag = flag.starts_with("--");
        let after = line[name_end..].trim_start_matches(['"', '\'']);
        let after = after.trim_start_matches([' ', '\t']);
        let value = match after.strip_prefix([':', '=']) {
            Some(value) => value.trim_start_matches([' ', '\t']),
            None if flag => after,
            None => {
                clean.push_str(&line[from..name_end]);
                from = name_end;
                continue;
            }
        };
        let start = line.len() - value.len();
        let quote = value.chars().next().filter(|c| "\"'".contains(*c));
        let (start, stop) = match quote {
            Some(quote) => {
                let inner = &value[1..];
                (start + 1, start + 1 + inner.find(quote).unwrap_or(inner.trim_end().len()))
            }
            // Of a flag one word; of a file's line everything: a password may hold blanks.
            None if flag => (start, start + value.find(char::is_whitespace).unwrap_or(value.len())),
            None => (start, start + value.trim_end().len()),
        };
        let secret = &line[start..stop];
        clean.push_str(&line[from..start]);
        if HARMLESS.contains(&secret.to_ascii_lowercase().as_str()) || secret == GONE {
            clean.push_str(secret);
        } else {
            found(secret.strip_prefix("Bearer ").unwrap_or(secret));
            clean.push_str(GONE);
        }
        from = stop;
    }
    clean + &line[from..]
}

/// A file in base64 that begins as keys and certificates do: which of both is not worth finding out.
fn encoded(line: &str, found: &mut dyn FnMut(&str)) -> String {
    let Some(at) = line.find(ENCODED_PEM) else { return line.to_owned() };
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let end = line[at..].find(|c| !base64(c)).map_or(line.len(), |more| at + more);
    found(&line[at..end]);
    format!("{}{GONE}{}", &line[..at], encoded(&line[end..], found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut redactor = Redactor::default();
        redactor.learn(text);
        assert_eq!(redactor.redact(text), expected);
    }

    #[test]
    fn secrets_go_by_their_names_and_by_their_form() {
        check("password: hunter2secret\n", "password: REDACTED\n");
        check("username: root\npassword: two words\nend: 1\n", "username: root\npassword: REDACTED\nend: 1\n");
        check("{\"etcd-password\": \"abcdef\", \"x\": 1}", "{\"etcd-password\": \"REDACTED\", \"x\": 1}");
        check("CAUSEWAY_TOKEN=abcdef\nHOME=/root\n", "CAUSEWAY_TOKEN=REDACTED\nHOME=/root\n");
        check("agent --db-password abcdef --other x", "agent --db-password REDACTED --other x");
        check("agent --db-password=abcdef", "agent --db-password=REDACTED");
        check("http://root:abcdef@10.0.0.1:2379/x", "http://REDACTED@10.0.0.1:2379/x");
        check("Authorization: Bearer abcdef", "Authorization: REDACTED");
        check("tls.key: LS0tLS1CRUdJTiBQUklW\n", "tls.key: REDACTED\n");
        check("data: LS0tLS1CRUdJTiBQUklW end", "data: REDACTED end");
        check("a\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBbb\n-----END EC PRIVATE KEY-----\nb\n", "a\nREDACTED\nb\n");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "no secret in this line\n",
            "io.kubernetes.pod.namespace=default k8s:app=token-service\n",
            "token: true\n",
            "http://10.0.0.1:2379 a@b\n",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "serviceaccounttoken\n",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn what_one_file_calls_a_secret_goes_from_every_other() {
        let mut redactor = Redactor::default();
        redactor.learn("password: canary-1234\n");
        assert_eq!(redactor.redact("dial root canary-1234 failed"), "dial root REDACTED failed");
        redactor.learn("token: abc\n");
        assert_eq!(redactor.redact("abc is a short word"), "abc is a short word");
    }

    #[test]
    fn any_text_is_taken() {
        for text in [
            "",
            "password",
            "password:",
            "password=\"",
            "--token",
            "://",
            "://@",
            "-----BEGIN PRIVATE KEY-----",
            "ü://ä:ö@ß token=é\n",
        ] {
            let mut redactor = Redactor::default();
            redactor.learn(text);
            redactor.redact(text);
        }
    }
}
