use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory;

use super::*;

/// What `etcd --help` of 3.6.16 says.
const HELP: &str = include_str!("../../../../../fixtures/etcd-3.6.16-help.txt");

/// Flags of etcd's own help, with their defaults as far as it tells them.
fn of_etcd() -> Vec<(&'static str, &'static str)> {
    let flags = HELP.lines().filter_map(|line| line.strip_prefix("  --"));
    let flags = flags.map(|flag| flag.split_once(' ').unwrap_or((flag, "")));
    flags.map(|(name, default)| (name, default.trim_matches('\''))).collect()
}

fn given(settings: &[(&str, &str)]) -> Settings {
    let one = |(name, value): &(&str, &str)| {
        let flag = find(name).unwrap_or_else(|| panic!("no flag {name}"));
        (flag.name, Setting { value: (*value).to_owned(), place: format!("--{name}") })
    };
    settings.iter().map(one).collect()
}

/// A value that is not the default.
fn other(flag: &Flag) -> &'static str {
    match (flag.name, flag.default) {
        ("feature-gates", _) => "AllAlpha=true",
        (_, "true") => "false",
        (_, "false") => "true",
        _ => "7",
    }
}

#[test]
fn every_flag_of_etcd_has_its_standing() {
    let (theirs, ours) = (of_etcd(), FLAGS.iter().map(|flag| flag.name).collect::<Vec<_>>());
    assert_eq!(ours, theirs.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let differs = |(flag, (_, default)): &(&Flag, (&str, &str))| !default.is_empty() && flag.default != *default;
    let differing: Vec<&str> = FLAGS.iter().zip(theirs).filter(differs).map(|(flag, _)| flag.name).collect();
    assert_eq!(differing, ["data-dir", "max-concurrent-streams"], "their help has no values for these");
}

#[test]
fn what_is_honoured_is_what_our_parser_has() {
    let command = crate::Args::command();
    command.clone().debug_assert();
    let serve = command.find_subcommand("kvstore").and_then(|kvstore| kvstore.find_subcommand("serve"));
    let parser: BTreeSet<&str> = serve.unwrap().get_arguments().filter_map(clap::Arg::get_long).collect();
    let honoured = |flag: &&Flag| matches!(flag.standing, Standing::Honoured(_));
    let table: BTreeSet<&str> = FLAGS.iter().filter(honoured).map(|flag| flag.name).collect();
    let beside: Vec<&&str> = parser.difference(&table).collect();
    let ours = [&"backup-dir", &"backup-interval", &"backup-retention", &"config-file", &"log-opt"];
    assert_eq!(beside, ours, "beside etcd's");
    assert_eq!(table.difference(&parser).count(), 0, "{table:?}");
}

/// Our parser behaves as the table says, for each flag.
#[test]
fn each_flag_does_as_its_standing_says() {
    for flag in &FLAGS {
        let judged = judge(&given(&[(flag.name, other(flag))]));
        let of = match flag.standing {
            Standing::Alias(of) => find(of).unwrap(),
            _ => flag,
        };
        match of.standing {
            Standing::Honoured(_) => assert_eq!(judged.unwrap().honoured.keys().collect::<Vec<_>>(), [&of.name]),
            Standing::Accepted(why) => {
                let judged = judged.unwrap();
                assert!(judged.honoured.is_empty(), "{}", flag.name);
                let warned = judged.warnings.iter().any(|warning| warning.contains(why) && warning.contains(flag.name));
                assert!(warned, "{}: {:?}", flag.name, judged.warnings);
            }
            Standing::Refused(why) => {
                let error = judged.unwrap_err();
                assert!(
                    error.starts_with(&format!("--{} is a flag of etcd", flag.name)) && error.contains(why),
                    "{error}"
                );
            }
            Standing::Alias(_) => panic!("{} stands for an alias", flag.name),
        }
        // etcd's default changes nothing, whatever the standing.
        let default = judge(&given(&[(flag.name, flag.default)])).unwrap();
        let silent = default.warnings.iter().all(|warning| warning.contains("is the old name"));
        assert!(silent, "{}: {:?}", flag.name, default.warnings);
    }
}

#[test]
fn an_old_name_stands_for_the_new_one_and_not_beside_it() {
    let old = "experimental-watch-progress-notify-interval";
    let judged = judge(&given(&[(old, "5s")])).unwrap();
    assert_eq!(judged.honoured.get("watch-progress-notify-interval").map(String::as_str), Some("5s"));
    assert_eq!(judged.warnings, [format!("--{old} is the old name of --watch-progress-notify-interval")]);
    let both = judge(&given(&[(old, "5s"), ("watch-progress-notify-interval", "6s")])).unwrap_err();
    assert!(both.contains("both are given"), "{both}");
}

#[test]
fn feature_gates_are_etcds() {
    let gates = |value: &str| judge(&given(&[("feature-gates", value)])).map(|judged| judged.warnings.len());
    assert_eq!(gates("CompactHashCheck=true,LeaseCheckpoint=false"), Ok(1));
    assert!(
        gates("NoSuchGate=true")
            .unwrap_err()
            .contains("\"NoSuchGate\" is no feature gate of etcd 3.6: there are AllAlpha")
    );
    assert!(gates("LeaseCheckpoint").unwrap_err().contains("LeaseCheckpoint=true or LeaseCheckpoint=false"));
}

/// The document's table is this one: `UPDATE_EXPECT=1` writes it.
#[test]
fn the_document_has_a_row_for_every_flag() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/store.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- flags: written by the test of cli's flags -->\n", "<!-- end of flags -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (table, after) = rest.split_once(end).unwrap();
    let mut expected = "| flag | standing | |\n|---|---|---|\n".to_owned();
    for flag in &FLAGS {
        let (standing, note) = match flag.standing {
            Standing::Honoured(note) => ("honoured", note.to_owned()),
            Standing::Accepted(why) => ("accepted with a warning", why.to_owned()),
            Standing::Refused(why) => ("refused", why.to_owned()),
            Standing::Alias(of) => ("as its new name", format!("`--{of}`")),
        };
        expected.push_str(&format!("| `--{}` | {standing} | {note} |\n", flag.name));
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(table, expected, "run with UPDATE_EXPECT=1");
    }
}
