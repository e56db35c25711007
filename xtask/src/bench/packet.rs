//! `packet`: nanoseconds a packet through the programs, from `datapath`'s own benchmark.

use anyhow::Result;

use super::binary;
use super::record::{Aim, Figure};

/// The prototype had 91 to 317.
const AIM: f64 = 200.0;

pub(super) fn run() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for line in binary::lines("datapath", "packet")? {
        let Some(nanos) = line["ns_per_packet"].as_f64() else { continue };
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        figures.push(Figure {
            name: format!("{}, {}", text("walk"), text("family")),
            value: nanos,
            unit: "ns/packet".to_owned(),
            aim: Some(Aim::AtMost(AIM)),
            command: "cargo bench -p datapath --bench packet".to_owned(),
        });
    }
    Ok(figures)
}
