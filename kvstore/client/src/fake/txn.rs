//! A transaction: which branches are taken is decided before anything of it is done, as in etcd.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::State;
use crate::{Cause, Compare, Op, OpResult, Range, Revision, Txn, TxnResult};

/// The branch that is taken, and those of the transactions in it.
struct Branch<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Op(&'a Op),
    Txn(Branch<'a>),
}

// === impl State ===

impl State {
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnResult, Cause> {
        let branch = self.choose(txn);
        self.check(&branch, &mut BTreeSet::new())?;
        let revision = if self.writes(&branch) { self.history.begin() } else { self.history.revision() };
        let results = self.run(&branch, revision)?;
        Ok(TxnResult { header: self.header(), succeeded: branch.succeeded, results })
    }

    fn choose<'a>(&self, txn: &'a Txn) -> Branch<'a> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.then } else { &txn.or_else };
        let step = |op: &'a Op| match op {
            Op::Txn(txn) => Step::Txn(self.choose(txn)),
            op => Step::Op(op),
        };
        Branch { succeeded, steps: ops.iter().map(step).collect() }
    }

    /// Leases are known, and no key is put twice.
    fn check<'a>(&self, branch: &Branch<'a>, put: &mut BTreeSet<&'a Bytes>) -> Result<(), Cause> {
        for step in &branch.steps {
            match step {
                Step::Op(Op::Put { key, lease, .. }) => {
                    self.check_lease(*lease)?;
                    if !put.insert(key) {
                        return Err(Cause::Refused("etcdserver: duplicate key given in txn request".to_owned()));
                    }
                }
                Step::Op(_) => {}
                Step::Txn(branch) => self.check(branch, put)?,
            }
        }
        Ok(())
    }

    fn writes(&self, branch: &Branch<'_>) -> bool {
        branch.steps.iter().any(|step| match step {
            Step::Op(Op::Put { .. }) => true,
            Step::Op(Op::Delete { key }) => self.history.get(key).is_some(),
            Step::Op(Op::DeletePrefix { prefix }) => {
                self.history.range(&Range::prefix(prefix.clone())).next().is_some()
            }
            Step::Op(Op::Range(_) | Op::Txn(_)) => false,
            Step::Txn(branch) => self.writes(branch),
        })
    }

    fn run(&mut self, branch: &Branch<'_>, revision: Revision) -> Result<Vec<OpResult>, Cause> {
        let mut results = Vec::with_capacity(branch.steps.len());
        for step in &branch.steps {
            results.push(match step {
                Step::Op(op) => self.operate(op, revision)?,
                Step::Txn(branch) => {
                    OpResult::Txn { succeeded: branch.succeeded, results: self.run(branch, revision)? }
                }
            });
        }
        Ok(results)
    }

    fn operate(&mut self, op: &Op, revision: Revision) -> Result<OpResult, Cause> {
        Ok(match op {
            Op::Put { key, value, lease } => {
                self.history.put(key.clone(), value.clone(), *lease, revision);
                OpResult::Put
            }
            Op::Delete { key } => OpResult::Deleted(self.history.delete(key, revision).into()),
            Op::DeletePrefix { prefix } => {
                let keys: Vec<Bytes> = self.history.range(&Range::prefix(prefix.clone())).map(|kv| kv.key).collect();
                for key in &keys {
                    self.history.delete(key, revision);
                }
                OpResult::Deleted(keys.len() as i64)
            }
            Op::Range(range) => OpResult::Range(self.range(range)?.kvs),
            Op::Txn(txn) => {
                let branch = self.choose(txn);
                OpResult::Txn { succeeded: branch.succeeded, results: self.run(&branch, revision)? }
            }
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let get = |key: &Bytes| self.history.get(key);
        match compare {
            Compare::Version(key, v) => get(key).map_or(0, |kv| kv.version) == *v,
            Compare::CreateRevision(key, r) => get(key).map_or(0, |kv| kv.create_revision) == *r,
            Compare::ModRevision(key, r) => get(key).map_or(0, |kv| kv.mod_revision) == *r,
            Compare::Value(key, value) => get(key).is_some_and(|kv| kv.value == *value),
            Compare::PrefixEmpty(prefix) => self.history.range(&Range::prefix(prefix.clone())).next().is_none(),
            Compare::PrefixValue(prefix, value) => {
                let range = Range::prefix(prefix.clone());
                let mut found = self.history.range(&range).peekable();
                found.peek().is_some() && found.all(|kv| kv.value == *value)
            }
        }
    }
}
