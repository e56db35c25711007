//! Namespaces, links, processes, probes and captures on one machine; the demo is its binary.
