//! A choice of identities by their labels.

use std::{fmt, sync::Arc};

use crate::{Label, Labels};

/// All requirements must hold; none at all matches everything. Canonical: requirements and values
/// are sorted and unique, so equal choices compare, hash and print equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Selector(Arc<[Requirement]>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    pub key: SelectorKey,
    pub operator: Operator,
}

/// A label key with the source that it must come from; `None` (`any`) takes every source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorKey {
    pub key: Arc<str>,
    pub source: Option<Arc<str>>,
}

/// Values are sorted, unique and never empty. `NotIn` holds where the key is absent too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    In(Arc<[Arc<str>]>),
    NotIn(Arc<[Arc<str>]>),
    Exists,
    DoesNotExist,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    #[error("selector key is empty")]
    EmptyKey,
    #[error("{operator} on {key} needs at least one value")]
    NoValues { operator: &'static str, key: SelectorKey },
}

// === impl Selector ===

impl Selector {
    /// Matches every identity.
    pub fn all() -> Self {
        Self::default()
    }

    pub fn try_new(requirements: impl IntoIterator<Item = Requirement>) -> Result<Self, InvalidSelector> {
        let mut all: Vec<Requirement> = requirements.into_iter().collect();
        for requirement in &all {
            requirement.check()?;
        }
        all.sort();
        all.dedup();
        Ok(Self(all.into()))
    }

    /// This choice narrowed by further requirements.
    pub fn and(&self, requirements: impl IntoIterator<Item = Requirement>) -> Result<Self, InvalidSelector> {
        Self::try_new(self.0.iter().cloned().chain(requirements))
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|r| r.matches(labels))
    }

    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Keys that a matching identity must have, each with the values one of which it must carry:
    /// an index finds all candidates under any one of these. Empty: everything is a candidate.
    pub fn required(&self) -> impl Iterator<Item = (&SelectorKey, &[Arc<str>])> {
        self.0.iter().filter_map(|r| match &r.operator {
            Operator::In(values) => Some((&r.key, &**values)),
            _ => None,
        })
    }

    /// Whether a requirement names this key, from this source or from any.
    pub fn names(&self, source: &str, key: &str) -> bool {
        self.0.iter().any(|r| &*r.key.key == key && r.key.source.as_deref().is_none_or(|s| s == source))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.pad("*");
        }
        let parts: Vec<String> = self.0.iter().map(Requirement::to_string).collect();
        f.pad(&parts.join(","))
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Requirement ===

impl Requirement {
    pub fn is(key: SelectorKey, value: &str) -> Self {
        Self::is_in(key, [value])
    }

    pub fn is_in<'a>(key: SelectorKey, values: impl IntoIterator<Item = &'a str>) -> Self {
        Self { key, operator: Operator::In(sorted(values)) }
    }

    pub fn not_in<'a>(key: SelectorKey, values: impl IntoIterator<Item = &'a str>) -> Self {
        Self { key, operator: Operator::NotIn(sorted(values)) }
    }

    pub fn exists(key: SelectorKey) -> Self {
        Self { key, operator: Operator::Exists }
    }

    pub fn does_not_exist(key: SelectorKey) -> Self {
        Self { key, operator: Operator::DoesNotExist }
    }

    fn check(&self) -> Result<(), InvalidSelector> {
        if self.key.key.is_empty() {
            return Err(InvalidSelector::EmptyKey);
        }
        let operator = match &self.operator {
            Operator::In(values) if values.is_empty() => "In",
            Operator::NotIn(values) if values.is_empty() => "NotIn",
            _ => return Ok(()),
        };
        Err(InvalidSelector::NoValues { operator, key: self.key.clone() })
    }

    fn matches(&self, labels: &Labels) -> bool {
        let found = labels.value(self.key.source.as_deref(), &self.key.key);
        let among = |values: &[Arc<str>]| found.is_some_and(|v| values.binary_search_by(|x| (**x).cmp(v)).is_ok());
        match &self.operator {
            Operator::In(values) => among(values),
            Operator::NotIn(values) => !among(values),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
        }
    }
}

fn sorted<'a>(values: impl IntoIterator<Item = &'a str>) -> Arc<[Arc<str>]> {
    let mut values: Vec<Arc<str>> = values.into_iter().map(Arc::from).collect();
    values.sort();
    values.dedup();
    values.into()
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{}={}", self.key, values[0]),
            Operator::In(values) => write!(f, "{} in ({})", self.key, values.join(",")),
            Operator::NotIn(values) => write!(f, "{} notin ({})", self.key, values.join(",")),
            Operator::Exists => write!(f, "{}", self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
        }
    }
}

// === impl SelectorKey ===

impl SelectorKey {
    /// `any` is the same as no source.
    pub fn new(source: &str, key: &str) -> Self {
        let source = (!matches!(source, "" | Label::ANY)).then(|| source.into());
        Self { key: key.into(), source }
    }

    pub fn k8s(key: &str) -> Self {
        Self::new(Label::K8S, key)
    }

    pub fn any(key: &str) -> Self {
        Self::new(Label::ANY, key)
    }

    /// As policies write it: `k8s:app`, or `app` for any source.
    pub fn parse(text: &str) -> Self {
        let (source, key) = text.split_once(':').unwrap_or((Label::ANY, text));
        Self::new(source, key)
    }
}

impl fmt::Display for SelectorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source.as_deref().unwrap_or(Label::ANY), self.key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> Labels {
        text.split(',').map(|l| l.parse().unwrap()).collect()
    }

    #[test]
    fn operators_match_as_in_kubernetes() {
        let set = labels("k8s:app=cart,k8s:tier=web,reserved:host=");
        fn key(text: &str) -> SelectorKey {
            SelectorKey::parse(text)
        }
        let check = |requirement: Requirement, matches: bool| {
            let printed = requirement.to_string();
            assert_eq!(Selector::try_new([requirement]).unwrap().matches(&set), matches, "{printed}");
        };
        check(Requirement::is(key("app"), "cart"), true);
        check(Requirement::is(key("k8s:app"), "cart"), true);
        check(Requirement::is(key("any:app"), "cart"), true);
        check(Requirement::is(key("reserved:app"), "cart"), false);
        check(Requirement::is_in(key("tier"), ["db", "web"]), true);
        check(Requirement::is_in(key("tier"), ["db"]), false);
        check(Requirement::not_in(key("tier"), ["db"]), true);
        check(Requirement::not_in(key("tier"), ["web"]), false);
        check(Requirement::not_in(key("absent"), ["x"]), true);
        check(Requirement::exists(key("reserved:host")), true);
        check(Requirement::exists(key("k8s:host")), false);
        check(Requirement::does_not_exist(key("k8s:host")), true);
        check(Requirement::does_not_exist(key("app")), false);
        assert!(Selector::all().matches(&set));
    }

    #[test]
    fn equal_choices_are_one_value() {
        let a = Requirement::is(SelectorKey::k8s("a"), "1");
        let b = Requirement::is_in(SelectorKey::any("b"), ["2", "1", "2"]);
        let one = Selector::try_new([a.clone(), b.clone(), a.clone()]).unwrap();
        let two = Selector::try_new([b, a]).unwrap();
        assert_eq!(one, two);
        assert_eq!(one.to_string(), "k8s:a=1,any:b in (1,2)");
        let keys: Vec<_> = one.required().map(|(key, values)| (key.to_string(), values.len())).collect();
        assert_eq!(keys, [("k8s:a".to_owned(), 1), ("any:b".to_owned(), 2)]);
    }

    #[test]
    fn a_requirement_without_values_is_refused() {
        assert!(Selector::try_new([Requirement::is_in(SelectorKey::any("a"), [])]).is_err());
        assert!(Selector::try_new([Requirement::exists(SelectorKey::any(""))]).is_err());
    }

    proptest! {
        #[test]
        fn what_matches_is_found_under_every_required_pair(
            pairs in proptest::collection::vec(("[ab]", "[xy]"), 0..3),
            wanted in proptest::collection::vec(("[ab]", proptest::collection::vec("[xy]", 1..3)), 0..3),
        ) {
            let set: Labels = pairs.iter().map(|(k, v)| Label::k8s(k, v).unwrap()).collect();
            let selector = Selector::try_new(wanted.iter().map(|(k, values)| {
                Requirement::is_in(SelectorKey::k8s(k), values.iter().map(String::as_str))
            })).unwrap();
            let candidate = selector.required().all(|(key, values)| {
                values.iter().any(|v| set.value(key.source.as_deref(), &key.key) == Some(v))
            });
            prop_assert_eq!(selector.matches(&set), candidate);
        }
    }
}
