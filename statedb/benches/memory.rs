//! Bytes a row of a table with two secondary indexes, rows included; one JSON line a case.
//! `cargo bench -p statedb --bench memory`.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use statedb::{Index, Row, table};

const ROWS: u64 = 500_000;

/// The smallest row that stands for an address: a key, an identity and a host.
#[derive(Clone, PartialEq)]
struct Small {
    key: u64,
    identity: u32,
    host: u32,
}

impl Row for Small {
    type Key = u64;
    const TABLE: &'static str = "small";
    const COLUMNS: &'static [&'static str] = &["KEY"];
    const INDEXES: &'static [Index<Self>] = &[
        Index { name: "identity", keys: |row, add| add(row.identity.into()) },
        Index { name: "host", keys: |row, add| add(row.host.into()) },
    ];

    fn key(&self) -> u64 {
        self.key
    }

    fn cells(&self) -> Vec<String> {
        vec![self.key.to_string()]
    }
}

fn main() {
    // An odd factor visits every number below a power of two once, far from the one before.
    check("ascending", |number| number);
    check("scattered", |number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
}

fn check(order: &str, key: impl Fn(u64) -> u64) {
    let before = resident();
    let (writer, reader) = table();
    let started = on_cpu();
    // A transaction a thousand rows, as pages of a list come.
    for page in 0..ROWS / 1000 {
        writer.write(|txn| {
            for number in page * 1000..(page + 1) * 1000 {
                let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                txn.upsert(Small {
                    key: key(number),
                    identity: (scattered % 5000) as u32,
                    host: (scattered % 997) as u32,
                });
            }
        });
    }
    let nanos = (on_cpu() - started) / ROWS;
    let bytes = (resident() - before) / ROWS;
    println!(r#"{{"name":"bytes a row, two indexes, {order}","value":{bytes},"unit":"B","aim":200}}"#);
    println!(r#"{{"name":"core time a row, two indexes, {order}","value":{nanos},"unit":"ns"}}"#);
    assert_eq!(reader.snapshot().len() as u64, ROWS);
    // Kept, so that the second table gets memory of its own.
    std::mem::forget((writer, reader));
}

/// Nanoseconds that this thread has been on a core: what else runs on the machine does not count.
fn on_cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

/// The process's memory without what is mapped from files.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
