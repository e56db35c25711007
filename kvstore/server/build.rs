//! Messages of etcd's API, from `proto/`, with byte fields that share the request's buffer.
fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    prost_build::Config::new().bytes(["."]).compile_protos(&["proto/rpc.proto"], &["proto"])
}
