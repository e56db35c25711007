//! Tests of the disk layer as a whole: every one that takes [`super::SharedFiles`] names what it proves.

mod files;
mod model;
mod wal;
