//! Messages of etcd's API, generated from `proto/`.
#![expect(clippy::all, reason = "generated code")]
#![expect(missing_docs, reason = "etcd's API is documented at etcd.io")]

pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}
