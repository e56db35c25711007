//! The sending end: numbers at a steady rate, and the answers to them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::receiver::any;
use crate::Pod;

/// How long without an answer until no more is expected: a starved receiver answers late, and what is late is not lost.
const GRACE: Duration = Duration::from_millis(500);

/// A thread that sends. [`Sender::stop`] ends it.
#[derive(Debug)]
pub struct Sender {
    name: String,
    rate: u32,
    started: Instant,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Numbers>,
}

/// When each number was sent, and when its answer came.
type Numbers = (BTreeMap<u64, Instant>, BTreeMap<u64, Instant>);

/// What was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) name: String,
    pub(super) nominal: u64,
    pub(super) sent: BTreeMap<u64, Instant>,
    pub(super) answered: BTreeMap<u64, Instant>,
}

// === impl Sender ===

impl Sender {
    /// Starts `rate` datagrams a second from a pod.
    ///
    /// # Errors
    ///
    /// When its socket cannot be opened.
    pub fn start(name: &str, from: &Pod, target: SocketAddr, rate: u32) -> Result<Self> {
        let local = any(target.is_ipv6(), 0);
        let socket = from.enter(|| UdpSocket::bind(local))?.with_context(|| format!("bind {local}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let started = Instant::now();
        let thread = std::thread::spawn(move || send(&socket, target, rate, &stopped, &count));
        Ok(Self { name: name.to_owned(), rate, started, stop, sent, thread })
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn stop(self) -> Result<Sent> {
        let nominal = (self.started.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
        self.stop.store(true, Ordering::Relaxed);
        let (sent, answered) =
            self.thread.join().map_err(|_| anyhow::anyhow!("the sender of flow {} died", self.name))?;
        Ok(Sent { name: self.name, nominal, sent, answered })
    }
}

fn send(socket: &UdpSocket, target: SocketAddr, rate: u32, stop: &AtomicBool, count: &AtomicU64) -> Numbers {
    let gap = Duration::from_secs(1) / rate.max(1);
    let start = Instant::now();
    let (mut sent, mut answered) = (BTreeMap::new(), BTreeMap::new());
    for number in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // A datagram that the kernel refuses to take was never on its way.
        if socket.send_to(&number.to_be_bytes(), target).is_ok() {
            sent.insert(number, Instant::now());
            count.store(sent.len() as u64, Ordering::Relaxed);
        }
        let due = start + gap * u32::try_from(number + 1).unwrap_or(u32::MAX);
        collect(socket, target, due, &mut answered);
    }
    loop {
        let before = answered.len();
        collect(socket, target, Instant::now() + GRACE, &mut answered);
        if answered.len() == before {
            return (sent, answered);
        }
    }
}

/// Takes answers until `due`. Only those that seem to come from where the question went: a service must not show its
/// backend.
fn collect(socket: &UdpSocket, target: SocketAddr, due: Instant, answered: &mut BTreeMap<u64, Instant>) {
    let mut buffer = [0; 64];
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match socket.recv_from(&mut buffer) {
            Ok((8, from)) if from == target => {
                let number = buffer[..8].try_into().map(u64::from_be_bytes);
                answered.extend(number.ok().map(|number| (number, Instant::now())));
            }
            Ok(_) => {}
            // An ICMP error: the socket goes on, and the time until the next datagram is short.
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Err(_) => return,
        }
    }
}
