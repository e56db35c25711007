use std::collections::BTreeMap;

use super::*;

/// What comes of these words and variables: our own parser's words, and the warnings.
fn gathered(words: &[&str], environment: &[(&str, &str)]) -> Result<(Vec<String>, Vec<String>), String> {
    let given: Vec<OsString> = ["causeway", "kvstore", "serve"].iter().chain(words).map(Into::into).collect();
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let get = |name: &str| environment.get(name).map(|value| (*value).to_owned());
    let gathered = gather(&given, get, environment.keys().map(|name| (*name).to_owned()))?.unwrap();
    let words = gathered.arguments[3..].iter().map(|word| word.to_str().unwrap().to_owned());
    Ok((words.collect(), gathered.warnings))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let (arguments, warnings) =
        gathered(&["--name", "a", "-max-txn-ops=7"], &[("ETCD_NAME", "b"), ("ETCD_AUTO_TLS", "1"), ("ETCD_NMAE", "x")])
            .unwrap();
    assert_eq!(arguments, words(&["--auto-tls=true", "--max-txn-ops=7", "--name=a"]));
    let expected = ["$ETCD_NAME is set, and --name wins", "$ETCD_NMAE is no variable of etcd 3.6 and is ignored"];
    assert_eq!(warnings, expected);
}

#[test]
fn switches_are_as_go_writes_them() {
    for (word, expected) in [("--auto-tls", "true"), ("--auto-tls=T", "true"), ("-auto-tls=0", "false")] {
        assert_eq!(
            gathered(&[word, "--name=a"], &[]).unwrap().0,
            words(&[&format!("--auto-tls={expected}"), "--name=a"])
        );
    }
    // It is for our own parser to say what it takes instead.
    assert_eq!(gathered(&["--auto-tls=maybe"], &[]).unwrap().0, words(&["--auto-tls=maybe"]));
}

#[test]
fn what_is_not_etcds_is_left_to_our_own_parser() {
    assert_eq!(
        gathered(&["--log-opt", "level=debug", "--nmae=a"], &[]).unwrap().0,
        words(&["--log-opt", "level=debug", "--nmae=a"])
    );
    let other = ["causeway", "kvstore", "get", "--cert-file=x"].map(OsString::from);
    assert_eq!(gather(&other, |_| None, std::iter::empty()), Ok(None));
}

#[test]
fn what_is_refused_is_named_as_it_was_given() {
    let refused = |words: &[&str], environment: &[(&str, &str)]| gathered(words, environment).unwrap_err();
    assert!(refused(&["--wal-dir=/x"], &[]).starts_with("--wal-dir is a flag of etcd"));
    assert!(refused(&[], &[("ETCD_WAL_DIR", "/x")]).starts_with("$ETCD_WAL_DIR is a flag of etcd"));
    assert_eq!(refused(&["--name"], &[]), "--name needs a value");
}

#[test]
fn a_configuration_file_is_taken_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etcd.yml");
    std::fs::write(&path, "name: file\nmax-txn-ops: 9\nclient-transport-security: {auto-tls: true}\n").unwrap();
    let path = path.to_str().unwrap();
    let expected = words(&["--auto-tls=true", "--max-txn-ops=9", "--name=file"]);
    let (arguments, warnings) = gathered(&["--config-file", path, "--name=a"], &[("ETCD_NAME", "b")]).unwrap();
    assert_eq!(arguments, expected);
    assert_eq!(warnings, ["--config-file is given, so --name is ignored"]);
    assert_eq!(gathered(&[], &[("ETCD_CONFIG_FILE", path)]).unwrap().0, expected);
    std::fs::write(path, "wal-dir: /x\n").unwrap();
    let refused = gathered(&[&format!("--config-file={path}")], &[]).unwrap_err();
    assert!(refused.starts_with(&format!("{path}: wal-dir is a flag of etcd")), "{refused}");
    let missing = gathered(&["--config-file=/nowhere"], &[]).unwrap_err();
    assert!(missing.contains("cannot read /nowhere: No such file"), "{missing}");
}

/// etcd's own sample, but for what it asks of profiles and of a proxy that is gone.
#[test]
fn the_sample_of_etcd_is_understood() {
    let sample = include_str!("../../../../../fixtures/etcd.conf.yml.sample");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etcd.yml");
    let file = format!("--config-file={}", path.display());
    std::fs::write(&path, sample).unwrap();
    let refused = gathered(&[&file], &[]).unwrap_err();
    assert!(refused.contains("discovery-fallback is a flag of etcd"), "{refused}");
    let sample = sample.replace("discovery-fallback: 'proxy'", "").replace("enable-pprof: true", "enable-pprof: false");
    std::fs::write(&path, sample).unwrap();
    let (arguments, warnings) = gathered(&[&file], &[]).unwrap();
    assert!(arguments.contains(&"--initial-cluster-token=etcd-cluster".to_owned()), "{arguments:?}");
    assert!(arguments.contains(&"--tls-max-version=TLS1.3".to_owned()), "{arguments:?}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

/// Files of peers' TLS are looked at before they are refused.
#[test]
fn peers_certificates_are_checked_and_then_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        std::fs::set_permissions(path(name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("peer.crt", &cert.pem());
    write("peer.key", &key.serialize_pem());
    write("other.key", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let refused = |cert: &str, key: &str| {
        gathered(&[&format!("--peer-cert-file={}", path(cert)), &format!("--peer-key-file={}", path(key))], &[])
            .unwrap_err()
    };
    assert!(refused("peer.crt", "peer.key").contains("peers need several members, and this store has one"));
    assert!(refused("peer.crt", "other.key").contains("--peer-cert-file: certificate"));
    assert!(refused("none.crt", "peer.key").contains("cannot read"));
    let half = gathered(&["--peer-cert-file=/x"], &[]).unwrap_err();
    assert_eq!(half, "--peer-cert-file is given without --peer-key-file: give both");
}
