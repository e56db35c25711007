//! Which labels of a pod make its identity: Cilium's default filter.
//!
//! Every cluster of a mesh must use the same filter, or equal pods get different identities; so
//! there is one, and no option for another one yet.

use crate::Label;

/// Keys kept although an ignore rule below matches less of them.
const INCLUDE: [&str; 4] = [
    "io.kubernetes.pod.namespace",
    "io.cilium.k8s.namespace.labels",
    "app.kubernetes.io",
    "io.cilium.k8s.policy.cluster",
];

/// Keys that start so do not belong to an identity: they differ between pods of one workload.
const IGNORE: [&str; 10] = [
    "io.kubernetes",
    "kubernetes.io",
    "k8s.io",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "pod-template-generation",
    "pod-template-hash",
    "controller-revision-hash",
    "etcd_node",
];

/// Ignored wherever it stands in the key; the match counts from the key's start.
const IGNORE_ANYWHERE: &str = "beta.kubernetes.io";

/// Ignored with all that follows.
const IGNORE_WHOLE: &str = "annotation";

/// Whether the label takes part in the identity: the longest matching include must be longer than
/// the shortest matching ignore, unless nothing ignores it.
pub fn identity_relevant(label: &Label) -> bool {
    let key = label.key();
    if label.source() == Label::RESERVED {
        return true;
    }
    let prefixes = IGNORE.iter().filter(|p| key.starts_with(**p)).map(|p| p.len());
    let anywhere = key.rfind(IGNORE_ANYWHERE).map(|at| at + IGNORE_ANYWHERE.len());
    let whole = key.starts_with(IGNORE_WHOLE).then_some(key.len());
    let Some(ignored) = prefixes.chain(anywhere).chain(whole).min() else { return true };
    INCLUDE.iter().filter(|p| key.starts_with(**p)).any(|p| p.len() > ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workload_labels_stay_and_per_pod_labels_go() {
        fn check(label: &str, relevant: bool) {
            assert_eq!(identity_relevant(&label.parse().unwrap()), relevant, "{label}");
        }
        check("k8s:app=cart", true);
        check("k8s:io.kubernetes.pod.namespace=shop", true);
        check("k8s:io.kubernetes.pod.uid=1", false);
        check("k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop", true);
        check("k8s:io.cilium.k8s.namespace.labels.beta.kubernetes.io/x=y", false);
        check("k8s:io.cilium.k8s.policy.cluster=east", true);
        check("k8s:io.cilium.k8s.policy.serviceaccount=default", true);
        check("k8s:app.kubernetes.io/part-of=suite", true);
        check("k8s:kubernetes.io/arch=amd64", false);
        check("k8s:topology.beta.kubernetes.io/zone=z", false);
        check("k8s:k8s.io/x=y", false);
        check("k8s:statefulset.kubernetes.io/pod-name=db-0", false);
        check("k8s:pod-template-hash=7d9", false);
        check("k8s:controller-revision-hash=7d9", false);
        check("k8s:annotation.x=y", false);
        check("k8s:etcd_node=a", false);
        check("reserved:kubernetes.io", true);
    }
}
