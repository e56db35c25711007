//! etcd's configuration file: YAML whose keys are the flags' names, and some groups of them.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::flags::{self, Setting, Settings};

/// A file of more bytes is none: etcd's sample has a twentieth of it.
const MAX_BYTES: u64 = 128 << 10;

/// Groups, and what a key of theirs is as a flag.
const GROUPS: [(&str, &str, &str); 24] = [
    ("client-transport-security", "cert-file", "cert-file"),
    ("client-transport-security", "key-file", "key-file"),
    ("client-transport-security", "client-cert-file", "client-cert-file"),
    ("client-transport-security", "client-key-file", "client-key-file"),
    ("client-transport-security", "client-cert-auth", "client-cert-auth"),
    ("client-transport-security", "trusted-ca-file", "trusted-ca-file"),
    ("client-transport-security", "auto-tls", "auto-tls"),
    ("client-transport-security", "allowed-hostname", "client-cert-allowed-hostname"),
    ("peer-transport-security", "cert-file", "peer-cert-file"),
    ("peer-transport-security", "key-file", "peer-key-file"),
    ("peer-transport-security", "client-cert-file", "peer-client-cert-file"),
    ("peer-transport-security", "client-key-file", "peer-client-key-file"),
    ("peer-transport-security", "client-cert-auth", "peer-client-cert-auth"),
    ("peer-transport-security", "trusted-ca-file", "peer-trusted-ca-file"),
    ("peer-transport-security", "auto-tls", "peer-auto-tls"),
    ("peer-transport-security", "allowed-cn", "peer-cert-allowed-cn"),
    ("peer-transport-security", "allowed-hostname", "peer-cert-allowed-hostname"),
    ("peer-transport-security", "skip-client-san-verification", "peer-skip-client-san-verification"),
    ("socket-options", "reuse-port", "socket-reuse-port"),
    ("socket-options", "reuse-address", "socket-reuse-address"),
    ("discovery-config", "discovery", "discovery-token"),
    ("discovery-config", "token", "discovery-token"),
    ("discovery-config", "endpoints", "discovery-endpoints"),
    ("", "experimental-snapshot-catch-up-entries", "experimental-snapshot-catchup-entries"),
];

/// # Errors
/// With the path, and the line where there is one.
pub(super) fn read(path: &Path) -> Result<Settings, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("--config-file: cannot read {shown}: {error}");
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(format!("--config-file: {shown} is no file of at most 128 KiB: name etcd's configuration in YAML"));
    }
    parse(&shown.to_string(), &fs::read_to_string(path).map_err(failed)?)
}

fn parse(path: &str, text: &str) -> Result<Settings, String> {
    let keys: BTreeMap<String, Value> = if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
        BTreeMap::new()
    } else {
        serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
            let what = error.without_snippet().to_string();
            format!("{path}{place} is no configuration of etcd: {}", what.lines().next().unwrap_or_default())
        })?
    };
    let mut settings = Settings::new();
    for (key, value) in keys {
        // etcd's own sample has keys of a proxy that is long gone, and etcd skips them.
        if key == "proxy" || key.starts_with("proxy-") {
            continue;
        }
        match value {
            Value::Object(group) => {
                for (inner, value) in group {
                    add(&mut settings, path, (&key, &inner), &value)?;
                }
            }
            value => add(&mut settings, path, ("", &key), &value)?,
        }
    }
    Ok(settings)
}

fn add(settings: &mut Settings, path: &str, (group, key): (&str, &str), value: &Value) -> Result<(), String> {
    let shown = if group.is_empty() { key.to_owned() } else { format!("{group}.{key}") };
    let grouped = GROUPS.iter().find(|(of, name, _)| (*of, *name) == (group, key)).map(|(.., flag)| *flag);
    let name = grouped.or_else(|| group.is_empty().then_some(key));
    let Some(flag) = name.and_then(flags::find) else {
        return Err(format!("{path}: {shown} is no key of etcd's configuration{}", similar(&shown)));
    };
    let text = match value {
        // As if it were not there.
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        Value::Bool(on) => on.to_string(),
        // Go's durations are numbers of nanoseconds where they are no flags.
        Value::Number(number) if flag.name.ends_with("watch-progress-notify-interval") => format!("{number}ns"),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            items.ok_or_else(|| format!("{path}: {shown} is not a list of words"))?.join(",")
        }
        Value::Object(_) => return Err(format!("{path}: {shown} is a group, and etcd has none of that name")),
    };
    settings.insert(flag.name, Setting { value: text, place: format!("{path}: {shown}") });
    Ok(())
}

fn similar(key: &str) -> String {
    let near = flags::FLAGS.iter().map(|flag| flag.name).find(|name| runtime::distance(key, name) <= 2);
    near.map(|name| format!(": did you mean {name}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_groups_and_lists_are_flags() {
        let settings = parse(
            "etcd.yml",
            "# a comment\nname: 'a'\nquota-backend-bytes: 7\nclient-transport-security:\n  cert-file: /c\n  \
             client-cert-auth: true\n  trusted-ca-file:\ncipher-suites: [A, B]\nwatch-progress-notify-interval: 5000\n",
        );
        let settings = settings.unwrap();
        let values: Vec<(&str, &str)> = settings.iter().map(|(name, one)| (*name, one.value.as_str())).collect();
        let expected = [
            ("cert-file", "/c"),
            ("cipher-suites", "A,B"),
            ("client-cert-auth", "true"),
            ("name", "a"),
            ("quota-backend-bytes", "7"),
            ("watch-progress-notify-interval", "5000ns"),
        ];
        assert_eq!(values, expected);
        assert_eq!(settings["cert-file"].place, "etcd.yml: client-transport-security.cert-file");
    }

    #[test]
    fn what_is_no_key_is_named() {
        let check = |text: &str, part: &str| {
            let error = parse("etcd.yml", text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("nmae: a", "nmae is no key of etcd's configuration: did you mean name?");
        check("client-transport-security: {ca-file: x}", "client-transport-security.ca-file is no key");
        check("name: {a: b}", "name.a is no key");
        check("name: [1]", "name is not a list of words");
        check("name: a\nname: b", "etcd.yml:2:1 is no configuration of etcd");
        check("- a", "is no configuration of etcd");
        assert_eq!(parse("etcd.yml", "# nothing\n\n"), Ok(Settings::new()));
    }
}
