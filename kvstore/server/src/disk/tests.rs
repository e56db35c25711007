//! Tests of the disk layer as a whole: every one that takes [`super::SharedFiles`] names what it proves.

mod checkpoint;
mod data_dir;
mod files;
mod fuzz;
mod model;
mod snapshot;
mod wal;
