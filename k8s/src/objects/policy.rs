//! CiliumNetworkPolicy objects: reference/l7-hubble-policy.md sections 1.1 to 1.8, as far as L3 and L4 allows go.

use std::sync::Arc;

use model::{DefaultDeny, Entity, Peer, PortProto, Protocol, Rule, RuleEntry, RuleResource};
use serde_json::Value;

use super::ParseOptions;
use crate::Document;
use crate::strict::{At, Refused};

mod cidr;
mod selector;

/// Cilium's limit of ports in one element.
const MAX_PORTS: usize = 40;

/// Names of the fields that one direction uses.
struct Names {
    list: &'static str,
    endpoints: &'static str,
    entities: &'static str,
    cidrs: &'static str,
    cidr_sets: &'static str,
}

const INGRESS: Names = Names {
    list: "ingress",
    endpoints: "fromEndpoints",
    entities: "fromEntities",
    cidrs: "fromCIDR",
    cidr_sets: "fromCIDRSet",
};
const EGRESS: Names =
    Names { list: "egress", endpoints: "toEndpoints", entities: "toEntities", cidrs: "toCIDR", cidr_sets: "toCIDRSet" };

/// The rules of an object: one for `spec`, one for each of `specs`.
pub(super) fn parse(
    document: &Document,
    namespace: &str,
    name: &str,
    options: &ParseOptions,
) -> Result<Vec<Arc<Rule>>, String> {
    let resource = RuleResource {
        namespace: namespace.into(),
        name: name.into(),
        file: Some(Arc::clone(&document.file)),
        line: Some(document.line),
    };
    rules(&document.value, &resource, options).map_err(|refused| refused.to_string())
}

fn rules(value: &Value, resource: &RuleResource, options: &ParseOptions) -> Result<Vec<Arc<Rule>>, Refused> {
    let root = At { path: String::new(), value };
    let mut fields = root.fields()?;
    for known in ["apiVersion", "kind", "metadata", "status"] {
        fields.take(known);
    }
    let mut specs = Vec::new();
    specs.extend(fields.take("spec"));
    if let Some(list) = fields.take("specs") {
        specs.extend(list.items()?);
    }
    fields.finish()?;
    if specs.is_empty() {
        return Err(Refused { path: "spec".to_owned(), rule: "spec or specs is required".to_owned() });
    }
    specs.iter().map(|spec| rule(spec, resource, options).map(Arc::new)).collect()
}

fn rule(spec: &At<'_>, resource: &RuleResource, options: &ParseOptions) -> Result<Rule, Refused> {
    let mut fields = spec.fields()?;
    fields.take("description");
    let subject = match fields.take("endpointSelector") {
        Some(selector) => selector::subject(&selector, &resource.namespace)?,
        None => return spec.refuse("endpointSelector is required; {} selects every pod of the namespace"),
    };
    let ingress = entries(fields.take(INGRESS.list), &INGRESS, &resource.namespace, options)?;
    let egress = entries(fields.take(EGRESS.list), &EGRESS, &resource.namespace, options)?;
    let mut default_deny = DefaultDeny { ingress: !ingress.is_empty(), egress: !egress.is_empty() };
    if let Some(asked) = fields.take("enableDefaultDeny") {
        let mut asked = asked.fields()?;
        if let Some(ingress) = asked.take("ingress") {
            default_deny.ingress = ingress.boolean()?;
        }
        if let Some(egress) = asked.take("egress") {
            default_deny.egress = egress.boolean()?;
        }
        asked.finish()?;
    }
    fields.finish()?;
    Ok(Rule { resource: resource.clone(), subject, ingress, egress, default_deny })
}

fn entries(
    list: Option<At<'_>>,
    names: &Names,
    namespace: &str,
    options: &ParseOptions,
) -> Result<Vec<RuleEntry>, Refused> {
    let Some(list) = list else { return Ok(Vec::new()) };
    list.items()?.iter().map(|element| entry(element, names, namespace, options)).collect()
}

fn entry(element: &At<'_>, names: &Names, namespace: &str, options: &ParseOptions) -> Result<RuleEntry, Refused> {
    let mut fields = element.fields()?;
    let kinds = [names.endpoints, names.entities, names.cidrs, names.cidr_sets];
    let [endpoints, entities, cidrs, cidr_sets] = kinds.map(|name| fields.take(name));
    let ports = fields.take("toPorts");
    fields.finish()?;
    let given: Vec<&str> = kinds
        .into_iter()
        .zip([&endpoints, &entities, &cidrs, &cidr_sets])
        .filter_map(|(name, at)| at.as_ref().map(|_| name))
        .collect();
    if let [first, second, ..] = given[..] {
        return element.refuse(format!("combining {first} and {second} is not supported"));
    }
    // Ports alone mean any peer; an empty element selects nobody.
    let mut peers = (!given.is_empty() || ports.is_none()).then(Vec::new);
    let endpoint = |at: At<'_>| selector::peer(&at, namespace, options).map(Peer::Endpoints);
    let mut add = |list: Option<At<'_>>, peer: &dyn Fn(At<'_>) -> Result<Peer, Refused>| {
        for item in list.map(|list| list.items()).transpose()?.into_iter().flatten() {
            peers.get_or_insert_default().push(peer(item)?);
        }
        Ok(())
    };
    add(endpoints, &endpoint)?;
    add(entities, &|at| entity(&at))?;
    add(cidrs, &|at| cidr::plain(&at, options))?;
    add(cidr_sets, &|at| cidr::set(&at, options))?;
    let mut numbers = Vec::new();
    for list in ports.map(|ports| ports.items()).transpose()?.into_iter().flatten() {
        numbers.extend(port_list(&list)?);
    }
    Ok(RuleEntry { peers, ports: numbers })
}

fn entity(at: &At<'_>) -> Result<Peer, Refused> {
    let text = at.text()?;
    match Entity::from_text(text) {
        Some(entity) => Ok(Peer::Entity(entity)),
        None => {
            let known = Entity::ALL.map(Entity::as_str).join(", ");
            at.refuse(format!("entity {text:?} is not supported; supported are {known}"))
        }
    }
}

fn port_list(at: &At<'_>) -> Result<Vec<PortProto>, Refused> {
    let mut fields = at.fields()?;
    let Some(ports) = fields.take("ports") else { return at.refuse("ports is required") };
    fields.finish()?;
    let items = ports.items()?;
    if items.len() > MAX_PORTS {
        return ports.refuse(format!("{} ports, more than {MAX_PORTS}: split the element", items.len()));
    }
    items.iter().map(port).collect()
}

fn port(at: &At<'_>) -> Result<PortProto, Refused> {
    let mut fields = at.fields()?;
    let Some(number) = fields.take("port") else { return at.refuse("port is required; \"0\" means every port") };
    let proto = match fields.take("protocol") {
        None => Protocol::Any,
        Some(proto) => match proto.text()?.to_ascii_uppercase().as_str() {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "ANY" => Protocol::Any,
            other => return proto.refuse(format!("protocol {other:?} is not supported; supported are TCP, UDP, ANY")),
        },
    };
    fields.finish()?;
    let text = match number.value {
        Value::Number(number) => number.to_string(),
        _ => number.text()?.to_owned(),
    };
    match text.parse() {
        Ok(port) => Ok(PortProto::new(port, proto)),
        Err(_) => number.refuse(format!("port {text:?} is not a number from 0 to 65535; names are not supported")),
    }
}

#[cfg(test)]
mod tests;
