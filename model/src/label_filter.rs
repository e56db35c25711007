//! Which labels of a pod make its identity: Cilium's default filter, and what `--labels` adds to it.
//!
//! Every cluster of a mesh must use the same filter, or equal pods get different identities.

use std::str::FromStr;

use regex::Regex;

use crate::Label;

/// Keys kept although an ignore rule below matches less of them.
const INCLUDE: [&str; 5] = [
    "io.kubernetes.pod.namespace",
    "io.cilium.k8s.namespace.labels",
    "app.kubernetes.io",
    "io.cilium.k8s.policy.cluster",
    "io.cilium.k8s.policy.serviceaccount",
];

/// Keys that start so do not belong to an identity: they differ between pods of one workload.
const IGNORE: [&str; 13] = [
    "io.kubernetes",
    "kubernetes.io",
    "k8s.io",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/controller-uid",
    "pod-template-generation",
    "pod-template-hash",
    "controller-revision-hash",
    "controller-uid",
    "etcd_node",
    "topology.kubernetes.io",
];

/// Ignored wherever it stands in the key; the match counts from the key's start.
const IGNORE_ANYWHERE: &str = "beta.kubernetes.io";

/// Ignored with all that follows.
const IGNORE_WHOLE: &str = "annotation";

/// Cilium's defaults, and rules of the user's.
///
/// A rule is `[source:][!]expression`; the expression matches from the key's start, and `!` leaves out what it matches.
/// Of a label the longest match that keeps it must be longer than the shortest that leaves it out. One rule without `!`
/// turns the rest around: then a label must be kept by a rule.
#[derive(Debug, Clone, Default)]
pub struct LabelFilter {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    source: Option<String>,
    ignores: bool,
    expression: Regex,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label rule {rule:?} is not of the form [source:][!]expression: {why}")]
pub struct InvalidLabelRule {
    rule: String,
    why: String,
}

// === impl LabelFilter ===

impl LabelFilter {
    /// Whether the label takes part in the identity.
    pub fn keeps(&self, label: &Label) -> bool {
        if label.source() == Label::RESERVED {
            return true;
        }
        let key = label.key();
        let included = INCLUDE.iter().filter(|prefix| key.starts_with(**prefix)).map(|prefix| prefix.len());
        let included = included.chain(self.matches(label, false)).max().unwrap_or(0);
        let prefixes = IGNORE.iter().filter(|prefix| key.starts_with(**prefix)).map(|prefix| prefix.len());
        let anywhere = key.rfind(IGNORE_ANYWHERE).map(|at| at + IGNORE_ANYWHERE.len());
        let whole = key.starts_with(IGNORE_WHOLE).then_some(key.len());
        let ignored = prefixes.chain(anywhere).chain(whole).chain(self.matches(label, true)).min().unwrap_or(0);
        let must_be_included = self.rules.iter().any(|rule| !rule.ignores);
        included > ignored || ignored == 0 && !must_be_included
    }

    /// How much of the key each rule of the user's matches.
    fn matches<'a>(&'a self, label: &'a Label, ignores: bool) -> impl Iterator<Item = usize> + 'a {
        let rules = self.rules.iter().filter(move |rule| rule.ignores == ignores);
        let rules = rules.filter(|rule| rule.source.as_ref().is_none_or(|source| source == label.source()));
        rules.filter_map(|rule| rule.expression.find(label.key()).filter(|found| found.start() == 0)).map(|m| m.end())
    }
}

/// Rules with blanks or commas between them, as Cilium's `--labels`.
impl FromStr for LabelFilter {
    type Err = InvalidLabelRule;

    fn from_str(text: &str) -> Result<Self, InvalidLabelRule> {
        let rules = text.split([' ', ',', '\n', '\t']).filter(|rule| !rule.is_empty()).map(Rule::from_str);
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }
}

impl FromStr for Rule {
    type Err = InvalidLabelRule;

    fn from_str(text: &str) -> Result<Self, InvalidLabelRule> {
        let invalid = |why: &str| InvalidLabelRule { rule: text.to_owned(), why: why.to_owned() };
        let (source, rest) = match text.split_once(':') {
            Some((source, rest)) => (Some(source.to_owned()).filter(|source| !source.is_empty()), rest),
            None => (None, text),
        };
        let (ignores, expression) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest));
        if expression.is_empty() {
            return Err(invalid("the expression is missing"));
        }
        let expression = Regex::new(expression).map_err(|error| {
            let error = error.to_string();
            invalid(error.lines().last().unwrap_or_default())
        })?;
        Ok(Self { source, ignores, expression })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, label: &str, relevant: bool) {
        let filter: LabelFilter = rules.parse().unwrap();
        assert_eq!(filter.keeps(&label.parse().unwrap()), relevant, "{rules:?} {label}");
    }

    #[test]
    fn workload_labels_stay_and_per_pod_labels_go() {
        for (label, relevant) in [
            ("k8s:app=cart", true),
            ("k8s:io.kubernetes.pod.namespace=shop", true),
            ("k8s:io.kubernetes.pod.uid=1", false),
            ("k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop", true),
            ("k8s:io.cilium.k8s.namespace.labels.beta.kubernetes.io/x=y", false),
            ("k8s:io.cilium.k8s.policy.cluster=east", true),
            ("k8s:io.cilium.k8s.policy.serviceaccount=default", true),
            ("k8s:app.kubernetes.io/part-of=suite", true),
            ("k8s:kubernetes.io/arch=amd64", false),
            ("k8s:topology.beta.kubernetes.io/zone=z", false),
            ("k8s:k8s.io/x=y", false),
            ("k8s:statefulset.kubernetes.io/pod-name=db-0", false),
            ("k8s:pod-template-hash=7d9", false),
            ("k8s:controller-revision-hash=7d9", false),
            ("k8s:annotation.x=y", false),
            ("k8s:etcd_node=a", false),
            ("reserved:kubernetes.io", true),
        ] {
            check("", label, relevant);
        }
    }

    /// Cilium 1.20 leaves them out; a Job's pods got an identity each, which no stock agent would have given them.
    #[test]
    fn labels_of_jobs_and_places_make_no_identity() {
        for key in ["batch.kubernetes.io/controller-uid", "controller-uid", "topology.kubernetes.io/zone"] {
            check("", &format!("k8s:{key}=7d9"), false);
        }
    }

    #[test]
    fn rules_of_the_user_add_to_the_defaults() {
        check("!app", "k8s:app=a", false);
        check("!app", "k8s:team=a", true);
        check("!app app\\.team", "k8s:app.team=a", true);
        // One rule that keeps: everything else must be kept by one too.
        check("k8s:app", "k8s:app=a", true);
        check("k8s:app", "k8s:team=a", false);
        check("k8s:app", "k8s:io.kubernetes.pod.namespace=a", true);
        check("k8s:app", "k8s:io.cilium.k8s.policy.serviceaccount=a", true);
        check("k8s:app", "container:app=a", false);
        check("k8s:app,!app-x", "k8s:app-x=a", false);
        // A match counts from the key's start only.
        check("!pp", "k8s:app=a", true);
        check("!.*pp", "k8s:app=a", false);
        check("io\\.kubernetes\\.pod\\.u", "k8s:io.kubernetes.pod.uid=1", true);
    }

    #[test]
    fn a_rule_that_says_nothing_is_refused() {
        for (text, part) in [("k8s:", "the expression is missing"), ("!", "is missing"), ("a(", "unclosed group")] {
            let error = text.parse::<LabelFilter>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }
}
