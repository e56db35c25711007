//! Whatever bytes come as a request: one answer, no panic, and a log that makes the same state again.
//!
//! Time-boxed by `CAUSEWAY_FUZZ_SECONDS` (3 unless told); each run begins with a new seed, which it prints, and
//! `CAUSEWAY_FUZZ_SEED` repeats the life of one store.

mod mutation;
mod requests;
mod store;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use mutation::mutate;
use requests::{METHODS, caller, request};
use store::Store;

/// Requests to one store: enough for states that depend on each other, few enough to stay quick.
const A_LIFE: usize = 1_000;

/// How often each method was asked with success, and refused.
type Counts = BTreeMap<&'static str, (u64, u64)>;

/// The life of one store, from the first request to the replay of its log.
fn live(seed: u64, counts: &mut Counts) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut store = Store::new();
    let mut earlier: Vec<Vec<u8>> = Vec::new();
    for _ in 0..A_LIFE {
        let method = METHODS[dice.random_range(0..METHODS.len())];
        let mut bytes = request(method, &mut dice);
        if dice.random_bool(0.5) {
            mutate(&mut bytes, &earlier, &mut dice);
        }
        if dice.random_bool(0.05) {
            bytes = (0..dice.random_range(0..60)).map(|_| dice.random()).collect();
        }
        if dice.random_bool(0.1) {
            earlier.push(bytes.clone());
        }
        store.caller = caller(&mut dice);
        let (taken, refused) = counts.entry(method).or_default();
        if store.ask(method, bytes) {
            *taken += 1;
        } else {
            *refused += 1;
        }
        if dice.random_bool(0.05) {
            store.pass(Duration::from_millis(dice.random_range(0..3_000)));
        }
    }
    store.check_replay();
}

#[test]
fn any_bytes_get_one_answer() {
    let setting = |key: &str| std::env::var(key).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seconds = setting("CAUSEWAY_FUZZ_SECONDS").unwrap_or(3);
    let seed = setting("CAUSEWAY_FUZZ_SEED").unwrap_or_else(rand::random);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut lives, mut counts) = (0, Counts::new());
    while lives == 0 || Instant::now() < end {
        let life = seed.wrapping_add(lives);
        catch_unwind(AssertUnwindSafe(|| live(life, &mut counts)))
            .unwrap_or_else(|_| panic!("a store did not survive its requests: CAUSEWAY_FUZZ_SEED={life}"));
        lives += 1;
    }
    let executions = lives as usize * A_LIFE;
    println!(
        "fuzz requests: {executions} executions in {seconds} s from seed {seed}, 0 panics; taken and refused: {counts:?}"
    );
    for method in METHODS {
        let (taken, refused) = counts.get(method).copied().unwrap_or_default();
        assert!(taken + refused > 0, "{method} was not reached");
    }
    for method in [
        "KV/Range",
        "KV/Put",
        "KV/DeleteRange",
        "KV/Txn",
        "KV/Compact",
        "Lease/LeaseGrant",
        "Watch/Watch",
        "Auth/AuthEnable",
        "Auth/UserAdd",
        "Auth/UserGrantRole",
        "Auth/RoleGrantPermission",
    ] {
        let (taken, refused) = counts[method];
        assert!(taken > 0 && refused > 0, "{method}: {taken} taken, {refused} refused");
    }
}
