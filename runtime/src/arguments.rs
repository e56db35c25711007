//! Where an option's value comes from: flag, then environment, then `--config-dir`, then default.

use std::ffi::OsString;
use std::path::Path;

use crate::{ConfigDirError, read_config_dir};

/// Prefixes of environment variables, first one wins. Cilium's own is honoured so that manifests carry over.
const PREFIXES: [&str; 2] = ["CAUSEWAY_", "CILIUM_"];

/// The arguments with those of the environment and of `--config-dir` added in front, where a flag on the command line
/// still wins. Files of the directory that name no option are returned apart: a shared ConfigMap has many.
///
/// # Errors
///
/// When `--config-dir` is given and cannot be read.
pub fn gather(
    command: &clap::Command,
    given: &[OsString],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(Vec<OsString>, Vec<String>), ConfigDirError> {
    let has = |name: &str| {
        let (flag, with_value) = (format!("--{name}"), format!("--{name}="));
        given.iter().any(|word| *word == *flag || word.to_str().is_some_and(|word| word.starts_with(&with_value)))
    };
    let from_environment = |name: &str| {
        let upper = name.to_uppercase().replace('-', "_");
        PREFIXES.iter().find_map(|prefix| environment(&format!("{prefix}{upper}")))
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
    let directory = inline("config-dir").or_else(|| value_of("config-dir")).or_else(|| from_environment("config-dir"));
    let mut files = match directory {
        Some(directory) => read_config_dir(Path::new(&directory))?,
        None => Default::default(),
    };
    let mut gathered = Vec::new();
    for option in command.get_arguments() {
        let Some(name) = option.get_long() else { continue };
        let file = files.remove(name);
        if has(name) {
            continue;
        }
        if let Some(value) = from_environment(name).or(file) {
            gathered.push(format!("--{name}={value}").into());
        }
    }
    gathered.extend(given.iter().cloned());
    Ok((gathered, files.into_keys().collect()))
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
        let (gathered, unknown) = gather(&command, &given, environment).unwrap();
        assert_eq!(gathered[..2], ["--two=environment", "--three=file"]);
        assert_eq!(gathered[2..], given);
        assert_eq!(unknown, ["other"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
