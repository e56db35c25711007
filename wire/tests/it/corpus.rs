//! Replays each fuzz target's corpus, and seeded mutations of it.

use std::{fs, path::Path};

use wire::fuzz::TARGETS;

const MUTATIONS: u64 = 10_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// splitmix64: the same seed gives the same input on every machine.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

/// One to four edits: a byte changed, removed or repeated, a token put in, a piece of another input
/// spliced in, the end cut off.
fn mutate(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    const TOKENS: [&[u8]; 14] = [
        b"null",
        b"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"\\u2028",
        b"-1",
        b"4294967296",
        b"::ffff:1.2.3.4",
        b"/",
        b";",
        b"=",
    ];
    let mut state = seed;
    let pick = |state: &mut u64| corpus[next(state) % corpus.len()].clone();
    let mut data = pick(&mut state);
    for _ in 0..=next(&mut state) % 4 {
        if data.is_empty() {
            data = pick(&mut state);
        }
        let at = next(&mut state) % data.len().max(1);
        match next(&mut state) % 6 {
            0 => data[at] = next(&mut state) as u8,
            1 => drop(data.remove(at)),
            2 => data.insert(at, data[at]),
            3 => drop(data.splice(at..at, TOKENS[next(&mut state) % TOKENS.len()].iter().copied())),
            4 => {
                let other = pick(&mut state);
                let from = next(&mut state) % other.len().max(1);
                let to = from + next(&mut state) % (other.len() - from).max(1);
                drop(data.splice(at..at, other[from..to].iter().copied()));
            }
            _ => data.truncate(at),
        }
    }
    data
}

#[test]
fn corpus_and_mutations_hold_in_every_decoder() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        corpus.iter().for_each(|input| target(input));
        for seed in 0..MUTATIONS {
            let input = mutate(&corpus, seed);
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                panic!("{name} fails at seed {seed}: {:?}", String::from_utf8_lossy(&input));
            }
        }
        println!("{name}: corpus of {}, {MUTATIONS} mutations", corpus.len());
    }
}

/// The corpus must reach the code after the checks: else mutations test little more than syntax.
#[test]
fn each_corpus_has_inputs_that_are_accepted() {
    use wire::{cluster_config, endpoint_slice, identity, ip, labels, node, service, service_export};
    let accepted = |target: &str, decodes: fn(&str, &[u8]) -> bool| {
        let count = corpus(target).into_iter().filter(|input| {
            let at = input.iter().position(|b| *b == b'\n').unwrap();
            decodes(std::str::from_utf8(&input[..at]).unwrap(), &input[at + 1..])
        });
        assert!(count.count() >= 1, "{target}");
    };
    accepted("ip", |name, value| ip::decode("k", name, value).is_ok());
    accepted("node", |name, value| node::decode("k", name, value).is_ok());
    accepted("service", |name, value| service::decode("k", name, value).is_ok());
    accepted("service_export", |name, value| service_export::decode("k", name, value).is_ok());
    accepted("cluster_config", |_, value| cluster_config::decode("k", value).is_ok());
    accepted("identity", |name, value| identity::decode("k", name, value).is_ok());
    accepted("label_string", |_, value| labels::decode("k", value).is_ok());
    accepted("endpoint_slice", |name, value| endpoint_slice::decode("k", name, value).is_ok());
}
