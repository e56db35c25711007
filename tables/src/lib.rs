//! The tables that two crates share, one file each.
