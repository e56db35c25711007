//! Probes: numbered datagrams at a steady rate, logged at both ends.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::Pod;

/// A running flow from one pod to another. [`Flow::stop`] ends it and reports.
#[derive(Debug)]
pub struct Flow {
    /// What it is called in reports.
    pub name: String,
    rate: u32,
    started: Instant,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: std::thread::JoinHandle<Vec<u64>>,
    receiver: std::thread::JoinHandle<Vec<(u64, Instant)>>,
}

/// What both ends logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowReport {
    /// What it was called.
    pub name: String,
    /// How many datagrams the rate and the time ask for.
    pub nominal: u64,
    /// The numbers that were sent.
    pub sent: BTreeSet<u64>,
    /// The numbers that arrived.
    pub received: BTreeSet<u64>,
}

// === impl Flow ===

impl Flow {
    /// Starts `rate` datagrams a second from a pod to a port of another.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened.
    pub fn start(name: &str, from: &Pod, to: &Pod, ipv6: bool, port: u16, rate: u32) -> Result<Self> {
        let target = SocketAddr::new(to.ip(ipv6), port);
        let listen = SocketAddr::new(if ipv6 { IpAddr::from([0u8; 16]) } else { IpAddr::from([0u8; 4]) }, port);
        let socket_in = to.enter(|| UdpSocket::bind(listen))?.with_context(|| format!("listen on {listen}"))?;
        socket_in.set_read_timeout(Some(Duration::from_millis(50)))?;
        let any = SocketAddr::new(listen.ip(), 0);
        let socket_out = from.enter(|| UdpSocket::bind(any))?.with_context(|| format!("bind {any}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let sender = std::thread::spawn(move || send(&socket_out, target, rate, &stopped, &count));
        let stopped = Arc::clone(&stop);
        let receiver = std::thread::spawn(move || receive(&socket_in, &stopped));
        Ok(Self { name: name.to_owned(), rate, started: Instant::now(), stop, sent, sender, receiver })
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the flow, lets what is on its way arrive, and reports.
    ///
    /// # Errors
    ///
    /// When one of its threads died.
    pub fn stop(self) -> Result<FlowReport> {
        let nominal = (self.started.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
        self.stop.store(true, Ordering::Relaxed);
        let ended = |name: &str| format!("the {name} of flow {} died", self.name);
        let sent = self.sender.join().map_err(|_| anyhow::anyhow!(ended("sender")))?;
        let received = self.receiver.join().map_err(|_| anyhow::anyhow!(ended("receiver")))?;
        Ok(FlowReport {
            name: self.name,
            nominal,
            sent: sent.into_iter().collect(),
            received: received.into_iter().map(|(number, _)| number).collect(),
        })
    }
}

// === impl FlowReport ===

impl FlowReport {
    /// Sent and not received.
    pub fn lost(&self) -> u64 {
        self.sent.difference(&self.received).count() as u64
    }

    /// Fails unless at least 95 % of the nominal datagrams were sent: a probe that hardly ran proves nothing.
    ///
    /// # Errors
    ///
    /// When fewer were sent.
    pub fn check_sent(&self) -> Result<()> {
        if (self.sent.len() as u64) * 100 < self.nominal * 95 {
            bail!(
                "flow {} sent {} of {} datagrams: the machine is too busy to prove anything",
                self.name,
                self.sent.len(),
                self.nominal
            );
        }
        Ok(())
    }

    /// Fails when a datagram was lost.
    ///
    /// # Errors
    ///
    /// When one was lost, or too few were sent.
    pub fn check_all_delivered(&self) -> Result<()> {
        self.check_sent()?;
        match self.lost() {
            0 => Ok(()),
            lost => {
                let first = self.sent.difference(&self.received).next();
                bail!("flow {} lost {lost} of {} datagrams, the first is number {first:?}", self.name, self.sent.len())
            }
        }
    }

    /// Fails when a datagram arrived.
    ///
    /// # Errors
    ///
    /// When one arrived, or too few were sent.
    pub fn check_none_delivered(&self) -> Result<()> {
        self.check_sent()?;
        match self.received.len() {
            0 => Ok(()),
            count => bail!("flow {} is forbidden, and {count} of {} datagrams arrived", self.name, self.sent.len()),
        }
    }
}

fn send(socket: &UdpSocket, target: SocketAddr, rate: u32, stop: &AtomicBool, count: &AtomicU64) -> Vec<u64> {
    let gap = Duration::from_secs(1) / rate.max(1);
    let start = Instant::now();
    let mut sent = Vec::new();
    for number in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // A datagram that the kernel refuses to take was never on its way.
        if socket.send_to(&number.to_be_bytes(), target).is_ok() {
            sent.push(number);
            count.store(sent.len() as u64, Ordering::Relaxed);
        }
        let due = start + gap * u32::try_from(number + 1).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    sent
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> Vec<(u64, Instant)> {
    let mut received = Vec::new();
    let mut buffer = [0; 64];
    let mut grace: Option<Instant> = None;
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((8, _)) => {
                let number = buffer[..8].try_into().map(u64::from_be_bytes);
                received.extend(number.ok().map(|number| (number, Instant::now())));
            }
            Ok(_) => {}
            Err(_) if stop.load(Ordering::Relaxed) => {
                // The last datagram may be on its way for a moment more.
                let until = *grace.get_or_insert(Instant::now() + Duration::from_millis(200));
                if Instant::now() > until {
                    return received;
                }
            }
            Err(_) => {}
        }
        if stop.load(Ordering::Relaxed) && grace.is_none() {
            grace = Some(Instant::now() + Duration::from_millis(200));
        }
        if grace.is_some_and(|until| Instant::now() > until) {
            return received;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(nominal: u64, sent: u64, received: &[u64]) -> FlowReport {
        FlowReport {
            name: "probe".to_owned(),
            nominal,
            sent: (0..sent).collect(),
            received: received.iter().copied().collect(),
        }
    }

    #[test]
    fn checks_fail_on_what_they_are_there_for() {
        let all: Vec<u64> = (0..100).collect();
        assert!(report(100, 100, &all).check_all_delivered().is_ok());
        assert!(report(100, 100, &all[1..]).check_all_delivered().is_err(), "one lost");
        assert!(report(100, 100, &[]).check_none_delivered().is_ok());
        assert!(report(100, 100, &[7]).check_none_delivered().is_err(), "one delivered");
        assert!(report(100, 94, &[]).check_none_delivered().is_err(), "too few were sent");
    }
}
