//! The ports of an address that have names.

use std::{ops::Deref, sync::Arc};

use crate::Protocol;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    pub name: Arc<str>,
    pub port: u16,
    pub proto: Protocol,
}

/// A list that nearly always is empty, and then weighs one pointer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedPorts(Option<Box<Listed>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    ports: Box<[NamedPort]>,
}

// === impl NamedPorts ===

impl From<Vec<NamedPort>> for NamedPorts {
    fn from(ports: Vec<NamedPort>) -> Self {
        Self((!ports.is_empty()).then(|| Box::new(Listed { ports: ports.into() })))
    }
}

impl Deref for NamedPorts {
    type Target = [NamedPort];

    fn deref(&self) -> &[NamedPort] {
        self.0.as_ref().map_or(&[], |listed| &listed.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_back_in_their_order_and_none_weigh_a_pointer() {
        let port = |port| NamedPort { name: "http".into(), port, proto: Protocol::Tcp };
        let ports = vec![port(2), port(1)];
        assert_eq!(*NamedPorts::from(ports.clone()), *ports);
        assert_eq!(NamedPorts::from(Vec::new()), NamedPorts::default());
        assert_eq!(size_of::<NamedPorts>(), 8);
    }
}
