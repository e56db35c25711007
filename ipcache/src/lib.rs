//! Every source's claim about a prefix, and the one winning row.
