//! Table `policy-rules`: the policy objects in force.
//!
//! Written by `k8s`; read by `policy` and the API.

use std::sync::Arc;

use model::Rule;
use statedb::Row;

/// One rule of a policy object. An object's rules are replaced together.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRule {
    /// The rule; it knows its object.
    pub rule: Arc<Rule>,
    /// Its position in the object.
    pub index: usize,
}

impl Row for PolicyRule {
    /// Namespace, name, position.
    type Key = (Arc<str>, Arc<str>, usize);
    const TABLE: &'static str = "policy-rules";
    const COLUMNS: &'static [&'static str] = &["POLICY", "RULE", "SUBJECT", "INGRESS", "EGRESS"];

    fn key(&self) -> Self::Key {
        let resource = &self.rule.resource;
        (Arc::clone(&resource.namespace), Arc::clone(&resource.name), self.index)
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.rule.resource.to_string(),
            self.index.to_string(),
            self.rule.subject.to_string(),
            self.rule.ingress.len().to_string(),
            self.rule.egress.len().to_string(),
        ]
    }
}
