//! Who comes in: every connection passes here before anything of it is served.
//!
//! ```text
//!  accepted ──enter──> Guest ──greet (TLS handshake, first bytes; one deadline)──> served
//!     full: the oldest that greets makes room, then the oldest that never asked anything, then the new one goes
//! ```
//! Nobody who is silent can keep others out: those who speak are done with greeting in milliseconds.

mod first_bytes;
mod guests;

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    listener::{Arrival, BoxedSocket},
    tls::Refusal,
};
use crate::metrics::Connections;

pub(super) use first_bytes::Begun;
pub(super) use guests::Guest;
use guests::Guests;

/// For the handshake and the first bytes together. etcd has none for a handshake (an advisory of 2026).
const GREETING: Duration = Duration::from_secs(10);
/// Connections at once. Half of a common limit of open files is left for the disk.
const MAX_GUESTS: usize = 10_240;
/// Of them, those that are not done with greeting. A client needs some milliseconds for it: 2,048 let 200,000 a second in.
const MAX_GREETING: usize = 2_048;

/// Why we close a connection.
pub(crate) const ENDS: [&str; 8] =
    ["silent", "slow", "room-for-others", "full", "tls", "not-http", "too-many-resets", "too-large-head"];

/// Who is at the other end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// Of the client's certificate, when it was verified.
    pub(crate) common_name: Option<Arc<str>>,
    /// It came in where only health and metrics are served.
    pub(crate) only_pages: bool,
}

#[derive(Clone)]
pub(crate) struct Door {
    guests: Arc<Guests>,
    metrics: Connections,
    greeting: Duration,
}

// === impl Door ===

impl Door {
    pub(crate) fn new(metrics: Connections) -> Self {
        Self::with_bounds(metrics, MAX_GUESTS, MAX_GREETING, GREETING)
    }

    pub(super) fn with_bounds(metrics: Connections, guests: usize, greeting: usize, within: Duration) -> Self {
        let guests = Guests::new(guests, greeting, metrics.clone());
        Self { guests: Arc::new(guests), metrics, greeting: within }
    }

    /// A place for a connection; `None` when all are taken by those who use theirs.
    pub(super) fn enter(&self) -> Option<Guest> {
        Guests::enter(&self.guests)
    }

    /// Waits for what the client has to say first.
    pub(super) async fn greet(&self, arrival: Arrival, guest: &Guest) -> Option<(Begun<BoxedSocket>, Peer)> {
        let mut stage = Stage::Handshake;
        let greeting = async {
            let (socket, mut peer) = match arrival.manner.tls {
                None => (arrival.socket, Peer::default()),
                Some(tls) => match tls.accept(arrival.socket).await {
                    Ok((stream, peer)) => {
                        self.metrics.handshake();
                        (Box::pin(stream) as BoxedSocket, peer)
                    }
                    Err(refusal) => return Err(Some(refusal)),
                },
            };
            peer.only_pages = arrival.manner.only_pages;
            stage = Stage::FirstBytes;
            let begun = first_bytes::read(socket).await.map_err(|_| None)?;
            Ok((begun.counted(self.metrics.clone()), peer))
        };
        let ended = tokio::select! {
            ended = timeout(self.greeting, greeting) => ended,
            () = guest.asked_to_leave() => return None,
        };
        match (ended, stage) {
            (Ok(Ok(begun)), _) => {
                guest.greeted();
                return Some(begun);
            }
            (Ok(Err(Some(refusal))), _) => self.refused(&refusal),
            // It left by itself.
            (Ok(Err(None)), _) => {}
            (Err(_), Stage::Handshake) => {
                self.refused(&Refusal::slow(format!("no TLS handshake within {} s", self.greeting.as_secs())));
            }
            (Err(_), Stage::FirstBytes) => self.metrics.closed("silent"),
        }
        None
    }

    /// Why an HTTP connection ended, as far as it was our doing.
    pub(super) fn ended(&self, error: &(dyn std::error::Error + 'static)) {
        if let Some(reason) = reason(error) {
            self.metrics.closed(reason);
        }
    }

    fn refused(&self, refusal: &Refusal) {
        self.metrics.handshake_failed(refusal.reason);
        self.metrics.closed("tls");
        if refusal.reason == "closed" {
            tracing::debug!(reason = refusal.reason, "{}", refusal.text);
        } else {
            tracing::warn!(reason = refusal.reason, "a client is refused: {}", refusal.text);
        }
    }
}

#[derive(Clone, Copy)]
enum Stage {
    Handshake,
    FirstBytes,
}

fn reason(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        if error.is_parse_too_large() {
            return Some("too-large-head");
        }
        if error.is_parse() {
            return Some("not-http");
        }
        if error.is_timeout() {
            return Some("slow");
        }
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return match error.reason()? {
            h2::Reason::ENHANCE_YOUR_CALM => Some("too-many-resets"),
            h2::Reason::NO_ERROR | h2::Reason::CANCEL => None,
            _ => Some("not-http"),
        };
    }
    reason(error.source()?)
}
