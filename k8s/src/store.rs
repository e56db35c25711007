//! Which objects are in force, given what the files say now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::document;
use crate::{Object, ObjectKey, ParseOptions, parse};

/// The objects in force, by file.
pub struct ObjectStore {
    options: ParseOptions,
    files: BTreeMap<Arc<str>, File>,
}

#[derive(Default)]
struct File {
    objects: BTreeMap<ObjectKey, Object>,
}

/// What a new reading of the directory led to.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Every object in force.
    pub objects: BTreeMap<ObjectKey, Object>,
    /// What was refused, a line for each.
    pub problems: Vec<String>,
}

// === impl ObjectStore ===

impl ObjectStore {
    /// An empty store.
    pub fn new(options: ParseOptions) -> Self {
        Self { options, files: BTreeMap::new() }
    }

    /// Takes a reading of the directory.
    pub fn handle_files(&mut self, files: &BTreeMap<Arc<str>, Result<String, String>>) -> Outcome {
        let mut problems = Vec::new();
        self.files.retain(|name, _| files.contains_key(name));
        for (name, content) in files {
            match content {
                Ok(text) => problems.extend(self.handle_file(name, text)),
                Err(why) => problems.push(format!("{why}; its last valid objects stay in force")),
            }
        }
        let mut objects = BTreeMap::new();
        let mut owner: BTreeMap<ObjectKey, &Arc<str>> = BTreeMap::new();
        for (name, file) in &self.files {
            for (key, object) in &file.objects {
                if let Some(first) = owner.get(key) {
                    problems.push(format!("{name}: {key} is already defined in {first}; this one is not used"));
                    continue;
                }
                owner.insert(key.clone(), name);
                objects.insert(key.clone(), object.clone());
            }
        }
        Outcome { objects, problems }
    }

    /// Takes one file; returns what was refused.
    fn handle_file(&mut self, name: &Arc<str>, text: &str) -> Vec<String> {
        let documents = match document::split(name, text) {
            Ok(documents) => documents,
            Err(why) => return vec![format!("{why}; its last valid objects stay in force")],
        };
        let before = self.files.remove(name).unwrap_or_default();
        let mut file = File::default();
        let mut problems = Vec::new();
        let mut named = BTreeSet::new();
        for document in &documents {
            let (key, result) = parse(document, &self.options);
            if let Some(key) = &key
                && !named.insert(key.clone())
            {
                problems.push(format!("{name}:{}: {key} stands twice in this file; the first is used", document.line));
                continue;
            }
            match (key, result) {
                (Some(key), Ok(object)) => drop(file.objects.insert(key, object)),
                (key, Err(why)) => {
                    let held = key.and_then(|key| Some((key.clone(), before.objects.get(&key)?.clone())));
                    let kept = if held.is_some() { "; the last valid version stays in force" } else { "" };
                    problems.push(format!("{why}{kept}"));
                    file.objects.extend(held);
                }
                (None, Ok(_)) => {}
            }
        }
        self.files.insert(Arc::clone(name), file);
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> ObjectStore {
        ObjectStore::new(ParseOptions {
            cluster: "east".into(),
            default_local_cluster: true,
            families: model::Families { ipv4: true, ipv6: true },
        })
    }

    fn read(store: &mut ObjectStore, files: &[(&str, &str)]) -> (String, Vec<String>) {
        let files = files.iter().map(|(name, text)| ((*name).into(), Ok((*text).to_owned()))).collect();
        let outcome = store.handle_files(&files);
        let names = outcome.objects.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        (names, outcome.problems)
    }

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: cart, namespace: shop}\n";
    const POLICY: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\n";

    #[test]
    fn broken_file_keeps_its_objects_and_a_deleted_one_takes_them_along() {
        let mut store = store();
        assert_eq!(read(&mut store, &[("a.yaml", POD)]), ("Pod shop/cart".into(), vec![]));
        let (names, problems) = read(&mut store, &[("a.yaml", "a: [")]);
        assert_eq!(names, "Pod shop/cart");
        assert!(problems[0].contains("a.yaml") && problems[0].contains("stay in force"), "{problems:?}");
        assert_eq!(read(&mut store, &[]).0, "");
    }

    #[test]
    fn invalid_edit_of_a_policy_keeps_the_old_one_in_force() {
        let mut store = store();
        let good = format!("{POLICY}spec: {{endpointSelector: {{}}, ingress: [{{}}]}}\n");
        let bad = format!("{POLICY}spec: {{endpointSelector: {{}}, ingressDeny: []}}\n---\n{POD}");
        let files = |text: &str| BTreeMap::from([("p.yaml".into(), Ok(text.to_owned()))]);
        let first = store.handle_files(&files(&good));
        let second = store.handle_files(&files(&bad));
        let policies = |outcome: &Outcome| {
            outcome.objects.values().filter(|object| matches!(object, Object::Policy(_))).cloned().collect::<Vec<_>>()
        };
        assert_eq!(policies(&first), policies(&second));
        assert_eq!(second.objects.len(), 2, "the rest of the file is taken");
        assert!(second.problems[0].contains("p.yaml:1: CiliumNetworkPolicy shop/p: spec.ingressDeny"), "{second:?}");
    }

    #[test]
    fn of_two_files_with_one_object_the_first_by_name_wins() {
        let mut store = store();
        let (names, problems) = read(&mut store, &[("b.yaml", POD), ("a.yaml", POD)]);
        assert_eq!(names, "Pod shop/cart");
        assert_eq!(problems, ["b.yaml: Pod shop/cart is already defined in a.yaml; this one is not used"]);
    }

    #[test]
    fn unknown_kind_and_missing_name_are_refused_by_place() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\n";
        let (names, problems) = read(&mut store(), &[("a.yaml", text)]);
        assert_eq!(names, "");
        assert!(problems[0].starts_with("a.yaml:1: v1 Secret is not supported"), "{problems:?}");
        assert!(problems[1].starts_with("a.yaml:5: metadata.name: required"), "{problems:?}");
    }
}
