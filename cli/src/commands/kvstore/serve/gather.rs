//! Where a flag's value comes from, in etcd's order: a configuration file alone; or the command line, then `ETCD_*`.

use std::ffi::OsString;

use super::{
    file,
    flags::{self, Flag, Setting, Settings},
    peers,
};

/// The arguments for our own parser, and what the user is to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub(crate) arguments: Vec<OsString>,
    pub(crate) warnings: Vec<String>,
}

const FILE: &str = "config-file";

/// `None` when this is not about `kvstore serve`. `names` are the environment's.
///
/// # Errors
/// A flag, variable or line of the file that is refused, by name.
pub(crate) fn gather(
    given: &[OsString],
    environment: impl Fn(&str) -> Option<String>,
    names: impl Iterator<Item = String>,
) -> Result<Option<Gathered>, String> {
    let words: Vec<&str> = given.iter().skip(1).take(2).filter_map(|word| word.to_str()).collect();
    if words != ["kvstore", "serve"] {
        return Ok(None);
    }
    let (mut line, rest) = command_line(&given[3..])?;
    let path = line.file.take().or_else(|| environment(&variable(FILE)));
    let mut gathered = Gathered::default();
    let settings = match path.filter(|path| !path.is_empty()) {
        Some(path) => {
            if !line.settings.is_empty() {
                let ignored: Vec<&str> = line.settings.values().map(|setting| setting.place.as_str()).collect();
                gathered.warnings.push(format!("--config-file is given, so {} is ignored", ignored.join(", ")));
            }
            file::read(path.as_ref())?
        }
        None => {
            gathered.warnings = line.add(environment, names);
            line.settings
        }
    };
    peers::check(&settings)?;
    let judged = flags::judge(&settings)?;
    gathered.warnings.extend(judged.warnings);
    gathered.arguments = given[..3].to_vec();
    gathered.arguments.extend(judged.honoured.iter().map(|(name, value)| format!("--{name}={value}").into()));
    gathered.arguments.extend(rest);
    Ok(Some(gathered))
}

/// What stood on the command line.
#[derive(Default)]
struct Given {
    settings: Settings,
    file: Option<String>,
}

/// etcd's flags among the words, and the words that are something else.
fn command_line(words: &[OsString]) -> Result<(Given, Vec<OsString>), String> {
    let (mut given, mut rest) = (Given::default(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        // Go takes one dash for two.
        let flag = word.to_str().and_then(|word| word.strip_prefix("--").or_else(|| word.strip_prefix('-')));
        let (name, value) = match flag.map(|flag| flag.split_once('=').map_or((flag, None), |(n, v)| (n, Some(v)))) {
            Some((name, value)) if name == FILE || flags::find(name).is_some() => (name, value),
            _ => {
                rest.push(word.clone());
                continue;
            }
        };
        let flag = flags::find(name);
        let value = match value {
            Some(value) => value.to_owned(),
            None if flag.is_some_and(Flag::is_switch) => "true".to_owned(),
            None => {
                let next = words.next().and_then(|word| word.to_str());
                next.ok_or_else(|| format!("--{name} needs a value"))?.to_owned()
            }
        };
        match flag {
            Some(flag) => {
                given.settings.insert(flag.name, Setting { value, place: format!("--{name}") });
            }
            None => given.file = Some(value),
        }
    }
    Ok((given, rest))
}

fn variable(name: &str) -> String {
    format!("ETCD_{}", name.to_uppercase().replace('-', "_"))
}

// === impl Given ===

impl Given {
    /// Variables stand in for flags that are not there. What was said of others.
    fn add(&mut self, get: impl Fn(&str) -> Option<String>, names: impl Iterator<Item = String>) -> Vec<String> {
        let mut warnings = Vec::new();
        for flag in &flags::FLAGS {
            let name = variable(flag.name);
            let Some(value) = get(&name).filter(|value| !value.is_empty()) else { continue };
            if self.settings.contains_key(flag.name) {
                warnings.push(format!("${name} is set, and --{} wins", flag.name));
            } else {
                self.settings.insert(flag.name, Setting { value, place: format!("${name}") });
            }
        }
        let known =
            |name: &String| name == &variable(FILE) || flags::FLAGS.iter().any(|flag| *name == variable(flag.name));
        let unknown = names.filter(|name| name.starts_with("ETCD_") && !known(name));
        warnings.extend(unknown.map(|name| format!("${name} is no variable of etcd 3.6 and is ignored")));
        warnings
    }
}

#[cfg(test)]
mod tests;
