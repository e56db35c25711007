//! Numbers that users fix for pods of their choice: 128 to 255, with the same meaning in every cluster that is told so.

use std::{collections::BTreeMap, str::FromStr};

use crate::{Label, Labels, NumericIdentity, keys};

/// Names and their numbers. A pod names one in its label [`keys::FIXED_IDENTITY`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FixedIdentities(BTreeMap<String, NumericIdentity>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFixedIdentity {
    #[error("fixed identity {0:?} is not of the form number=name")]
    Form(String),
    #[error("fixed identity {0:?}: users may fix the numbers 128 to 255")]
    Number(String),
    #[error("fixed identity {0:?}: the number or the name stands twice")]
    Twice(String),
}

// === impl FixedIdentities ===

impl FixedIdentities {
    /// Whose number the labels ask for. A name that is not known asks for none.
    pub fn of(&self, labels: &Labels) -> Option<(NumericIdentity, Labels)> {
        let name = labels.value(None, keys::FIXED_IDENTITY)?;
        let number = *self.0.get(name)?;
        Some((number, labels_of(name)?))
    }

    pub fn iter(&self) -> impl Iterator<Item = (NumericIdentity, Labels)> + '_ {
        self.0.iter().filter_map(|(name, number)| Some((*number, labels_of(name)?)))
    }
}

/// The labels of the identity itself, as Cilium gives them.
fn labels_of(name: &str) -> Option<Labels> {
    let label: Label = format!("{}:{name}", Label::RESERVED).parse().ok()?;
    Some(std::iter::once(label).collect())
}

/// `128=kvstore,129=dns`, as Cilium's `--fixed-identity-mapping`.
impl FromStr for FixedIdentities {
    type Err = InvalidFixedIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidFixedIdentity> {
        let mut fixed: BTreeMap<String, NumericIdentity> = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let form = || InvalidFixedIdentity::Form(pair.to_owned());
            let (number, name) = pair.split_once('=').ok_or_else(form)?;
            let number: u32 = number.trim().parse().map_err(|_| form())?;
            let (number, name) = (NumericIdentity::new(number), name.trim());
            if labels_of(name).is_none() || name.is_empty() {
                return Err(form());
            }
            if !number.is_user_reserved() {
                return Err(InvalidFixedIdentity::Number(pair.to_owned()));
            }
            if fixed.values().any(|taken| *taken == number) || fixed.insert(name.to_owned(), number).is_some() {
                return Err(InvalidFixedIdentity::Twice(pair.to_owned()));
            }
        }
        Ok(Self(fixed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_the_number_that_it_names() {
        let fixed: FixedIdentities = "128=kvstore, 129=dns".parse().unwrap();
        let of = |label: &str| fixed.of(&std::iter::once(label.parse().unwrap()).collect());
        let (number, labels) = of("k8s:io.cilium.fixed-identity=dns").unwrap();
        assert_eq!((number.get(), labels.to_string().as_str()), (129, "reserved:dns"));
        assert_eq!(of("k8s:io.cilium.fixed-identity=other"), None);
        assert_eq!(of("k8s:app=dns"), None);
        assert_eq!(fixed.iter().count(), 2);
    }

    #[test]
    fn numbers_that_are_not_the_users_are_refused() {
        for (text, part) in [
            ("127=a", "128 to 255"),
            ("256=a", "128 to 255"),
            ("128", "number=name"),
            ("x=a", "number=name"),
            ("128=", "number=name"),
            ("128=a,128=b", "stands twice"),
            ("128=a,129=a", "stands twice"),
        ] {
            let error = text.parse::<FixedIdentities>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
