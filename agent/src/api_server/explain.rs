//! `/policy/explain?src=&dst=&port=`: verdicts in words, and what the kernel's map says beside them.

mod party;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{PolicyTrace, TraceDirection, TraceParty, TraceVerdict};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use model::{Direction, NumericIdentity, PortProto, Protocol, RuleResource};
use policy::explain::{Explanation, Party, Question, Reason, explain};

use self::party::{Found, find};
use super::{Failure, Shared};

/// Backends of a service that are explained: they nearly always share one identity.
const BACKENDS: usize = 8;

pub(super) async fn trace(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Vec<PolicyTrace>>, Failure> {
    let get = |name: &str| {
        let value = query.get(name).map(String::as_str).filter(|value| !value.is_empty());
        value.ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, format!("query parameter {name} is required")))
    };
    let bad = |message: String| Failure::new(StatusCode::BAD_REQUEST, message);
    let port = port(get("port")?).map_err(bad)?;
    let source = find(&shared, get("src")?).map_err(bad)?;
    let destination = find(&shared, get("dst")?).map_err(bad)?;
    let mut kernel = datapath::kernel::Pinned::new(&shared.bpf_root);
    let mut traces = Vec::new();
    for (destination, port, note) in behind_service(&shared, destination, port).map_err(bad)? {
        let egress = direction(&shared, &mut kernel, &source, Direction::Egress, &destination, port);
        let ingress = direction(&shared, &mut kernel, &destination, Direction::Ingress, &source, port);
        let verdict = match (egress.verdict, ingress.verdict) {
            (TraceVerdict::Denied, _) | (_, TraceVerdict::Denied) => TraceVerdict::Denied,
            (TraceVerdict::Elsewhere, _) | (_, TraceVerdict::Elsewhere) => TraceVerdict::Elsewhere,
            _ => TraceVerdict::Allowed,
        };
        let (source, destination) = (show(&source), show(&destination));
        traces.push(PolicyTrace { source, destination, port: port.to_string(), note, verdict, egress, ingress });
    }
    Ok(Json(traces))
}

/// `80`, `80/TCP`, `8/ICMP`; `0/ANY` for every packet.
fn port(text: &str) -> Result<PortProto, String> {
    let (number, proto) = text.split_once('/').unwrap_or((text, "TCP"));
    let bad = || format!("{text:?} is not a port such as 80, 53/UDP or 8/ICMP");
    Ok(PortProto::new(number.parse().map_err(|_| bad())?, proto.parse::<Protocol>().map_err(|_| bad())?))
}

/// The parties behind a service's address; the party itself when it is none.
fn behind_service(
    shared: &Shared,
    party: Found,
    port: PortProto,
) -> Result<Vec<(Found, PortProto, Option<String>)>, String> {
    let frontends = shared.tables.frontends.read.snapshot();
    let at = party.ip.map(|ip| model::L3n4Addr::new(ip, port.port, port.proto));
    let Some(frontend) = at.and_then(|at| frontends.get(&at)) else {
        let service = frontends.iter().find(|row| Some(row.addr.ip) == party.ip);
        return match service {
            Some(row) => Err(format!(
                "{} is the address of service {}, which has no port {port}: such packets are dropped",
                party.name, row.service
            )),
            None => Ok(vec![(party, port, None)]),
        };
    };
    let mut found: Vec<(Found, PortProto, Option<String>)> = Vec::new();
    for backend in &frontend.backends {
        let port = PortProto::new(backend.addr.port, backend.addr.proto);
        let party = find(shared, &backend.addr.ip.to_string())?;
        if found.len() < BACKENDS && !found.iter().any(|(other, at, _)| other.party == party.party && *at == port) {
            let note =
                format!("{} is service {}; policy sees its backend {}", frontend.addr, frontend.service, backend.addr);
            found.push((party, port, Some(note)));
        }
    }
    match found.is_empty() {
        true => {
            Err(format!("service {} at {} has no backends: its packets are dropped", frontend.service, frontend.addr))
        }
        false => Ok(found),
    }
}

fn show(found: &Found) -> TraceParty {
    TraceParty {
        name: found.name.clone(),
        endpoint: found.endpoint.map(|id| id.0),
        identity: found.party.identity.get(),
        labels: found.party.labels.iter().map(ToString::to_string).collect(),
    }
}

/// The verdict of one party's policy on the other.
fn direction(
    shared: &Shared,
    kernel: &mut datapath::kernel::Pinned,
    subject: &Found,
    direction: Direction,
    remote: &Found,
    port: PortProto,
) -> TraceDirection {
    let plain = |verdict, reason: String| TraceDirection {
        verdict,
        reason,
        decided_by: Vec::new(),
        also_allowed_by: Vec::new(),
        enforced_by: Vec::new(),
        near: Vec::new(),
        advice: Vec::new(),
        kernel: None,
    };
    let identity = subject.party.identity;
    let pod = !identity.is_reserved() || identity == NumericIdentity::INIT || !subject.party.labels.is_empty();
    let reserved = identity.reserved().filter(|_| identity != NumericIdentity::INIT && identity.get() != 0);
    if let Some(reserved) = reserved {
        return plain(TraceVerdict::Allowed, format!("{reserved} is no pod: policy does not bind it"));
    }
    if !pod {
        return plain(TraceVerdict::Allowed, "no identity is known for it, and none of its policy".to_owned());
    }
    let own = &shared.policy.cluster;
    if let Some(cluster) = subject.party.labels.cluster().filter(|cluster| *cluster != &**own) {
        let reason =
            format!("cluster {cluster} decides by its own rules: ask `causeway policy explain` on a node there");
        return plain(TraceVerdict::Elsewhere, reason);
    }
    let rules = shared.tables.rules.read.snapshot();
    let rules: Vec<_> = rules.iter().map(|row| Arc::clone(&row.rule)).collect();
    let question = Question { subject: subject.party.clone(), direction, remote: remote.party.clone(), port };
    let explained = explain(&question, &rules, &shared.policy);
    let mut answer = in_words(&question, explained);
    if subject.endpoint.is_some() {
        let verdict = |allowed| if allowed { TraceVerdict::Allowed } else { TraceVerdict::Denied };
        let found = datapath::dump::verdict(kernel, identity.get(), direction, remote.party.identity.get(), port);
        answer.kernel = found.ok().flatten().map(verdict);
        if shared.health.datapath.borrow().overflowed.iter().any(|overflow| overflow.set == identity.get()) {
            answer.verdict = TraceVerdict::Denied;
            answer.reason = "its policy does not fit the kernel's map: the endpoint is locked down".to_owned();
            answer.advice = vec!["fewer rules, or rules that select fewer identities".to_owned()];
        }
    }
    answer
}

fn in_words(question: &Question, explained: Explanation) -> TraceDirection {
    let (direction, port) = (question.direction, question.port);
    let peer = peer(&question.remote);
    let reason = match explained.reason {
        Reason::Disabled => "policy is not enforced: the agent runs with --enable-policy=never".to_owned(),
        Reason::NotEnforced => format!("no rule selects it for {direction}: nothing is enforced"),
        Reason::NoDefaultDeny => format!("the rules that select it for {direction} deny nothing by default"),
        Reason::LocalHost => "the host reaches its own pods (--allow-localhost)".to_owned(),
        Reason::Rule => format!("a rule allows {peer} on {port}"),
        Reason::Init => {
            "its labels are not known yet (identity 5, init): everything is denied until they are".to_owned()
        }
        Reason::Always => format!("default deny (--enable-policy=always): no rule allows {peer} on {port}"),
        Reason::DefaultDeny => format!("default deny: no rule allows {peer} on {port}"),
    };
    let texts = |resources: Vec<RuleResource>| resources.iter().map(ToString::to_string).collect();
    TraceDirection {
        verdict: if explained.allowed { TraceVerdict::Allowed } else { TraceVerdict::Denied },
        reason,
        decided_by: texts(explained.decided_by),
        also_allowed_by: texts(explained.also),
        enforced_by: texts(explained.enforced_by),
        near: explained.near.iter().map(|near| format!("{} {}", near.rule, near.why)).collect(),
        advice: explained.advice,
        kernel: None,
    }
}

fn peer(party: &Party) -> String {
    match (party.identity.reserved(), party.identity.get()) {
        (_, 0) => format!("labels {}", party.labels),
        (Some(reserved), number) => format!("identity {number} ({reserved})"),
        (None, number) => format!("identity {number}"),
    }
}
