//! The integration tests of the whole, one binary: see `it/`.
