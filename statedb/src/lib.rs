//! Typed tables, indexes, snapshots, watch, change iterators, disk snapshots; the reconciler engine.
