//! Everybody who is connected, by age; who has to go when there is no room.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::metrics::Connections;

pub(super) struct Guests {
    max: usize,
    max_greeting: usize,
    present: Mutex<Present>,
    metrics: Connections,
}

#[derive(Default)]
struct Present {
    next: u64,
    /// By number, so by age.
    all: BTreeMap<u64, Arc<Seat>>,
    greeting: BTreeMap<u64, Arc<Seat>>,
}

#[derive(Default)]
struct Seat {
    leave: CancellationToken,
    greeted: AtomicBool,
    asked: AtomicBool,
}

/// A place that is held; dropping it gives it back.
pub(in crate::edge) struct Guest {
    number: u64,
    seat: Arc<Seat>,
    guests: Arc<Guests>,
}

/// Notes that a connection asked something.
#[derive(Clone)]
pub(in crate::edge) struct Asking(Arc<Seat>);

// === impl Guests ===

impl Guests {
    pub(super) fn new(max: usize, max_greeting: usize, metrics: Connections) -> Self {
        Self { max, max_greeting, present: Mutex::default(), metrics }
    }

    pub(super) fn enter(this: &Arc<Self>) -> Option<Guest> {
        let mut present = this.present.lock();
        if present.greeting.len() >= this.max_greeting {
            this.send_away(present.greeting.pop_first());
        }
        if present.all.len() >= this.max {
            // Those who were asked to leave already are on their way.
            let idle = |seat: &Arc<Seat>| !seat.asked.load(Ordering::Relaxed) && !seat.leave.is_cancelled();
            let oldest = present.all.iter().find(|(_, seat)| idle(seat)).map(|(number, _)| *number);
            let Some(oldest) = oldest else {
                this.metrics.closed("full");
                return None;
            };
            let seat = present.all.remove(&oldest);
            present.greeting.remove(&oldest);
            this.send_away(seat.map(|seat| (oldest, seat)));
        }
        let (number, seat) = (present.next, Arc::new(Seat::default()));
        present.next += 1;
        present.all.insert(number, seat.clone());
        present.greeting.insert(number, seat.clone());
        drop(present);
        this.metrics.opened();
        Some(Guest { number, seat, guests: this.clone() })
    }

    fn send_away(&self, oldest: Option<(u64, Arc<Seat>)>) {
        if let Some((_, seat)) = oldest {
            self.metrics.closed("room-for-others");
            seat.leave.cancel();
        }
    }
}

// === impl Guest ===

impl Guest {
    /// Ends when the place is needed for others.
    pub(in crate::edge) async fn asked_to_leave(&self) {
        self.seat.leave.cancelled().await;
    }

    pub(super) fn greeted(&self) {
        self.seat.greeted.store(true, Ordering::Relaxed);
        self.guests.present.lock().greeting.remove(&self.number);
        self.guests.metrics.greeted();
    }

    pub(in crate::edge) fn asking(&self) -> Asking {
        Asking(self.seat.clone())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut present = self.guests.present.lock();
        present.all.remove(&self.number);
        present.greeting.remove(&self.number);
        drop(present);
        self.guests.metrics.gone(self.seat.greeted.load(Ordering::Relaxed));
    }
}

// === impl Asking ===

impl Asking {
    pub(in crate::edge) fn note(&self) {
        if !self.0.asked.load(Ordering::Relaxed) {
            self.0.asked.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(max: usize, greeting: usize) -> Arc<Guests> {
        Arc::new(Guests::new(max, greeting, Connections::new(&prometheus::Registry::new())))
    }

    #[test]
    fn the_oldest_that_greets_makes_room() {
        let guests = guests(10, 2);
        let (first, second) = (Guests::enter(&guests).unwrap(), Guests::enter(&guests).unwrap());
        first.greeted();
        let third = Guests::enter(&guests).unwrap();
        assert!(!second.seat.leave.is_cancelled());
        let fourth = Guests::enter(&guests).unwrap();
        assert!(second.seat.leave.is_cancelled());
        assert!([&first, &third, &fourth].iter().all(|guest| !guest.seat.leave.is_cancelled()));
    }

    #[test]
    fn who_asked_something_keeps_its_place() {
        let guests = guests(2, 2);
        let (first, second) = (Guests::enter(&guests).unwrap(), Guests::enter(&guests).unwrap());
        [&first, &second].iter().for_each(|guest| guest.greeted());
        first.asking().note();
        let third = Guests::enter(&guests).unwrap();
        assert!(second.seat.leave.is_cancelled() && !first.seat.leave.is_cancelled());
        third.asking().note();
        assert!(Guests::enter(&guests).is_none());
        drop(third);
        assert!(Guests::enter(&guests).is_some());
    }
}
