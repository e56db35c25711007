//! One file a command.

pub(crate) mod bpf;
pub(crate) mod bugtool;
pub(crate) mod chaos;
pub(crate) mod cleanup;
pub(crate) mod clustermesh;
pub(crate) mod completion;
pub(crate) mod endpoint;
pub(crate) mod identity;
pub(crate) mod ip;
pub(crate) mod kvstore;
pub(crate) mod man;
pub(crate) mod map;
pub(crate) mod metrics;
pub(crate) mod monitor;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod service;
pub(crate) mod statedb;
pub(crate) mod status;
pub(crate) mod troubleshoot;
