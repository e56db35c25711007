//! The operator process: heartbeat, cluster-config, global services, leader election.
