//! A clock that can be scaled exists in the build that tests it, and in no other.

use std::path::Path;
use std::process::{Command, Output};

use testbed::Binaries;

/// What the code says of itself: in every binary that has it.
const MARKER: &str = "this build's clock obeys a file: not for production";

#[test]
fn the_binary_that_users_get_has_no_clock_that_can_be_scaled() {
    let ours = Binaries::beside_us().unwrap().causeway;
    let next = ours.with_file_name("causeway-next");
    assert!(has_marker(&next), "the marker is not in {}: nothing would be proven", next.display());
    assert!(!has_marker(&ours), "{} has it", ours.display());
    for process in ["agent", "operator"] {
        let known = start(&next, process);
        assert!(!String::from_utf8_lossy(&known.stderr).contains("--chaos-clock"), "{known:?}");
        let refused = start(&ours, process);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--chaos-clock"), "{refused:?}");
    }
}

fn has_marker(binary: &Path) -> bool {
    let grep = Command::new("grep").args(["--quiet", "--text", "--fixed-strings", MARKER]).arg(binary).status();
    match grep.expect("grep starts").code() {
        Some(found @ (0 | 1)) => found == 0,
        other => panic!("grep ends with {other:?} on {}", binary.display()),
    }
}

/// With a cluster name that is refused: the flag is looked at before it, and nothing is started.
fn start(binary: &Path, process: &str) -> Output {
    let words = [process, "--chaos-clock=/nonexistent", "--cluster-name=NOT A NAME", "--cluster-id=1"];
    Command::new(binary).args(words).output().expect("the binary starts")
}
