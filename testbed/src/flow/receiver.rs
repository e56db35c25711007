//! The receiving end: logs each number and sends it back.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Pod;

/// How long after the end a datagram may still arrive.
const GRACE: Duration = Duration::from_millis(200);

/// A thread that receives. [`Receiver::stop`] ends it.
#[derive(Debug)]
pub struct Receiver {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeMap<u64, Instant>>,
}

/// Any address of a family.
pub(super) fn any(ipv6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(if ipv6 { IpAddr::from([0u8; 16]) } else { IpAddr::from([0u8; 4]) }, port)
}

// === impl Receiver ===

impl Receiver {
    /// Listens in a pod.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    pub fn start(pod: &Pod, ipv6: bool, port: u16) -> Result<Self> {
        let listen = any(ipv6, port);
        let socket = pod.enter(|| UdpSocket::bind(listen))?;
        let socket = socket.with_context(|| format!("listen on {listen} in {}", pod.spec.name))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Ok(Self { stop, thread: std::thread::spawn(move || receive(&socket, &stopped)) })
    }

    /// When each number arrived first.
    pub(super) fn stop(self) -> Result<BTreeMap<u64, Instant>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("a receiver died"))
    }
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> BTreeMap<u64, Instant> {
    let mut received = BTreeMap::new();
    let mut buffer = [0; 64];
    let mut until: Option<Instant> = None;
    loop {
        if let Ok((8, from)) = socket.recv_from(&mut buffer)
            && let Ok(number) = buffer[..8].try_into().map(u64::from_be_bytes)
        {
            received.entry(number).or_insert_with(Instant::now);
            // What cannot be answered is counted as unanswered at the other end.
            socket.send_to(&buffer[..8], from).ok();
        }
        if stop.load(Ordering::Relaxed) && Instant::now() > *until.get_or_insert(Instant::now() + GRACE) {
            return received;
        }
    }
}
