//! Cilium's bytes in etcd: every key path and value codec, both directions.
