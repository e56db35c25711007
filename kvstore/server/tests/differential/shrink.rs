//! Makes a failing sequence short: leaves out operations for as long as it still fails.

use std::time::Instant;

/// The shortest sequence found before the deadline that `fails` still holds for. Halves go first, single items last.
pub(crate) fn shrink<T: Clone>(items: &[T], deadline: Instant, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = items.to_vec();
    let mut chunk = kept.len().div_ceil(2);
    while chunk > 0 {
        let mut removed = false;
        let mut at = 0;
        while at < kept.len() && Instant::now() < deadline {
            let end = (at + chunk).min(kept.len());
            let mut shorter = kept.clone();
            shorter.drain(at..end);
            if fails(&shorter) {
                kept = shorter;
                removed = true;
            } else {
                at = end;
            }
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        } else if !removed || Instant::now() >= deadline {
            chunk = 0;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::shrink;

    #[test]
    fn what_makes_it_fail_is_all_that_is_left() {
        let items: Vec<u32> = (0..500).collect();
        let mut tries = 0;
        let left = shrink(&items, Instant::now() + Duration::from_secs(60), |items| {
            tries += 1;
            [17, 250, 499].iter().all(|item| items.contains(item))
        });
        assert_eq!(left, [17, 250, 499]);
        assert!(tries < 100, "{tries} tries");
    }

    #[test]
    fn after_the_deadline_it_gives_what_it_has() {
        assert_eq!(shrink(&[1, 2, 3], Instant::now(), |_| panic!("nothing is tried")), [1, 2, 3]);
    }
}
