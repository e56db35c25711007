//! The `causeway` binary: every process and every user command.
fn main() {}
