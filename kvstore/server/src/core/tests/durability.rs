//! A checkpoint and the log behind it are the state: at any point, under load, whatever compaction does meanwhile.

use proptest::prelude::*;

use super::{Machine, load};
use crate::core::raft_log::RaftLog;

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Lease(u8),
    Compact(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        3 => (0..40u8).prop_map(Step::Delete),
        1 => any::<u8>().prop_map(Step::Lease),
        1 => any::<u8>().prop_map(Step::Compact),
    ]
}

fn run(machine: &mut Machine, step: &Step) {
    match step {
        Step::Put(key, value) => {
            let lease = i64::from(*value % 4);
            let lease = if machine.core.state().leases.has(lease) { lease } else { 0 };
            machine.put_leased(&format!("k{key}"), &"v".repeat(usize::from(*value)), lease);
        }
        Step::Delete(key) => {
            machine.delete(&format!("k{key}"));
        }
        Step::Lease(id) => {
            let id = i64::from(id % 4).max(1);
            if !machine.core.state().leases.has(id) {
                machine.grant(id, 1_000);
            }
        }
        Step::Compact(back) => {
            let revision = machine.core.state().store.revision() - i64::from(back % 8);
            if revision > machine.core.state().store.compacted() {
                machine.compact(revision);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// The hash of (checkpoint + log) is that of the state that went on living.
    #[test]
    fn a_checkpoint_and_its_log_are_the_state(
        before in prop::collection::vec(step(), 0..60),
        during in prop::collection::vec(step(), 0..20),
        after in prop::collection::vec(step(), 0..40),
    ) {
        let mut machine = Machine::new();
        before.iter().for_each(|step| run(&mut machine, step));
        let (index, term) = machine.core.begin_checkpoint();
        let mut frames = Vec::new();
        // Writes and compactions go on between the frames.
        let mut during = during.iter();
        loop {
            if let Some(Step::Put(..) | Step::Delete(_) | Step::Lease(_)) = during.as_slice().first() {
                let step = during.next().unwrap();
                run(&mut machine, step);
            } else {
                during.next();
            }
            match machine.core.next_frame() {
                Some(frame) => frames.push(frame),
                None => break,
            }
        }
        after.iter().for_each(|step| run(&mut machine, step));

        let state = load(machine.now, frames);
        prop_assert_eq!((state.applied, state.applied_term), (index, term));
        let behind = machine.log.iter().filter(|entry| entry.index > index).cloned().collect();
        let log = RaftLog::new(vec![1], machine.hard_state.clone(), (index, term), behind);
        let again = Machine::with(state, log, index);
        let (one, other) = (machine.core.state(), again.core.state());
        prop_assert_eq!(one.store.revision(), other.store.revision());
        prop_assert_eq!(one.store.compacted(), other.store.compacted());
        prop_assert_eq!(one.hash(), other.hash());
        prop_assert_eq!(one.leases.rows().collect::<Vec<_>>(), other.leases.rows().collect::<Vec<_>>());
        for (id, _) in one.leases.rows() {
            let keys = |state: &crate::core::state::State| {
                let mut names: Vec<Vec<u8>> = state.leases.keys(id).map(|key| state.store.name(key).to_vec()).collect();
                names.sort();
                names
            };
            prop_assert_eq!(keys(one), keys(other));
        }
    }
}
