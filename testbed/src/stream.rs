//! A long-lived TCP connection: numbers in one direction, their echoes in the other. It connects once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::Pod;

/// Between two numbers.
const PACE: Duration = Duration::from_millis(50);
/// How long an echo may take: retransmissions of a cut link back off for minutes, a broken connection says so at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection under test. [`Stream::stop`] ends it and reports.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    /// The server's end, once it is there.
    accepted: Arc<OnceLock<TcpStream>>,
    client: std::thread::JoinHandle<StreamReport>,
    server: std::thread::JoinHandle<()>,
}

/// What the client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReport {
    /// What it was called.
    pub name: String,
    /// Numbers that came back, in order and once each: TCP promises no less.
    pub echoed: u64,
    /// The longest time from a number to its echo.
    pub longest_gap: Duration,
    /// How it broke, if it did.
    pub broken: Option<(Instant, String)>,
}

// === impl Stream ===

impl Stream {
    /// Connects from a pod to an address that leads to another, which listens at that port.
    ///
    /// # Errors
    ///
    /// When the port is taken or the connection is not made.
    pub fn start(name: &str, from: &Pod, to: &Pod, target: SocketAddr) -> Result<Self> {
        let any = if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let mut listen: SocketAddr = any.parse().context("an address of ours")?;
        listen.set_port(target.port());
        let listener = to.enter(|| TcpListener::bind(listen))?.with_context(|| format!("listen on {listen}"))?;
        let accepted = Arc::new(OnceLock::new());
        let server_end = Arc::clone(&accepted);
        let server = std::thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                echo(server_end.get_or_init(|| stream));
            }
        });
        let connected = from.enter(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)))?;
        let client = connected.with_context(|| format!("{name}: connect to {target}"))?;
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, name) = (Arc::clone(&stop), name.to_owned());
        let client = std::thread::spawn(move || talk(name, client, &stopped));
        Ok(Self { stop, accepted, client, server })
    }

    /// Lets the server break it off.
    ///
    /// # Errors
    ///
    /// When it is not connected.
    pub fn break_off(&self) -> Result<()> {
        let server = self.accepted.get().context("the connection is not accepted yet")?;
        server.shutdown(std::net::Shutdown::Both).context("end the server's side")
    }

    /// Ends it after the echo that it waits for.
    ///
    /// # Errors
    ///
    /// When one of its threads died.
    pub fn stop(self) -> Result<StreamReport> {
        self.stop.store(true, Ordering::Relaxed);
        let report = self.client.join().map_err(|_| anyhow!("the client of a stream died"))?;
        self.server.join().map_err(|_| anyhow!("the server of a stream died"))?;
        Ok(report)
    }
}

fn talk(name: String, mut stream: TcpStream, stop: &AtomicBool) -> StreamReport {
    let mut report = StreamReport { name, echoed: 0, longest_gap: Duration::ZERO, broken: None };
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let mut answer = [0; 8];
        let number = report.echoed.to_be_bytes();
        let result = stream.write_all(&number).and_then(|()| stream.read_exact(&mut answer));
        let problem = match result {
            Err(error) => Some(format!("{error}")),
            Ok(()) if answer != number => Some(format!("the echo of {number:?} is {answer:?}")),
            Ok(()) => None,
        };
        if let Some(problem) = problem {
            report.broken = Some((Instant::now(), problem));
            break;
        }
        report.echoed += 1;
        report.longest_gap = report.longest_gap.max(asked.elapsed());
        std::thread::sleep(PACE);
    }
    report
}

fn echo(mut stream: &TcpStream) {
    stream.set_nodelay(true).ok();
    let mut buffer = [0; 8];
    // Until the client closes, or the connection breaks: the client reports that.
    while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
}
