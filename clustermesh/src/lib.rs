//! Other clusters' etcd: connection lifecycle, handshake, validation, per-cluster reflectors.
