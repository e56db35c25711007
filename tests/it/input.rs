//! Bad input to processes and to the CNI plugin: an error that says what, where, which rule and how to fix it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use testbed::Binaries;

fn output(command: &mut Command) -> Result<(bool, String)> {
    let output = command.stdin(Stdio::null()).output().context("start the program")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[track_caller]
fn refused(words: &[&str], expected: &str) {
    let binary = Binaries::beside_us().expect("binaries are built").causeway;
    let (ok, text) = output(Command::new(binary).args(words)).expect("the program starts");
    assert!(!ok && text.contains(expected) && !text.contains("panicked"), "{words:?}: {text}");
}

#[test]
fn options_of_processes_are_checked_before_anything_is_done() {
    let _beside = crate::beside();
    for process in ["agent", "operator"] {
        refused(&[process, "--frob"], "--frob");
        refused(&[process, "--cluster-name", "East!"], "East!");
        refused(&[process, "--cluster-id", "300", "--cluster-name", "east"], "300");
        refused(&[process, "--cluster-id", "1", "--cluster-name", "default"], "default");
        refused(&[process, "--kvstore", "consul"], "consul");
        refused(&[process, "--kvstore-lease-ttl", "1s"], "1s");
        refused(&[process, "--config-dir", "/nowhere"], "/nowhere");
    }
    refused(&["agent", "--underlay-protocol", "ipv6"], "not built yet");
    refused(&["agent", "--enable-policy", "sometimes"], "sometimes");
    refused(&["agent", "--ipv4-range", "10.0.0.0/8/8"], "10.0.0.0/8/8");
    refused(&["agent", "--cluster-id", "1", "--cluster-name", "east"], "--ipv4-range");
    refused(&["kvstore", "--kvstore-opt", "etcd.address=http://127.0.0.1:1", "get", "x"], "127.0.0.1:1");
}

#[test]
fn cni_plugin_answers_with_the_specification_s_errors() {
    let _beside = crate::beside();
    let plugin = Binaries::beside_us().expect("binaries are built").cni;
    let call = |command: &str, conf: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conf");
        std::fs::write(&file, conf).unwrap();
        let mut run = Command::new(&plugin);
        run.env_clear().env("CNI_COMMAND", command).env("CNI_CONTAINERID", "abc").env("CNI_IFNAME", "eth0");
        run.env("CNI_NETNS", "/proc/self/ns/net").env("CNI_ARGS", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b");
        let output = run.stdin(std::fs::File::open(file).unwrap()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let conf = r#"{"cniVersion":"1.0.0","name":"x","type":"causeway-cni","socket-path":"/nowhere/x.sock"}"#;
    let (ok, text) = call("ADD", conf);
    let error: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!ok && error["code"] == 11 && error["msg"].as_str().unwrap().contains("/nowhere/x.sock"), "{text}");
    let (ok, text) = call("STATUS", conf);
    assert!(!ok && text.contains("\"code\":11"), "{text}");
    let (ok, text) = call("VERSION", r#"{"cniVersion":"1.0.0"}"#);
    assert!(ok && text.contains("1.1.0"), "{text}");
    let (ok, text) = call("ADD", r#"{"cniVersion":"7.0.0"}"#);
    assert!(!ok && text.contains("\"code\":1,"), "{text}");
}
