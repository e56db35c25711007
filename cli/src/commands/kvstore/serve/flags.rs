//! What becomes of etcd's flags: some are honoured, some have no effect here, some are refused by name. None is ignored.

mod table;

use std::collections::BTreeMap;

pub(super) use table::FLAGS;

/// A flag of etcd's.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    /// etcd's: to give it changes nothing, whatever the flag's standing.
    pub(super) default: &'static str,
    pub(super) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// As in etcd, but for what is noted.
    Honoured(&'static str),
    /// It has no effect here, and a warning says why.
    Accepted(&'static str),
    /// The store does not start, and says why.
    Refused(&'static str),
    /// The old name of another flag.
    Alias(&'static str),
}

/// A value and where it stands: `--name`, `$ETCD_NAME`, or a line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) place: String,
}

pub(super) type Settings = BTreeMap<&'static str, Setting>;

/// Flags that are honoured, with their values; and what the user is to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) honoured: BTreeMap<&'static str, String>,
    pub(super) warnings: Vec<String>,
}

/// etcd's, of 3.6.
const GATES: [&str; 9] = [
    "AllAlpha",
    "AllBeta",
    "CompactHashCheck",
    "InitialCorruptCheck",
    "LeaseCheckpoint",
    "LeaseCheckpointPersist",
    "SetMemberLocalAddr",
    "StopGRPCServiceOnDefrag",
    "TxnModeWriteWithSharedBuffer",
];

pub(super) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// # Errors
/// The first flag that is refused, by the name under which it was given.
pub(super) fn judge(settings: &Settings) -> Result<Judged, String> {
    let mut judged = Judged::default();
    for flag in &FLAGS {
        let Some(setting) = settings.get(flag.name) else { continue };
        let Setting { value, place } = setting;
        let value = if flag.is_switch() { switch(value).unwrap_or(value) } else { value };
        let flag = match flag.standing {
            Standing::Alias(of) if settings.contains_key(of) => {
                return Err(format!("{place} is the old name of --{of}, and both are given: leave {place} out"));
            }
            Standing::Alias(of) => {
                judged.warnings.push(format!("{place} is the old name of --{of}"));
                find(of).unwrap_or(flag)
            }
            _ => flag,
        };
        match flag.standing {
            Standing::Honoured(_) if value.is_empty() => {}
            Standing::Honoured(_) => {
                judged.honoured.insert(flag.name, as_ours(flag.name, value));
            }
            _ if flag.is_default(value) => {}
            Standing::Accepted(_) if flag.name == "feature-gates" => {
                check_gates(value, place)?;
                judged.warnings.push(flag.no_effect(place));
            }
            Standing::Accepted(_) => judged.warnings.push(flag.no_effect(place)),
            Standing::Refused(why) => {
                return Err(format!(
                    "{place} is a flag of etcd that `causeway kvstore serve` does not honour: {why}; leave it out, or run etcd"
                ));
            }
            // No alias stands for another.
            Standing::Alias(_) => {}
        }
    }
    Ok(judged)
}

/// A switch as Go writes it.
pub(super) fn switch(value: &str) -> Option<&'static str> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some("true"),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some("false"),
        _ => None,
    }
}

fn as_ours(name: &str, value: &str) -> String {
    match (name, value) {
        ("log-format", "console") => "text",
        ("log-level", "panic" | "fatal" | "dpanic") => "error",
        _ => value,
    }
    .to_owned()
}

fn check_gates(value: &str, place: &str) -> Result<(), String> {
    for gate in value.split(',').filter(|gate| !gate.is_empty()) {
        let (name, on) = gate.split_once('=').unwrap_or((gate, ""));
        if !GATES.contains(&name) {
            return Err(format!("{place}: {name:?} is no feature gate of etcd 3.6: there are {}", GATES.join(", ")));
        }
        if switch(on).is_none() {
            return Err(format!("{place}: {gate:?} is not of the form {name}=true or {name}=false"));
        }
    }
    Ok(())
}

// === impl Flag ===

impl Flag {
    pub(super) fn is_switch(&self) -> bool {
        ["true", "false"].contains(&self.default)
    }

    fn is_default(&self, value: &str) -> bool {
        value == self.default || value.is_empty() || (self.name == "log-outputs" && value == "stderr")
    }

    fn no_effect(&self, place: &str) -> String {
        let (Standing::Accepted(why) | Standing::Honoured(why) | Standing::Refused(why) | Standing::Alias(why)) =
            self.standing;
        format!("{place} has no effect: {why}")
    }
}

#[cfg(test)]
mod tests;
