//! List-watch with resync, leases, locks, transactions; Backend trait with etcd and an in-memory fake.
