//! `/livez` and `/readyz` with their checks, each of which has a page of its own, as etcd's have.

use http::StatusCode;

use super::{Served, pages::serves};

/// A check's name, and whether being alive, or being ready, needs it.
const CHECKS: [(&str, bool, bool); 4] = [
    ("serializable_read", true, true),
    ("linearizable_read", false, true),
    // One member is a voter.
    ("non_learner", false, true),
    // What is damaged is not started; somebody may find it so later.
    ("data_corruption", false, true),
];

/// The code and text of a probe's page; `None` if there is no such page.
pub(super) async fn answer(served: &Served, path: &str, query: &str) -> Option<(StatusCode, String)> {
    let (probe, one) = match path[1..].split_once('/') {
        Some((probe, check)) => (probe, Some(check)),
        None => (&path[1..], None),
    };
    let asked = |(name, alive, ready): &(&str, bool, bool)| {
        (if probe == "livez" { *alive } else { *ready }) && one.is_none_or(|one| one == *name)
    };
    let wanted: Vec<_> = CHECKS.iter().filter(|check| asked(check)).map(|(name, ..)| *name).collect();
    if wanted.is_empty() {
        return None;
    }
    let excluded = |name: &str| one.is_none() && query.split('&').any(|part| part == format!("exclude={name}"));
    let (mut code, mut reasons) = (StatusCode::OK, String::new());
    for name in wanted.into_iter().filter(|name| !excluded(name)) {
        // Alive means that this answer came: losing the disk or the leader does not make a restart useful.
        let checked = match name {
            "linearizable_read" => serves(served).await,
            "data_corruption" if served.shared.is_corrupt() => Err("alarm activated: CORRUPT".to_owned()),
            _ => Ok(()),
        };
        match checked {
            Ok(()) => reasons.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => {
                reasons.push_str(&format!("[-]{name} failed: {reason}\n"));
                code = StatusCode::SERVICE_UNAVAILABLE;
            }
        }
    }
    let verbose = query.split('&').any(|part| part == "verbose" || part.starts_with("verbose="));
    let text = match (code, verbose) {
        (StatusCode::OK, false) => "ok\n".to_owned(),
        (StatusCode::OK, true) => reasons + "ok\n",
        _ => reasons,
    };
    Some((code, text))
}
