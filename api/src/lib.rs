//! The agent's local API: REST types and paths.
