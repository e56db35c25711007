//! Why a value from etcd was refused.

use std::fmt::Write as _;

use model::{InvalidCluster, InvalidLabel, InvalidName, InvalidPrefix};

/// Names the key, the field and the rule that does not hold. The whole value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {}{broken}", if .field.is_empty() { String::new() } else { format!("{}: ", .field) })]
pub struct DecodeError {
    pub key: String,
    /// As a path, `NamedPorts[0].Port`; empty if the value as a whole is meant.
    pub field: String,
    pub broken: Broken,
}

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("not JSON: {what} at byte {at}")]
    Syntax { what: &'static str, at: usize },
    #[error("expected {0}")]
    Type(&'static str),
    #[error("number does not fit in {0}")]
    Number(&'static str),
    #[error("nested deeper than {0} levels")]
    Depth(usize),
    #[error("value of {size} bytes is larger than {limit}")]
    Size { size: usize, limit: usize },
    #[error("required")]
    Required,
    #[error("{0:?} is not an IP address")]
    Ip(String),
    #[error("{0} is needed here")]
    Family(&'static str),
    #[error("{0:?} is not the mask of a prefix")]
    Mask(String),
    #[error("says {value:?}, but the key says {key:?}")]
    KeyMismatch { value: String, key: String },
    #[error("{0:?} is not allowed here")]
    Word(String),
    #[error("{0:?} is none of TCP, UDP, SCTP, ICMP, ICMPv6, ANY")]
    Protocol(String),
    #[error("{count} are more than {limit}")]
    TooMany { count: usize, limit: usize },
    #[error("{0:?} is not a time")]
    Time(String),
    #[error(transparent)]
    Cluster(#[from] InvalidCluster),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Prefix(#[from] InvalidPrefix),
    #[error(transparent)]
    Label(#[from] InvalidLabel),
    #[error("not UTF-8")]
    Utf8,
    #[error("{0:?} is not an identity")]
    Identity(String),
    #[error("compressed data is damaged: {0}")]
    Compressed(String),
    #[error("not a protobuf message: {0}")]
    Protobuf(String),
}

/// An error on its way up: the path grows at the front.
#[derive(Debug)]
pub(crate) struct Fault {
    path: Vec<Step>,
    broken: Broken,
}

#[derive(Debug)]
enum Step {
    Field(String),
    Index(usize),
}

pub(crate) type Read<T> = Result<T, Fault>;

// === impl Fault ===

impl Fault {
    pub(crate) fn new(broken: impl Into<Broken>) -> Self {
        Self { path: Vec::new(), broken: broken.into() }
    }

    pub(crate) fn at(field: &str, broken: impl Into<Broken>) -> Self {
        Self::new(broken).inside(field)
    }

    pub(crate) fn inside(mut self, field: &str) -> Self {
        self.path.push(Step::Field(field.to_owned()));
        self
    }

    pub(crate) fn element(mut self, index: usize) -> Self {
        self.path.push(Step::Index(index));
        self
    }

    pub(crate) fn of(self, key: &str) -> DecodeError {
        let mut field = String::new();
        for step in self.path.iter().rev() {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Field(name) if field.is_empty() => write!(field, "{name}"),
                Step::Field(name) => write!(field, ".{name}"),
                Step::Index(i) => write!(field, "[{i}]"),
            };
        }
        DecodeError { key: key.to_owned(), field, broken: self.broken }
    }
}
