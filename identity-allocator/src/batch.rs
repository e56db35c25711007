//! Attempts that go to the store together: a store syncs its log and wakes its watchers once for all of them.

use std::collections::{BTreeSet, VecDeque};

use kvstore::{Op, OpResult, Txn, TxnResult};
use wire::identity;

use crate::{Attempt, Outcome, txn};

/// etcd takes 128 operations, and takes those of a transaction from what is left to the transactions in it.
const MOST: usize = 64;

/// Of labels. A transaction names those of an attempt a dozen times, and etcd takes 1.5 MiB.
const MOST_BYTES: usize = 64 << 10;

/// The attempts that go next, in order and without those that would write the same keys: of each number and label set
/// there is one.
pub(crate) fn next(due: &mut VecDeque<Attempt>) -> Vec<Attempt> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let (mut labels, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    while let Some(attempt) = due.front() {
        bytes += identity::encode(&attempt.labels).len();
        let full = batch.len() == MOST || (bytes > MOST_BYTES && !batch.is_empty());
        if full || !labels.insert(attempt.labels.clone()) || !numbers.insert(attempt.number) {
            break;
        }
        batch.extend(due.pop_front());
    }
    batch
}

/// Each is a transaction of its own in one that compares nothing.
pub(crate) fn together(mut each: Vec<Txn>) -> Txn {
    match each.len() {
        1 => each.pop().unwrap_or_default(),
        _ => Txn::when([]).then(each.into_iter().map(Op::Txn)),
    }
}

/// What the answer to [`together`] says of each.
pub(crate) fn outcomes(batch: &[Attempt], answer: TxnResult) -> Vec<Outcome> {
    if let [alone] = batch {
        return vec![txn::outcome(alone, answer.succeeded, &answer.results)];
    }
    let mut results = answer.results.into_iter();
    let outcome = |attempt| match results.next() {
        Some(OpResult::Txn { succeeded, results }) => txn::outcome(attempt, succeeded, &results),
        _ => Outcome::Failed("the store answered something else than was asked".to_owned()),
    };
    batch.iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use model::NumericIdentity;

    use super::*;
    use crate::{Mode, Users};

    fn attempt(labels: &str, number: u32) -> Attempt {
        let labels = wire::labels::decode("", labels.as_bytes()).unwrap();
        Attempt { labels, number: NumericIdentity::new(number), mode: Mode::New, users: Users::Nobody }
    }

    fn sizes(mut due: VecDeque<Attempt>) -> Vec<usize> {
        let mut sizes = Vec::new();
        while !due.is_empty() {
            sizes.push(next(&mut due).len());
        }
        sizes
    }

    #[test]
    fn what_would_write_the_same_key_goes_in_another_transaction() {
        // etcd refuses the whole: "duplicate key given in txn request".
        let number = [attempt("k8s:a=1;", 300), attempt("k8s:a=2;", 301), attempt("k8s:a=3;", 300)];
        assert_eq!(sizes(number.into()), [2, 1]);
        let labels = [attempt("k8s:a=1;", 300), attempt("k8s:a=1;", 301)];
        assert_eq!(sizes(labels.into()), [1, 1]);
    }

    #[test]
    fn a_transaction_is_no_longer_than_a_store_takes() {
        let many = (0..130).map(|n| attempt(&format!("k8s:a={n};"), 300 + n)).collect();
        assert_eq!(sizes(many), [64, 64, 2]);
        let long = (0..3).map(|n| attempt(&format!("k8s:a={n}{};", "x".repeat(40_000)), 300 + n)).collect();
        assert_eq!(sizes(long), [1, 1, 1]);
    }
}
