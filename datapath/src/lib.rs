//! Desired rows become eBPF maps, links, routes and devices.
