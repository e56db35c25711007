use super::*;

fn parse(text: &str) -> Result<EtcdConfig, String> {
    parse_config(Path::new("west"), text).map_err(|error| crate::error::chain(&error))
}

#[test]
fn the_file_of_a_stock_mesh_is_understood() {
    let config = parse(
        "endpoints:\n- https://west.mesh.cilium.io:2379\n- https://10.0.0.1:2379\n\
         trusted-ca-file: /var/lib/cilium/clustermesh/common-etcd-client-ca.crt\n\
         cert-file: /c.crt\nkey-file: /c.key\n",
    );
    let config = config.unwrap();
    assert_eq!(config.endpoints.len(), 2);
    assert!(config.is_tls());
    assert!(!parse("endpoints: [\"http://127.0.0.1:2379\"]").unwrap().is_tls());
    assert!(parse("endpoints: [\"127.0.0.1:2379\"]\nca-file: /ca").unwrap().is_tls());
    assert!(parse("endpoints: [\"http://[fd00::1]:2379\", \"http://etcd:1/\"]").is_ok());
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    fn check(text: &str, part: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    check("endpoints: []", "no endpoints");
    check("endpoints: [\"http://a:1\"]\ntrust-ca-file: x", "trust-ca-file");
    check("endpoints: [\"ftp://a:1\"]", "ftp://a:1");
    check("endpoints: [\"http://a\"]", "http://a");
    check("endpoints: [\"http://a:1\", \"https://b:1\"]\nca-file: /x", "mix");
    check("endpoints: [\"https://a:1\"]", "trusted-ca-file");
    check("endpoints: [\"https://a:1\"]\nca-file: /x\ncert-file: /c", "key-file");
    check("endpoints: [\"http://a:1\"]\nusername: x", "password");
    check("endpoints: [\"https://a:1\"]\ninsecure-skip-tls-verify: true", "insecure-skip-tls-verify");
    check("endpoints: 7", "west:1:12 is no etcd client configuration");
    check("endpoints: [\"http://a:1\"]\nendpoints: [\"http://b:1\"]", "west:2:1");
    check(" ", "is empty");
    check("endpoints: [\"http://fd00::1:2379\"]", "needs brackets");
    check("endpoints: [\"http://[fd00::1]\"]", "port is missing");
    check("endpoints: [\"http://a:0\"]", "1 to 65535");
    check("endpoints: [\"http://:1\"]", "host is missing");
    check("endpoints: [\"http://a:1/x\"]", "nothing but a host");
}

#[test]
fn a_missing_certificate_is_named() {
    let config = parse("endpoints: [\"https://a:1\"]\ntrusted-ca-file: /nowhere/ca.crt").unwrap();
    let error = crate::error::chain(&config.check_certificates(SystemTime::now()).unwrap_err());
    assert!(error.starts_with("cannot read /nowhere/ca.crt: No such file"), "{error}");
}
