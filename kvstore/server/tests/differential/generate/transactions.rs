//! Transactions: every compare target, nested ones, and those that break a rule.

use rand::Rng;

use super::Generator;
use crate::op::{Against, Compare, End, Key, Lease, Op, Step, Txn};

/// One more than a transaction may have.
const TOO_MANY: usize = 129;

impl Generator {
    pub(super) fn txn_op(&mut self) {
        let mut txn = self.txn(0);
        if self.chance(1) {
            let step = self.step_of(1);
            txn.success = vec![step; TOO_MANY];
        }
        if deletes_to_the_end(&txn) {
            keep_nothing(&mut txn);
        }
        self.push(Op::Txn(txn));
    }

    fn txn(&mut self, depth: u32) -> Txn {
        let compares = self.rng.random_range(0..3);
        let compare = (0..compares).map(|_| self.compare()).collect();
        let (success, failure) = (self.steps(depth), self.steps(depth));
        Txn { compare, success, failure }
    }

    fn steps(&mut self, depth: u32) -> Vec<Step> {
        let count = self.rng.random_range(0..4 - depth.min(2));
        (0..count).map(|_| self.step_of(depth)).collect()
    }

    fn step_of(&mut self, depth: u32) -> Step {
        match self.rng.random_range(0..200) {
            0 => Step::Void,
            1..70 => {
                let mut range = self.range();
                // A revision that cannot be read refuses the whole transaction: rare.
                if self.chance(75) {
                    range.rev = crate::op::Rev::At(0);
                }
                Step::Get(range)
            }
            70..130 => Step::Set(self.put()),
            130..170 => Step::Del(self.delete()),
            _ if depth < 3 => Step::Sub(self.txn(depth + 1)),
            _ => Step::Set(self.put()),
        }
    }

    fn compare(&mut self) -> Compare {
        let against = match self.rng.random_range(0..40) {
            0..8 => Against::Version(self.rng.random_range(0..4)),
            8..16 => Against::Create(self.compared_rev()),
            16..24 => Against::Mod(self.compared_rev()),
            24..32 => Against::Bytes(self.value()),
            32..37 => Against::Lease(self.maybe_lease(50)),
            _ => Against::Missing(self.rng.random_range(0..6)),
        };
        let result = match against {
            // Which of two ids is greater is each server's choice, if it chose them.
            Against::Lease(Lease::Chosen(_)) => [0, 3][self.rng.random_range(0..2)],
            _ if self.chance(5) => 8,
            _ => self.rng.random_range(0..4),
        };
        let key = self.key();
        let end = if self.chance(25) { self.end() } else { End::One };
        // A wrong key refuses the whole transaction: rare.
        let key = if key == Key::Empty && self.chance(60) { Key::K(0) } else { key };
        Compare { key, end, result, against }
    }

    fn compared_rev(&mut self) -> crate::op::Rev {
        use crate::op::Rev;
        if self.chance(40) { Rev::At(0) } else { Rev::Head(-self.rng.random_range(0..40)) }
    }
}

/// etcd does not see that a deletion up to the end of all keys overlaps a put. If that put keeps the value or lease of a
/// key that is gone by then, etcd 3.6.16 ends with a panic: no such transaction is sent to it.
fn deletes_to_the_end(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|step| match step {
        Step::Del(delete) => matches!(delete.end, End::FromKey | End::To(Key::Nul)),
        Step::Sub(txn) => deletes_to_the_end(txn),
        _ => false,
    })
}

fn keep_nothing(txn: &mut Txn) {
    for step in txn.success.iter_mut().chain(&mut txn.failure) {
        match step {
            Step::Set(put) => (put.ignore_value, put.ignore_lease) = (false, false),
            Step::Sub(txn) => keep_nothing(txn),
            _ => {}
        }
    }
}
