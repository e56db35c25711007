//! Licences, bans and sources of dependencies, against deny.toml. cargo-deny itself runs where it is installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::repo;

/// What deny.toml says, as far as we check it ourselves.
struct Rules {
    licenses: BTreeSet<String>,
    bans: Vec<String>,
    sources: BTreeSet<String>,
}

/// Dependencies that break a rule of deny.toml.
pub(super) fn check(root: &Path, metadata: &Value) -> Result<Vec<String>> {
    let file = root.join("deny.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let mut complaints = check_packages(&Rules::parse(&text)?, metadata);
    let installed = Command::new("cargo-deny").arg("--version").output().is_ok_and(|output| output.status.success());
    if installed && let Err(error) = repo::run(repo::cargo().args(["deny", "check", "licenses", "bans", "sources"])) {
        complaints.push(format!("cargo-deny: {error}"));
    }
    Ok(complaints)
}

fn check_packages(rules: &Rules, metadata: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let name = format!("{} {}", text("name"), text("version"));
        if rules.bans.iter().any(|ban| ban == text("name")) {
            complaints.push(format!("{name} is banned by deny.toml"));
        }
        if !package["source"].is_null() && !rules.sources.contains(kind_of(text("source"))) {
            complaints.push(format!("{name} comes from {}, which deny.toml does not allow", text("source")));
        }
        if !satisfied(text("license"), &rules.licenses) {
            complaints.push(format!("{name} has licence {:?}, which deny.toml does not allow", text("license")));
        }
    }
    complaints
}

/// `registry`, `git` or `sparse`: what stands before the plus sign.
fn kind_of(source: &str) -> &str {
    source.split('+').next().unwrap_or_default()
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is the old way to write OR.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any_of(&mut rest, allowed);
    met && rest.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(words, allowed);
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    if *first == "(" {
        let met = any_of(words, allowed);
        let closed = words.first() == Some(&")");
        *words = words.get(1..).unwrap_or_default();
        return met && closed;
    }
    let mut license = (*first).to_owned();
    if let [with, exception, rest @ ..] = *words
        && *with == "WITH"
    {
        license = format!("{license} WITH {exception}");
        *words = rest;
    }
    allowed.contains(&license)
}

impl Rules {
    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context("deny.toml is not TOML")?;
        let list = |section: &str, key: &str| {
            let values = table.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_array);
            let values = values.with_context(|| format!("deny.toml has no list {section}.{key}"))?;
            anyhow::Ok(values.clone())
        };
        let words =
            |values: Vec<toml::Value>| values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect();
        let bans = list("bans", "deny")?;
        let name = |ban: &toml::Value| ban.get("crate").and_then(toml::Value::as_str).map(str::to_owned);
        let sources: BTreeSet<String> = match list("sources", "allow-git")?.is_empty() {
            true => ["registry", "sparse"].map(str::to_owned).into(),
            false => ["registry", "sparse", "git"].map(str::to_owned).into(),
        };
        Ok(Self { licenses: words(list("licenses", "allow")?), bans: bans.iter().filter_map(name).collect(), sources })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixture_with_a_bad_licence_a_ban_and_a_git_source_is_rejected() {
        let rules = Rules::parse(include_str!("../../fixtures/deny.toml")).unwrap();
        let metadata = serde_json::from_str(include_str!("../../fixtures/deny.json")).unwrap();
        let complaints = check_packages(&rules, &metadata);
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert!(complaints[0].starts_with("copyleft 1.0.0 has licence"), "{complaints:?}");
        assert!(complaints[1].starts_with("openssl 1.0.0 is banned"), "{complaints:?}");
        assert!(complaints[2].starts_with("forked 1.0.0 comes from git"), "{complaints:?}");
    }

    #[test]
    fn spdx_expressions_are_met_by_one_alternative() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        for good in
            ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "(MIT OR X) AND Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        {
            assert!(satisfied(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT WITH x", "(MIT"] {
            assert!(!satisfied(bad, &allowed), "{bad}");
        }
    }
}
