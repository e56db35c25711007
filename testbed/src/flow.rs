//! Probes: numbered datagrams at a steady rate, answered by their receiver, logged at both ends.

mod receiver;
mod report;
mod sender;

use std::net::SocketAddr;

use anyhow::{Context, Result};

pub use self::receiver::Receiver;
pub use self::report::FlowReport;
pub use self::sender::Sender;
use crate::Pod;

/// A running flow from one pod to another. [`Flow::stop`] ends it and reports.
#[derive(Debug)]
pub struct Flow {
    sender: Sender,
    receiver: Option<Receiver>,
}

// === impl Flow ===

impl Flow {
    /// Starts `rate` datagrams a second from a pod to a port of another.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened.
    pub fn start(name: &str, from: &Pod, to: &Pod, ipv6: bool, port: u16, rate: u32) -> Result<Self> {
        Self::through(name, from, to, SocketAddr::new(to.ip(ipv6), port), rate)
    }

    /// The same to an address that leads to the pod, such as a service's; the pod listens at its port.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened.
    pub fn through(name: &str, from: &Pod, to: &Pod, target: SocketAddr, rate: u32) -> Result<Self> {
        let receiver = Receiver::start(to, target.is_ipv6(), target.port())?;
        Ok(Self { sender: Sender::start(name, from, target, rate)?, receiver: Some(receiver) })
    }

    /// A flow whose receiver is not there yet.
    pub fn from_sender(sender: Sender) -> Self {
        Self { sender, receiver: None }
    }

    /// Its receiver has come.
    pub fn listen(&mut self, receiver: Receiver) {
        self.receiver = Some(receiver);
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sender.sent()
    }

    /// Ends the flow, lets what is on its way arrive, and reports.
    ///
    /// # Errors
    ///
    /// When one of its threads died.
    pub fn stop(self) -> Result<FlowReport> {
        let sent = self.sender.stop()?;
        let received = self.receiver.map(Receiver::stop).transpose().context("end a flow")?;
        Ok(FlowReport {
            name: sent.name,
            nominal: sent.nominal,
            sent: sent.sent,
            received: received.unwrap_or_default(),
            answered: sent.answered,
        })
    }
}
