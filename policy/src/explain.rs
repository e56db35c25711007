//! Why a packet is let through or not, in words, from the rules themselves.
//!
//! It reads the rules anew instead of the rows that [`crate::Core`] made of them, so that the two can be compared. It
//! says nothing of established flows: replies pass by conntrack.

mod advice;
mod matching;

use std::sync::Arc;

use model::{Direction, Labels, NumericIdentity, PortProto, Rule, RuleResource};

use crate::{EnablePolicy, Options};
use matching::{Match, best, matches};

pub use advice::NearMiss;

/// One end of a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Party {
    /// Its identity; [`NumericIdentity::UNKNOWN`] for labels that no identity has yet.
    pub identity: NumericIdentity,
    /// Its labels.
    pub labels: Labels,
}

/// One direction of one endpoint, and a peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The endpoint whose policy is asked.
    pub subject: Party,
    /// Which way the packet goes, seen from it.
    pub direction: Direction,
    /// The other end.
    pub remote: Party,
    /// Protocol and destination port of the packet.
    pub port: PortProto,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Whether the packet passes.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
    /// The rules whose row decides; empty when none does.
    pub decided_by: Vec<RuleResource>,
    /// Further rules that allow it.
    pub also: Vec<RuleResource>,
    /// The rules that make everything else be dropped.
    pub enforced_by: Vec<RuleResource>,
    /// Rules that nearly allow it, when it is denied.
    pub near: Vec<NearMiss>,
    /// What would change the verdict, a sentence each.
    pub advice: Vec<String>,
}

/// Why a packet passes or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The agent runs with `--enable-policy=never`.
    Disabled,
    /// No rule speaks about this direction of the endpoint.
    NotEnforced,
    /// Rules allow, and none of them denies the rest.
    NoDefaultDeny,
    /// The host reaches its own pods (`--allow-localhost`).
    LocalHost,
    /// A rule allows it.
    Rule,
    /// An endpoint without labels is closed until they arrive.
    Init,
    /// The agent runs with `--enable-policy=always`, and no rule allows it.
    Always,
    /// Rules select the endpoint, and none allows it.
    DefaultDeny,
}

/// The verdict on a question, from rules in force.
pub fn explain<'a>(
    question: &Question,
    rules: impl IntoIterator<Item = &'a Arc<Rule>>,
    options: &Options,
) -> Explanation {
    let rules: Vec<&Rule> = rules.into_iter().map(|rule| &**rule).collect();
    let rules: Vec<&Rule> = rules.into_iter().filter(|rule| rule.subject.matches(&question.subject.labels)).collect();
    let mut explanation = verdict(question, &rules, options);
    let without = |gone: &[RuleResource]| {
        let rest: Vec<&Rule> = rules.iter().copied().filter(|rule| !gone.contains(&rule.resource)).collect();
        verdict(question, &rest, options)
    };
    explanation.advice = advice::advice(question, &explanation, without);
    explanation
}

/// The verdict of rules that select the subject; without advice.
fn verdict(question: &Question, rules: &[&Rule], options: &Options) -> Explanation {
    let direction = question.direction;
    let init = question.subject.identity == NumericIdentity::INIT;
    let speaks = |rule: &&&Rule| rule.denies_by_default(direction) || !rule.entries(direction).is_empty();
    let mut enforced_by: Vec<RuleResource> =
        rules.iter().filter(|rule| rule.denies_by_default(direction)).map(|rule| rule.resource.clone()).collect();
    enforced_by.dedup();
    let answer = |allowed, reason| Explanation {
        allowed,
        reason,
        decided_by: Vec::new(),
        also: Vec::new(),
        enforced_by: enforced_by.clone(),
        near: Vec::new(),
        advice: Vec::new(),
    };
    let always = options.enable == EnablePolicy::Always;
    if options.enable == EnablePolicy::Never {
        return answer(true, Reason::Disabled);
    }
    if !always && !init && !rules.iter().any(|rule| speaks(&rule)) {
        return answer(true, Reason::NotEnforced);
    }
    let found: Vec<Match> = rules.iter().flat_map(|rule| matches(question, rule, &options.cluster)).collect();
    if let Some(first) = best(&found) {
        let (deciding, others): (Vec<_>, Vec<_>) = found.iter().partition(|other| other.rank() == first.rank());
        let mut explanation = answer(true, Reason::Rule);
        explanation.decided_by = resources(&deciding);
        explanation.also = resources(&others);
        explanation.also.retain(|resource| !explanation.decided_by.contains(resource));
        return explanation;
    }
    let host = direction == Direction::Ingress && question.remote.identity == NumericIdentity::HOST;
    if host && options.allow_localhost {
        return answer(true, Reason::LocalHost);
    }
    if !always && !init && enforced_by.is_empty() {
        return answer(true, Reason::NoDefaultDeny);
    }
    let reason = match (init, always) {
        _ if !enforced_by.is_empty() => Reason::DefaultDeny,
        (true, _) => Reason::Init,
        (false, _) => Reason::Always,
    };
    let mut explanation = answer(false, reason);
    explanation.near = rules.iter().flat_map(|rule| advice::near(question, rule, &options.cluster)).collect();
    explanation
}

fn resources(matches: &[&Match]) -> Vec<RuleResource> {
    let mut found: Vec<RuleResource> = matches.iter().map(|found| found.rule.clone()).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests;
