//! The agent process: composition only.
