//! Where an option's value comes from: flag, then environment, then `--config-dir`, then default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::{ConfigDirError, distance, read_config_dir};

/// Prefixes of environment variables, first one wins. Cilium's own is honoured so that manifests carry over.
const PREFIXES: [&str; 2] = ["CAUSEWAY_", "CILIUM_"];

/// A name this close to an option's is a slip, not another program's option.
const SLIP: usize = 2;

/// The arguments of a process from all of its sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gathered {
    /// In front of those that were given, so that a flag on the command line wins.
    pub arguments: Vec<OsString>,
    /// Files of `--config-dir` that name no option: a ConfigMap that other programs share has many.
    pub unknown: Vec<String>,
    /// Where an option that is not on the command line comes from: a file, or a variable.
    pub origins: BTreeMap<String, String>,
}

/// Why the sources could not be used.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// See there.
    #[error(transparent)]
    ConfigDir(#[from] ConfigDirError),
    /// A name that is no option, and nearly one. To ignore it would be to run without what was asked for.
    #[error("unknown option {name:?} in {place}: did you mean {meant}?")]
    Slip {
        /// As it is written.
        name: String,
        /// The directory, or the environment.
        place: String,
        /// The option.
        meant: String,
    },
}

/// Adds the options of the environment and of `--config-dir` to those `given`. `names` are the environment's.
///
/// # Errors
///
/// When `--config-dir` is given and cannot be read, and when a name is nearly that of an option.
pub fn gather(
    command: &clap::Command,
    given: &[OsString],
    environment: impl Fn(&str) -> Option<String>,
    names: impl Iterator<Item = String>,
) -> Result<Gathered, GatherError> {
    let has = |name: &str| {
        let (flag, with_value) = (format!("--{name}"), format!("--{name}="));
        given.iter().any(|word| *word == *flag || word.to_str().is_some_and(|word| word.starts_with(&with_value)))
    };
    let from_environment = |name: &str| {
        let variable = |prefix: &&str| variable(prefix, name);
        PREFIXES.iter().map(variable).find_map(|name| Some((environment(&name)?, format!("${name}"))))
    };
    let value_of = |name: &str| {
        let flag = format!("--{name}");
        let position = given.iter().position(|word| *word == *flag)?;
        Some(given.get(position + 1)?.to_string_lossy().into_owned())
    };
    let inline = |name: &str| {
        let start = format!("--{name}=");
        given.iter().find_map(|word| Some(word.to_str()?.strip_prefix(&start)?.to_owned()))
    };
    let directory = inline("config-dir").or_else(|| value_of("config-dir"));
    let directory = directory.or_else(|| from_environment("config-dir").map(|(value, _)| value));
    let mut files = match &directory {
        Some(directory) => read_config_dir(Path::new(directory))?,
        None => BTreeMap::new(),
    };
    let place = directory.unwrap_or_default();
    let options: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let mut gathered = Gathered::default();
    for name in &options {
        let file = files.remove(*name).map(|value| (value, format!("{place}/{name}")));
        if has(name) {
            continue;
        }
        if let Some((value, origin)) = from_environment(name).or(file) {
            gathered.arguments.push(format!("--{name}={value}").into());
            gathered.origins.insert((*name).to_owned(), origin);
        }
    }
    for name in files.into_keys() {
        if let Some(meant) = slip(&options, &name) {
            return Err(GatherError::Slip { name, place, meant });
        }
        gathered.unknown.push(name);
    }
    // Only our own prefix: what Cilium's other programs are told is none of our business.
    for name in names {
        let Some(rest) = name.strip_prefix(PREFIXES[0]) else { continue };
        let option = rest.to_lowercase().replace('_', "-");
        if !options.contains(&option.as_str())
            && let Some(meant) = slip(&options, &option)
        {
            return Err(GatherError::Slip {
                name,
                place: "the environment".to_owned(),
                meant: variable(PREFIXES[0], &meant),
            });
        }
    }
    gathered.arguments.extend(given.iter().cloned());
    Ok(gathered)
}

fn variable(prefix: &str, option: &str) -> String {
    format!("{prefix}{}", option.to_uppercase().replace('-', "_"))
}

/// The option that a name was probably meant to be.
fn slip(options: &[&str], name: &str) -> Option<String> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '.'], "-");
    let far = |option: &&&str| distance(option, &plain(name));
    let nearest = options.iter().min_by_key(far)?;
    // Of a short name two letters are most of it.
    let allowed = SLIP.min(nearest.len() / 4);
    (far(&nearest) <= allowed).then(|| (*nearest).to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn flag_beats_environment_beats_file_and_unknown_files_are_named() {
        let folder = std::env::temp_dir().join(format!("causeway-arguments-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, value) in [("one", "file\n"), ("two", "file"), ("three", "file"), ("other", "x"), ("..data", "x")] {
            std::fs::write(folder.join(name), value).unwrap();
        }
        let option = |name: &'static str| Arg::new(name).long(name);
        let command = Command::new("x").args([option("one"), option("two"), option("three"), option("config-dir")]);
        let given = ["--one=flag".into(), "--config-dir".into(), folder.clone().into_os_string()];
        let environment = |name: &str| match name {
            "CILIUM_TWO" => Some("environment".to_owned()),
            "CAUSEWAY_ONE" => Some("environment".to_owned()),
            _ => None,
        };
        let none = std::iter::empty;
        let gathered = gather(&command, &given, environment, none()).unwrap();
        assert_eq!(gathered.arguments[..2], ["--two=environment", "--three=file"]);
        assert_eq!(gathered.arguments[2..], given);
        assert_eq!(gathered.unknown, ["other"]);
        assert_eq!(gathered.origins["two"], "$CILIUM_TWO");
        assert_eq!(gathered.origins["three"], format!("{}/three", folder.display()));
        let names = ["CAUSEWAY_THREEE", "CAUSEWAY_FOLDER", "HOME"].map(str::to_owned);
        let error = gather(&command, &given, environment, names.into_iter()).unwrap_err().to_string();
        assert!(error.ends_with("in the environment: did you mean CAUSEWAY_THREE?"), "{error}");
        for slip in ["thre", "Three", "config_dir"] {
            std::fs::write(folder.join(slip), "x").unwrap();
            let error = gather(&command, &given, environment, none()).unwrap_err().to_string();
            assert!(error.contains(slip) && error.contains("did you mean"), "{error}");
            std::fs::remove_file(folder.join(slip)).unwrap();
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
