//! Decisions are made by `runtime`'s clock, and in a release it is the machine's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::repo;

/// Crates that decide something by time.
const CRATES: [&str; 14] = [
    "agent",
    "clustermesh",
    "datapath",
    "endpoint",
    "identity-allocator",
    "ipam",
    "ipcache",
    "k8s",
    "kvstore/client",
    "loadbalancer",
    "operator",
    "policy",
    "reflector",
    "statedb",
];

/// Files that only measure how long something took or wait for the machine, or tell a person the time.
const MEASURE: [&str; 12] = [
    "agent/src/arrivals.rs",
    "agent/src/history.rs",
    "agent/src/preflight/directory.rs",
    "agent/src/status/maps.rs",
    "datapath/src/driver.rs",
    "datapath/src/journal.rs",
    "datapath/src/load.rs",
    "kvstore/client/src/client.rs",
    "kvstore/client/src/etcd.rs",
    "kvstore/client/src/fake.rs",
    "operator/src/collector/driver.rs",
    "reflector/src/snapshot.rs",
];

/// Lines that read a clock past the one of `runtime`.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for name in CRATES {
        let folder = root.join(name).join("src");
        if !folder.exists() {
            continue;
        }
        for file in repo::files(&folder)? {
            let relative = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let rust = relative.ends_with(".rs") && !relative.ends_with("tests.rs") && !relative.contains("/tests/");
            if !rust || MEASURE.contains(&relative.as_str()) {
                continue;
            }
            let text = fs::read_to_string(&file).with_context(|| format!("read {relative}"))?;
            // A test has its own clock.
            let code = (1..).zip(text.lines()).take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
            let reads = code.filter(|(_, line)| reads_a_clock(line));
            complaints.extend(reads.map(|(number, _)| {
                format!(
                    "{relative}:{number}: a clock of its own: take runtime::now() or runtime::wall(), or list the file"
                )
            }));
        }
    }
    Ok(complaints)
}

fn reads_a_clock(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    [concat!("Instant::", "now()"), concat!("SystemTime::", "now()")].iter().any(|read| code.contains(read))
}

/// What is wrong with the binary's default features, of which a release is built: its clock could be scaled.
pub(super) fn check_release() -> Result<Option<String>> {
    Ok(obeys_a_file(&[])?
        .then(|| "a release's clock would obey a file: a default feature leads to runtime/chaos".to_owned()))
}

fn obeys_a_file(features: &[&str]) -> Result<bool> {
    let tree = ["tree", "--locked", "--edges", "normal", "--package", "cli", "--prefix", "none", "--format", "{p} {f}"];
    let text = repo::output(repo::cargo().args(tree).args(features))?;
    let line = text.lines().find(|line| line.starts_with("runtime v"));
    let line = line.context("the binary does not depend on runtime")?;
    // Features come last, with commas in between.
    Ok(line.rsplit(' ').next().unwrap_or_default().split(',').any(|feature| feature == "chaos"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_with_a_clock_of_its_own_is_rejected_and_its_tests_are_not() {
        let copy = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = copy.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let reads = concat!("let now = Instant::", "now();\n");
        write("reflector/src/driver.rs", &format!("let at = runtime::now();\n{reads}#[cfg(test)]\n{reads}"));
        write("reflector/src/snapshot.rs", reads);
        write("chaos/src/run.rs", reads);
        let complaints = check(copy.path()).unwrap();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].starts_with("reflector/src/driver.rs:2: a clock of its own"), "{complaints:?}");
    }

    #[test]
    fn only_the_feature_makes_the_clock_obey_a_file() {
        assert!(!obeys_a_file(&[]).unwrap());
        assert!(obeys_a_file(&["--features", "cli/chaos"]).unwrap());
        assert_eq!(check_release().unwrap(), None);
    }
}
