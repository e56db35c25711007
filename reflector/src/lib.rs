//! An etcd prefix becomes a table, a table becomes an etcd prefix.
