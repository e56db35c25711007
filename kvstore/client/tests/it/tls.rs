//! TLS with client certificates, as every mesh has it.

use std::{path::Path, process::Command, time::Duration};

use kvstore::{Backend, Etcd, load_config};

use crate::server::{Server, available};

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(directory).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, a server certificate for 127.0.0.1 and a client's.
fn certificates(directory: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(directory, &format!("req -x509 {key} -subj /CN=ca -keyout ca.key -out ca.crt"));
    std::fs::write(directory.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(directory.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for name in ["server", "client"] {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(directory, &format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        let sign = "-CA ca.crt -CAkey ca.key -CAcreateserial -days 2";
        openssl(directory, &format!("x509 -req -in {name}.csr {sign} -extfile {name}.ext -out {name}.crt"));
    }
}

#[tokio::test]
async fn client_certificates_open_a_tls_store_and_others_do_not() {
    let name = "client_certificates_open_a_tls_store_and_others_do_not";
    if !available(name) {
        return;
    }
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIP {name}: no openssl in PATH");
        assert!(std::env::var_os("CI").is_none(), "openssl is missing, and in CI nothing may be skipped");
        return;
    }
    let mut server = Server::tls(|directory| {
        certificates(directory);
        let path = |file: &str| directory.join(file).to_string_lossy().into_owned();
        let flags = [("cert-file", "server.crt"), ("key-file", "server.key"), ("trusted-ca-file", "ca.crt")];
        let flags = flags.iter().map(|(flag, file)| format!("--{flag}={}", path(file)));
        flags.chain(["--client-cert-auth=true".to_owned()]).collect()
    });
    server.run().await;
    let write = |file: &str, identity: bool| {
        let d = server.directory().display();
        let mut text = format!("endpoints:\n- {}\ntrusted-ca-file: {d}/ca.crt\n", server.endpoint());
        if identity {
            text.push_str(&format!("cert-file: {d}/client.crt\nkey-file: {d}/client.key\n"));
        }
        let path = server.directory().join(file);
        std::fs::write(&path, text).unwrap();
        load_config(&path).unwrap()
    };
    let store = Etcd::connect(&write("good", true), true).unwrap();
    let answer = async {
        while store.put("a".into(), "1".into(), None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answer).await.expect("no answer over TLS");
    let anonymous = Etcd::connect(&write("anonymous", false), true).unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(2), anonymous.status()).await;
    assert!(!matches!(refused, Ok(Ok(_))), "a client without certificate was let in");
}
