//! Node CIDRs and pod addresses.
