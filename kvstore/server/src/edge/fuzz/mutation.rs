//! What goes wrong with the bytes of a message.

use rand::{Rng, rngs::StdRng};

/// Lengths and numbers at their edges, as varints.
const VARINTS: [&[u8]; 5] = [
    &[0x00],
    &[0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

/// One to three accidents; some take bytes of an earlier request.
pub(super) fn mutate(bytes: &mut Vec<u8>, earlier: &[Vec<u8>], dice: &mut StdRng) {
    for _ in 0..dice.random_range(1..=3) {
        if bytes.is_empty() {
            bytes.push(dice.random());
        }
        let at = dice.random_range(0..bytes.len());
        match dice.random_range(0..7) {
            0 => bytes[at] ^= 1 << dice.random_range(0..8),
            1 => bytes[at] = dice.random(),
            2 => bytes.truncate(at),
            3 => drop(bytes.remove(at)),
            4 => {
                let varint = VARINTS[dice.random_range(0..VARINTS.len())];
                drop(bytes.splice(at..=at, varint.iter().copied()));
            }
            5 => {
                let twice = bytes[at..].to_vec();
                bytes.extend(twice);
            }
            _ => {
                if let Some(other) = earlier.get(dice.random_range(0..=earlier.len())) {
                    drop(bytes.splice(at..at, other.iter().copied()));
                }
            }
        }
        bytes.truncate(MAX_BYTES);
    }
}

/// Of a request: what doubles again and again stays quick.
const MAX_BYTES: usize = 4 << 10;
