//! What is accounted against what is resident: `--quota-backend-bytes` is a promise about memory.
//!
//! Each measurement is a process of its own, this test started again: another test's memory is not in it. It says nothing
//! of a store whose values change their sizes for good: slots that were freed wait for values of about the same length,
//! and are not accounted meanwhile.

use std::{
    fmt::Write as _,
    ops::ControlFlow,
    process::{Child, Command, Stdio},
    time::Instant,
};

use bytes::Bytes;

use super::text;
use crate::{
    core::{
        auth::By,
        span::Span,
        state::{State, Write},
    },
    pb::etcdserverpb as pb,
};

/// Names the filling that this process measures.
const FILLING: &str = "CAUSEWAY_MEMORY_FILLING";
const ACCOUNTED: u64 = 50 << 20;
/// Resident memory is at most so much of what is accounted.
const AT_MOST: f64 = 1.5;

type Filling = (&'static str, fn(&mut Filled));

const FILLINGS: [Filling; 4] = [
    ("small values", |filled| filled.fill("small", |_| 20)),
    ("large values", |filled| filled.fill("large", |number| 5_000 + number * 7_919 % 60_000)),
    ("values of every size, rewritten and compacted", |filled| {
        for _ in 0..2 {
            filled.fill("mixed", |number| number * 7_919 % 4_000);
            filled.empty(3);
        }
        filled.fill("mixed", |number| number * 7_919 % 4_000);
    }),
    ("leases with their keys", |filled| filled.fill_leased()),
];

struct Filled {
    state: State,
}

// === impl Filled ===

impl Filled {
    fn apply(&mut self, write: &Write) {
        self.state.apply(Instant::now(), 1, &By::Nobody, write).unwrap();
    }

    fn put(&mut self, key: &str, value: usize, lease: i64) {
        let value = Bytes::from(vec![7; value]);
        self.apply(&Write::Put(pb::PutRequest { key: text(key), value, lease, ..Default::default() }));
    }

    /// Puts keys of this name until so much is accounted.
    fn fill(&mut self, name: &str, value: impl Fn(usize) -> usize) {
        let mut number = 0;
        while self.state.size() < ACCOUNTED {
            self.put(&format!("/registry/{name}/{number:08}"), value(number), 0);
            number += 1;
        }
    }

    fn fill_leased(&mut self) {
        let mut id = 0;
        while self.state.size() < ACCOUNTED {
            id += 1;
            self.apply(&Write::LeaseGrant { id, ttl_secs: 1_000 });
            self.put(&format!("/leased/{id:08}"), 30, id);
        }
    }

    /// Deletes all keys but one in so many, and compacts.
    fn empty(&mut self, one_in: usize) {
        let mut names = Vec::new();
        let all = Span::new(text("/"), text("0"));
        self.state.store.each(&all, self.state.store.revision(), |kv| {
            names.push(Bytes::copy_from_slice(kv.key));
            ControlFlow::Continue(())
        });
        for (number, key) in names.into_iter().enumerate() {
            if number % one_in != 1 {
                self.apply(&Write::DeleteRange(pb::DeleteRangeRequest { key, ..Default::default() }));
            }
        }
        // What was deleted at the compact revision itself stays for watches.
        self.put("/last", 0, 0);
        self.state.store.compact(self.state.store.revision()).unwrap();
        assert!(self.state.store.sweep(usize::MAX));
    }
}

/// Bytes of this process that no file backs.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn resident_memory_is_at_most_half_more_than_accounted() {
    if let Ok(name) = std::env::var(FILLING) {
        let (_, fill) = FILLINGS.iter().find(|(known, _)| *known == name).unwrap();
        let mut filled = Filled { state: State::new(7, 1) };
        let before = resident();
        fill(&mut filled);
        println!("measured {} {}", filled.state.size(), resident() - before);
        return;
    }
    let began = Instant::now();
    let children: Vec<(&str, Child)> = FILLINGS.iter().map(|(name, _)| (*name, measure(name))).collect();
    let (mut report, mut worst) = (String::new(), 0.0_f64);
    for (name, child) in children {
        let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let measured = output.lines().find_map(|line| line.split_once("measured "));
        let (_, measured) = measured.unwrap_or_else(|| panic!("{name}: {output}"));
        let numbers: Vec<u64> = measured.split(' ').map(|number| number.parse().unwrap()).collect();
        assert!(numbers[0] >= ACCOUNTED, "{name}: {numbers:?}");
        let ratio = numbers[1] as f64 / numbers[0] as f64;
        writeln!(report, "{name}: {ratio:.2} of {} MiB", numbers[0] >> 20).unwrap();
        worst = worst.max(ratio);
    }
    println!("resident of accounted memory, in {:?}:\n{report}", began.elapsed());
    assert!(worst <= AT_MOST, "resident of accounted memory:\n{report}");
}

/// This test in a process of its own.
fn measure(filling: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "core::tests::memory::resident_memory_is_at_most_half_more_than_accounted", "--nocapture"])
        .env(FILLING, filling)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
