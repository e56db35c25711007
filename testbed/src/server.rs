//! A server in a pod: TCP connections are told the pod's name, UDP datagrams are sent back; both are counted.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::Pod;

/// The port that servers listen on.
pub const PORT: u16 = 8080;

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    connections: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Starts a server in a pod.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    pub fn start(pod: &Pod) -> Result<Self> {
        let (tcp, udp) = pod.enter(bind)??;
        let name = pod.spec.name.clone();
        let connections = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, stopped) = (Arc::clone(&connections), Arc::clone(&stop));
        let accept = std::thread::spawn(move || accept(&tcp, &name, &count, &stopped));
        let stopped = Arc::clone(&stop);
        let echo = std::thread::spawn(move || echo(&udp, &stopped));
        Ok(Self { connections, stop, threads: vec![accept, echo] })
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A server that died has printed why.
            thread.join().ok();
        }
    }
}

/// Serves in the calling process's namespace until it is killed, waiting for the port while another holds it.
///
/// # Errors
///
/// When the port cannot be bound within ten seconds.
pub fn serve(name: &str) -> Result<()> {
    let (tcp, udp) = crate::wait_until("the port is free", Duration::from_secs(10), bind)?;
    let (count, stop) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || echo(&udp, &stopped));
    accept(&tcp, name, &count, &stop);
    Ok(())
}

/// Connects from a pod and reads the name of who answers.
///
/// # Errors
///
/// When the connection is refused, resets, or does not answer in time.
pub fn ask(from: &Pod, to: SocketAddr, within: Duration) -> Result<String> {
    from.enter(|| {
        let mut stream = TcpStream::connect_timeout(&to, within).with_context(|| format!("connect to {to}"))?;
        stream.set_read_timeout(Some(within))?;
        let mut name = String::new();
        stream.read_to_string(&mut name).with_context(|| format!("read the answer of {to}"))?;
        if name.is_empty() {
            bail!("{to} answers nothing");
        }
        Ok(name.trim_end().to_owned())
    })?
}

fn bind() -> Result<(TcpListener, UdpSocket)> {
    // An unspecified IPv6 socket takes both families.
    let any = SocketAddr::from((IpAddr::from(Ipv6Addr::UNSPECIFIED), PORT));
    let tcp = TcpListener::bind(any).context("listen on TCP")?;
    tcp.set_nonblocking(true)?;
    let udp = UdpSocket::bind(any).context("listen on UDP")?;
    udp.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok((tcp, udp))
}

fn accept(listener: &TcpListener, name: &str, count: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                count.fetch_add(1, Ordering::Relaxed);
                // A client that has gone away wants no answer.
                stream.write_all(format!("{name}\n").as_bytes()).ok();
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn echo(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], peer).ok();
        }
    }
}
