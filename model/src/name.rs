//! Names of nodes, services and endpoints.

use std::{fmt, num::ParseIntError, str::FromStr, sync::Arc};

/// A node's name, unique in its cluster. It is one segment of a key in etcd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// A Service's namespace and name, each one segment of a key in etcd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// An endpoint's number on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EndpointId(pub u16);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} {name:?} is longer than 253 bytes")]
    TooLong { what: &'static str, name: String },
    #[error("{what} {name:?} contains '/', white space or a control character")]
    Character { what: &'static str, name: String },
    #[error("service {0:?} is not of the form namespace/name")]
    NotNamespaced(String),
}

/// Looser than Kubernetes on purpose: nodes without Kubernetes have names too. What it keeps out is
/// what would change the shape of a key.
fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty { what });
    }
    if name.len() > 253 {
        return Err(InvalidName::TooLong { what, name: name.to_owned() });
    }
    if name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        return Err(InvalidName::Character { what, name: name.to_owned() });
    }
    Ok(())
}

// === impl NodeName ===

impl NodeName {
    pub fn try_new(name: &str) -> Result<Self, InvalidName> {
        check("node name", name)?;
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::try_new(name)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// === impl ServiceName ===

impl ServiceName {
    pub fn try_new(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        check("service namespace", namespace)?;
        check("service name", name)?;
        Ok(Self { namespace: namespace.into(), name: name.into() })
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for ServiceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (namespace, name) = text.split_once('/').ok_or_else(|| InvalidName::NotNamespaced(text.to_owned()))?;
        Self::try_new(namespace, name)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.namespace, self.name))
    }
}

// === impl EndpointId ===

impl FromStr for EndpointId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_a_key() {
        for bad in ["", "a/b", "a b", "a\n", &"x".repeat(254)] {
            assert!(NodeName::try_new(bad).is_err(), "{bad:?}");
            assert!(ServiceName::try_new("ns", bad).is_err(), "{bad:?}");
            assert!(ServiceName::try_new(bad, "name").is_err(), "{bad:?}");
        }
        let name: ServiceName = "shop/cart".parse().unwrap();
        assert_eq!((name.namespace(), name.name(), name.to_string().as_str()), ("shop", "cart", "shop/cart"));
        assert!("shop".parse::<ServiceName>().is_err());
        assert!("shop/a/b".parse::<ServiceName>().is_err());
    }
}
