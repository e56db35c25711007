//! From a pod's metadata to its identity labels.

use std::collections::BTreeMap;

use crate::{ClusterName, InvalidLabel, Label, LabelFilter, Labels, keys};

/// What the identity of a pod depends on. All its labels get the source `k8s`.
#[derive(Debug, Clone)]
pub struct PodFacts<'a> {
    pub cluster: &'a ClusterName,
    pub namespace: &'a str,
    pub namespace_labels: &'a BTreeMap<String, String>,
    /// Empty means `default`, as in Kubernetes.
    pub service_account: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub filter: &'a LabelFilter,
}

// === impl PodFacts ===

impl PodFacts<'_> {
    /// The labels of the pod's identity, filtered.
    ///
    /// A pod cannot claim a namespace, a cluster or a service account through labels of its own:
    /// such keys are left out before ours are added.
    ///
    /// # Errors
    /// A label that Kubernetes would not accept and that would break the label string.
    pub fn identity_labels(&self) -> Result<Labels, InvalidLabel> {
        let own = self.labels.iter().filter(|(k, _)| !is_ours(k)).map(|(k, v)| Label::k8s(k, v));
        let namespace =
            self.namespace_labels.iter().map(|(k, v)| Label::k8s(&format!("{}{k}", keys::NAMESPACE_LABELS), v));
        let account = if self.service_account.is_empty() { "default" } else { self.service_account };
        let fixed = [
            Label::k8s(keys::POD_NAMESPACE, self.namespace),
            Label::k8s(keys::NAMESPACE_NAME, self.namespace),
            Label::k8s(keys::POLICY_SERVICE_ACCOUNT, account),
            Label::k8s(keys::POLICY_CLUSTER, self.cluster.as_str()),
        ];
        own.chain(namespace)
            .chain(fixed)
            .filter(|label| label.as_ref().map_or(true, |label| self.filter.keeps(label)))
            .collect()
    }
}

fn is_ours(key: &str) -> bool {
    key == keys::POD_NAMESPACE || key.starts_with(keys::NAMESPACE_LABELS) || key.starts_with(keys::POLICY_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_pod_gets_the_labels_that_cilium_gives_it() {
        let facts = PodFacts {
            cluster: &"west".parse().unwrap(),
            namespace: "shop",
            namespace_labels: &map(&[("team", "a"), ("kubernetes.io/metadata.name", "lies")]),
            service_account: "",
            labels: &map(&[("app", "cart"), ("pod-template-hash", "7d9"), (keys::POLICY_CLUSTER, "east")]),
            filter: &LabelFilter::default(),
        };
        assert_eq!(
            facts.identity_labels().unwrap().to_string(),
            "k8s:app=cart,k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop,\
             k8s:io.cilium.k8s.namespace.labels.team=a,k8s:io.cilium.k8s.policy.cluster=west,\
             k8s:io.cilium.k8s.policy.serviceaccount=default,k8s:io.kubernetes.pod.namespace=shop"
        );
    }

    #[test]
    fn a_label_that_would_split_the_label_string_is_an_error() {
        let facts = PodFacts {
            cluster: &"west".parse().unwrap(),
            namespace: "shop",
            namespace_labels: &map(&[]),
            service_account: "x;y",
            labels: &map(&[]),
            filter: &LabelFilter::default(),
        };
        assert!(facts.identity_labels().is_err());
    }
}
