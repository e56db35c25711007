//! `unsafe` stands in its places only.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::repo;

/// Where `unsafe` may stand: the programs and their layouts, and the two seams to the kernel.
const PLACES: [&str; 3] = ["ebpf/", "datapath/src/sys", "netlink/src/sys"];

/// Lines with `unsafe` elsewhere.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for file in repo::files(root)? {
        let relative = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let rust = relative.ends_with(".rs") && !relative.contains("fixtures/");
        if !rust || PLACES.iter().any(|place| relative.starts_with(place)) {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("read {relative}"))?;
        for (number, line) in (1..).zip(text.lines()) {
            if has_unsafe(line) {
                complaints.push(format!("{relative}:{number}: unsafe outside of {}", PLACES.join(", ")));
            }
        }
    }
    Ok(complaints)
}

/// Whether a line of code opens an unsafe block, function, impl or attribute.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let word = concat!("un", "safe");
    let forms = [" {", " fn", " impl", " extern", " trait"];
    let opens = forms.iter().any(|form| code.contains(&format!("{word}{form}"))) || code.contains(&format!("[{word}("));
    opens && !code.contains('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixture_with_unsafe_in_a_logic_crate_is_rejected_and_the_seam_is_not() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/unsafety");
        let copy = tempfile::tempdir().unwrap();
        for name in ["policy/src/lib.rs", "datapath/src/sys/call.rs"] {
            let target = copy.path().join(name);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(root.join(name), target).unwrap();
        }
        let complaints = check(copy.path()).unwrap();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].starts_with("policy/src/lib.rs:3"), "{complaints:?}");
    }
}
