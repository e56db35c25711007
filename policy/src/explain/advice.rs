//! What would change a verdict.

use model::{Direction, NumericIdentity, Peer, Rule, RuleResource};

use super::matching::{names_peer, port_bits};
use super::{Explanation, Party, Question, Reason};

/// A rule that allows something like it.
#[derive(Debug, Clone, PartialEq)]
pub struct NearMiss {
    /// The rule.
    pub rule: RuleResource,
    /// What is missing, a sentence.
    pub why: String,
}

/// Entries of a rule that fail on one side only: the peer, or the port.
pub(super) fn near(question: &Question, rule: &Rule, own: &str) -> Vec<NearMiss> {
    let mut found = Vec::new();
    for entry in rule.entries(question.direction) {
        let peer = names_peer(entry, &question.remote, own).is_some();
        let port = port_bits(&entry.ports, question.port).is_some();
        let why = match (peer, port) {
            (true, false) => {
                let ports = entry.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                format!("allows this peer on {ports} only, not on {}", question.port)
            }
            (false, true) => {
                let peers = entry.peers.as_deref().unwrap_or_default();
                if peers.is_empty() {
                    continue;
                }
                let peers = peers.iter().map(|peer| lacking(peer, &question.remote)).collect::<Vec<_>>().join("; or ");
                format!("allows this port {} other peers: {peers}", preposition(question.direction))
            }
            _ => continue,
        };
        found.push(NearMiss { rule: rule.resource.clone(), why });
    }
    found
}

/// What a peer of a rule asks for that the party is not.
fn lacking(peer: &Peer, remote: &Party) -> String {
    match peer {
        Peer::Entity(entity) => format!("entity {entity}, which identity {} is not", remote.identity),
        Peer::Cidr(cidr) => format!("{cidr}, which {} is not", labels(remote)),
        Peer::Endpoints(selector) => {
            let unmet = selector.requirements().iter().filter(|requirement| {
                let alone = model::Selector::try_new([(*requirement).clone()]);
                alone.is_ok_and(|alone| !alone.matches(&remote.labels))
            });
            let unmet = unmet.map(|requirement| {
                let has = remote.labels.value(requirement.key.source.as_deref(), &requirement.key.key);
                let has = has.map_or_else(|| "does not have the label".to_owned(), |value| format!("has {value:?}"));
                format!("{requirement}, where this peer {has}")
            });
            unmet.collect::<Vec<_>>().join(" and ")
        }
    }
}

/// Sentences on what would change the verdict; `without` is the verdict when these objects are gone.
pub(super) fn advice(
    question: &Question,
    explanation: &Explanation,
    without: impl Fn(&[RuleResource]) -> Explanation,
) -> Vec<String> {
    let subject = labels(&question.subject);
    match explanation.reason {
        Reason::Disabled => vec!["run the agent without --enable-policy=never, and policy is enforced".to_owned()],
        Reason::NotEnforced | Reason::NoDefaultDeny => {
            vec![format!(
                "a policy with {} rules that selects {subject} would drop what it does not allow",
                question.direction
            )]
        }
        Reason::LocalHost => vec!["with --allow-localhost=policy the host needs a rule like everybody".to_owned()],
        Reason::Init => {
            vec!["its Pod object with its labels is not there yet: when it is, its policy holds".to_owned()]
        }
        Reason::Rule => removal(explanation, without),
        Reason::Always | Reason::DefaultDeny => {
            let mut sentences = vec![addition(question, explanation)];
            if explanation.reason == Reason::DefaultDeny && without(&explanation.enforced_by).allowed {
                let objects = list(&explanation.enforced_by);
                sentences
                    .push(format!("or remove {objects}: nothing else makes it denied, and everything is allowed then"));
            }
            sentences
        }
    }
}

/// What happens when the rules that decide are taken away.
fn removal(explanation: &Explanation, without: impl Fn(&[RuleResource]) -> Explanation) -> Vec<String> {
    let objects = list(&explanation.decided_by);
    let then = without(&explanation.decided_by);
    let sentence = match (then.allowed, then.reason) {
        (false, _) => format!("without {objects} it would be denied by default"),
        (true, Reason::Rule) => format!("without {objects} it would still be allowed, by {}", list(&then.decided_by)),
        (true, _) => format!("without {objects} nothing would be enforced, so it would still be allowed"),
    };
    vec![sentence]
}

fn addition(question: &Question, explanation: &Explanation) -> String {
    let remote = labels(&question.remote);
    let (entry, peers) = match question.direction {
        Direction::Ingress => ("ingress", "fromEndpoints"),
        Direction::Egress => ("egress", "toEndpoints"),
    };
    let place = match explanation.enforced_by.first() {
        Some(object) => format!("add to {object}"),
        None => format!("write a policy that selects {}, with", labels(&question.subject)),
    };
    let peers = match question.remote.identity.reserved() {
        Some(reserved) if question.remote.identity != NumericIdentity::UNKNOWN => format!("entity of {reserved}"),
        _ => format!("{peers} that select {remote}"),
    };
    format!("{place} an {entry} rule: {peers}, port {}", question.port)
}

/// The labels that tell a workload apart; all of them when none does.
fn labels(party: &Party) -> String {
    let derived = |key: &str| key.starts_with("io.");
    let own: Vec<String> = party.labels.iter().filter(|label| !derived(label.key())).map(ToString::to_string).collect();
    if own.is_empty() { party.labels.to_string() } else { own.join(",") }
}

fn preposition(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

fn list(objects: &[RuleResource]) -> String {
    objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
