//! Messages of etcd's API, from `proto/`, with byte fields that share the request's buffer; and their description, which
//! reflection gives out.
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names the folder"));
    let files = ["rpc", "v3lock", "v3election", "health"].map(|name| format!("proto/{name}.proto"));
    prost_build::Config::new()
        .bytes(["."])
        .file_descriptor_set_path(out.join("descriptors.bin"))
        .compile_protos(&files, &["proto"])
}
