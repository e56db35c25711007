//! Failures as the specification wants them: a code, a message, details.

use std::io;

use serde_json::json;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("CNI version {version} is not supported; supported are {}", crate::result::SUPPORTED.join(", "))]
    Version { version: String },
    #[error("environment variable {name} {rule}")]
    Environment { name: &'static str, rule: &'static str },
    #[error("{what}")]
    Io { what: &'static str, source: io::Error },
    #[error("the network configuration is not valid JSON of the expected types")]
    Configuration(#[source] serde_json::Error),
    #[error("the network configuration is not usable: {0}")]
    Unusable(String),
    #[error("the agent does not answer at {path}")]
    NoAgent { path: String, source: io::Error },
    #[error("the agent's answer to {request} cannot be read: {rule}")]
    Answer { request: String, rule: String },
    /// The agent says so itself.
    #[error("{message}")]
    Refused { status: u16, message: String },
    #[error("{what}")]
    Network { what: String, source: netlink::Error },
    #[error("{0}")]
    Check(String),
}

impl Error {
    /// The specification's number; from 100 on they are ours.
    fn code(&self) -> u32 {
        match self {
            Self::Version { .. } => 1,
            Self::Environment { .. } => 4,
            Self::Io { .. } => 5,
            Self::Configuration(_) | Self::Answer { .. } => 6,
            Self::Unusable(_) => 7,
            // "Try again later": the agent is restarting, or the store does not answer.
            Self::NoAgent { .. } | Self::Refused { status: 500.., .. } => 11,
            Self::Refused { .. } => 100,
            Self::Network { .. } => 101,
            Self::Check(_) => 102,
        }
    }

    /// The error as the runtime reads it from standard output.
    pub(crate) fn to_json(&self, version: &str) -> String {
        let mut details = Vec::new();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            details.push(cause.to_string());
            source = cause.source();
        }
        let (code, message) = (self.code(), self.to_string());
        json!({"cniVersion": version, "code": code, "msg": message, "details": details.join(": ")}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_the_specification_s_codes() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let text = Error::NoAgent { path: "/x.sock".into(), source: missing }.to_json("1.0.0");
        let expected = r#"{"cniVersion":"1.0.0","code":11,"details":"entity not found","msg":"the agent does not answer at /x.sock"}"#;
        assert_eq!(text, expected);
        let later = Error::Refused { status: 503, message: "no identity".into() };
        assert_eq!(later.code(), 11);
        assert_eq!(Error::Refused { status: 409, message: String::new() }.code(), 100);
    }
}
