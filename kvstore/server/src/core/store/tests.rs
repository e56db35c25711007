//! The store against a model that keeps everything for ever.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Kv, Store};
use crate::core::{failure::Failure, span::Span};

/// A key's value and when it was created; none for a deletion.
type State = Option<(Vec<u8>, i64, i64)>;

/// Every key's states by the revision that made them.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, BTreeMap<i64, State>>);

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8, u8),
    Compact(u8),
    Sweep(u8),
    Read(u8, u8, u8),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..30u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        3 => (0..30u8, 0..6u8).prop_map(|(from, width)| Step::Delete(from, width)),
        1 => any::<u8>().prop_map(Step::Compact),
        2 => (0..9u8).prop_map(Step::Sweep),
        6 => (0..30u8, 0..30u8, any::<u8>()).prop_map(|(from, width, back)| Step::Read(from, width, back)),
        1 => Just(Step::Reload),
    ]
}

fn key(number: u8) -> Vec<u8> {
    format!("key/{number:02}").into_bytes()
}

fn span(from: u8, width: u8) -> Span {
    Span::new(key(from).into(), if width == 0 { Bytes::new() } else { key(from + width).into() })
}

// === impl Model ===

impl Model {
    fn at(&self, key: &[u8], revision: i64) -> State {
        self.0.get(key)?.range(..=revision).next_back()?.1.clone()
    }

    fn read(&self, span: &Span, revision: i64) -> Vec<(Vec<u8>, Vec<u8>, i64, i64)> {
        let inside = self.0.keys().filter(|key| span.contains(key));
        inside
            .filter_map(|key| {
                self.at(key, revision).map(|(value, created, version)| (key.clone(), value, created, version))
            })
            .collect()
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>, revision: i64) {
        let (created, version) =
            self.at(&key, revision).map_or((revision, 1), |(_, created, version)| (created, version + 1));
        self.0.entry(key).or_default().insert(revision, Some((value, created, version)));
    }

    fn delete(&mut self, span: &Span, revision: i64) -> usize {
        let gone: Vec<Vec<u8>> = self.read(span, revision).into_iter().map(|(key, ..)| key).collect();
        for key in &gone {
            self.0.entry(key.clone()).or_default().insert(revision, None);
        }
        gone.len()
    }
}

fn read(store: &Store, span: &Span, revision: i64) -> Vec<(Vec<u8>, Vec<u8>, i64, i64)> {
    let mut found = Vec::new();
    store.each(span, revision, |kv: Kv| {
        found.push((kv.key.to_vec(), kv.value.to_vec(), kv.created, kv.version));
        ControlFlow::Continue(())
    });
    found
}

fn reload(store: &Store) -> Store {
    let mut keys = Vec::new();
    let end = store.dump(&Bytes::from_static(&[0]), store.revision(), |dump| {
        keys.push(dump);
        ControlFlow::Continue(())
    });
    assert_eq!(end, None);
    Store::load(store.revision(), store.compacted(), keys.into_iter(), |_, _| {})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is written, compacted and swept: every revision that may be read reads as it was, counts agree with
    /// reads, and so it is after a reload.
    #[test]
    fn reads_what_the_model_reads(steps in prop::collection::vec(step(), 1..120)) {
        let (mut store, mut model) = (Store::new(), Model::default());
        for step in steps {
            match step {
                Step::Put(number, value) => {
                    store.put(&key(number), &[value; 5], 0, 0);
                    store.commit();
                    model.put(key(number), vec![value; 5], store.revision());
                }
                Step::Delete(from, width) => {
                    let gone = store.delete(&span(from, width), 0).len();
                    if gone > 0 {
                        store.commit();
                    }
                    prop_assert_eq!(model.delete(&span(from, width), store.revision()), gone);
                }
                Step::Compact(back) => {
                    let revision = (store.revision() - i64::from(back % 16)).max(0);
                    let fresh = revision > store.compacted();
                    prop_assert_eq!(store.compact(revision).is_ok(), fresh);
                }
                Step::Sweep(changes) => {
                    store.sweep(usize::from(changes));
                }
                Step::Read(from, width, back) => {
                    let asked = (store.revision() - i64::from(back % 24)).max(1);
                    match store.reads_at(asked, store.revision()) {
                        Ok(revision) => {
                            let span = span(from, width);
                            let found = read(&store, &span, revision);
                            prop_assert_eq!(store.count(&span, revision), found.len() as i64);
                            prop_assert_eq!(found, model.read(&span, revision));
                        }
                        Err(failure) => {
                            prop_assert_eq!(failure, Failure::Compacted);
                            prop_assert!(asked < store.compacted());
                        }
                    }
                }
                Step::Reload => store = reload(&store),
            }
        }
        prop_assert_eq!(store.key_count(), model.read(&Span::new(Bytes::from_static(b"k"), Bytes::from_static(&[0])), store.revision()).len() as u64);
    }
}

/// Compaction frees all that it may: what is accounted after it is what the live keys alone take.
#[test]
fn a_swept_store_accounts_what_its_live_keys_take() {
    let fill = |rounds: u8| {
        let mut store = Store::new();
        for round in 0..rounds {
            for number in 0..20 {
                store.put(&key(number), &[round; 300], 0, 0);
                store.commit();
            }
            store.delete(&span(10, 10), 0);
            store.commit();
        }
        // What was deleted at the compact revision itself stays for watches: one more write lets it go.
        store.put(b"last", b"", 0, 0);
        store.commit();
        store.compact(store.revision()).unwrap();
        assert!(store.sweep(usize::MAX));
        store.size()
    };
    assert_eq!(fill(1), fill(40));
}

#[test]
fn a_large_tree_keeps_order_and_counts() {
    let mut store = Store::new();
    let count = 20_000u32;
    // A prime beside the count visits every number once.
    let names: Vec<Vec<u8>> = (0..count).map(|n| format!("{:08}", n * 7_919 % count).into_bytes()).collect();
    for name in &names {
        store.put(name, b"v", 0, 0);
        store.commit();
    }
    let all = Span::new(Bytes::from_static(b"0"), Bytes::from_static(&[0]));
    assert_eq!(store.count(&all, store.revision()), i64::from(count));
    let found = read(&store, &all, store.revision());
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for name in names.iter().step_by(3) {
        store.delete(&Span::new(name.clone().into(), Bytes::new()), 0);
        store.commit();
    }
    let left = i64::from(count - count.div_ceil(3));
    assert_eq!(store.count(&all, store.revision()), left);
    store.compact(store.revision()).unwrap();
    assert!(store.sweep(usize::MAX));
    assert_eq!(read(&store, &all, store.revision()).len() as i64, left);
    assert_eq!(store.count(&all, store.revision()), left);
}
