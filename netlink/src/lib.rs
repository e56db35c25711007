//! Synchronous links, addresses, routes, neighbours and namespaces.
