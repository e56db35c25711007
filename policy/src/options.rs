//! What an operator decides about enforcement.

use std::str::FromStr;
use std::sync::Arc;

/// `--enable-policy`: when a direction of an endpoint is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EnablePolicy {
    /// When a rule with default deny selects the endpoint.
    #[default]
    Default,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How policy is resolved on this node.
#[derive(Debug, Clone)]
pub struct Options {
    /// When a direction is enforced.
    pub enable: EnablePolicy,
    /// Our own cluster's name: entity `cluster` means it.
    pub cluster: Arc<str>,
    /// Whether the local host always reaches local endpoints, as Cilium's `--allow-localhost=auto` with Kubernetes.
    pub allow_localhost: bool,
}

impl FromStr for EnablePolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Err(format!("--enable-policy {other:?} is none of default, always, never")),
        }
    }
}
