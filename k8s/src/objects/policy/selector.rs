//! Selectors of a policy, scoped to its namespace and cluster.

use model::{Requirement, Selector, SelectorKey, keys};

use crate::objects::ParseOptions;
use crate::strict::{At, Refused};

/// Whom a policy protects: always pods of its own namespace.
pub(super) fn subject(at: &At<'_>, namespace: &str) -> Result<Selector, Refused> {
    let mut requirements = requirements(at)?;
    // A namespace written in the subject is overridden: a policy never reaches beyond its own.
    requirements.retain(|requirement| &*requirement.key.key != keys::POD_NAMESPACE);
    requirements.push(Requirement::is(SelectorKey::k8s(keys::POD_NAMESPACE), namespace));
    build(at, requirements)
}

/// Whom a policy names as peer: in its own namespace and cluster unless it says otherwise.
pub(super) fn peer(at: &At<'_>, namespace: &str, options: &ParseOptions) -> Result<Selector, Refused> {
    let mut requirements = requirements(at)?;
    let source = |requirement: &Requirement| requirement.key.source.clone();
    let names = |wanted: &dyn Fn(&str) -> bool| requirements.iter().any(|requirement| wanted(&requirement.key.key));
    if requirements.iter().any(|requirement| source(requirement).as_deref() == Some("reserved")) {
        return build(at, requirements);
    }
    let named_namespace = names(&|key| key == keys::POD_NAMESPACE || key.starts_with(keys::NAMESPACE_LABELS));
    let named_cluster = names(&|key| key == keys::POLICY_CLUSTER);
    if !named_namespace {
        requirements.push(Requirement::is(SelectorKey::k8s(keys::POD_NAMESPACE), namespace));
    }
    if options.default_local_cluster && !named_cluster {
        requirements.push(Requirement::is(SelectorKey::k8s(keys::POLICY_CLUSTER), &options.cluster));
    }
    build(at, requirements)
}

fn build(at: &At<'_>, requirements: Vec<Requirement>) -> Result<Selector, Refused> {
    Selector::try_new(requirements).or_else(|error| at.refuse(error.to_string()))
}

fn requirements(at: &At<'_>) -> Result<Vec<Requirement>, Refused> {
    let mut fields = at.fields()?;
    let mut found = Vec::new();
    if let Some(labels) = fields.take("matchLabels") {
        for (key, value) in labels.entries()? {
            found.push(Requirement::is(SelectorKey::parse(key), value.text()?));
        }
    }
    if let Some(expressions) = fields.take("matchExpressions") {
        for expression in expressions.items()? {
            found.push(self::expression(&expression)?);
        }
    }
    fields.finish()?;
    Ok(found)
}

fn expression(at: &At<'_>) -> Result<Requirement, Refused> {
    let mut fields = at.fields()?;
    let Some(key) = fields.take("key") else { return at.refuse("key is required") };
    let Some(operator) = fields.take("operator") else { return at.refuse("operator is required") };
    let listed = fields.take("values");
    fields.finish()?;
    let values = match &listed {
        Some(values) => values.items()?.iter().map(At::text).collect::<Result<Vec<_>, _>>()?,
        None => Vec::new(),
    };
    let key = SelectorKey::parse(key.text()?);
    match (operator.text()?, values.is_empty()) {
        ("In", false) => Ok(Requirement::is_in(key, values)),
        ("NotIn", false) => Ok(Requirement::not_in(key, values)),
        ("Exists", true) => Ok(Requirement::exists(key)),
        ("DoesNotExist", true) => Ok(Requirement::does_not_exist(key)),
        (name @ ("In" | "NotIn"), true) => at.refuse(format!("operator {name} needs values")),
        (name @ ("Exists" | "DoesNotExist"), false) => at.refuse(format!("operator {name} takes no values")),
        (other, _) => operator.refuse(format!("operator {other:?} is none of In, NotIn, Exists, DoesNotExist")),
    }
}
