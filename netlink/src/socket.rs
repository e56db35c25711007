//! One request, its answers, its acknowledgement.

use crate::{Error, Result};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;

/// Times a dump is repeated when the table changed under it.
const DUMP_ATTEMPTS: usize = 5;

/// A socket in the network namespace of the thread that opened it.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// # Errors
    /// [`Error::Open`] when the kernel refuses a socket.
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(Error::Open)?;
        socket.bind_auto().map_err(Error::Open)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(Error::Open)?;
        // Lets the kernel apply the filters of a dump request instead of ignoring them.
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request that is answered by an acknowledgement only.
    pub(crate) fn execute(
        &mut self,
        operation: &'static str,
        object: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<()> {
        self.exchange(operation, object, message, NLM_F_ACK | flags, |_| {}).map(drop)
    }

    /// Sends a request for one object.
    pub(crate) fn get(
        &mut self,
        operation: &'static str,
        object: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>> {
        let mut found = None;
        self.exchange(operation, object, message, NLM_F_ACK, |answer| found = Some(answer))?;
        Ok(found)
    }

    /// Reads a whole table, again when it changed meanwhile.
    pub(crate) fn dump(
        &mut self,
        operation: &'static str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let mut rows = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            rows.clear();
            if self.exchange(operation, "", message.clone(), NLM_F_DUMP, |row| rows.push(row))? {
                break;
            }
        }
        Ok(rows)
    }

    /// True when what was read is one consistent table.
    fn exchange(
        &mut self,
        operation: &'static str,
        object: &str,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<bool> {
        let failed = |source: io::Error| Error::Request { operation, object: object.to_owned(), source };
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut buffer = vec![0; request.buffer_len()];
        request.serialize(&mut buffer);
        self.socket.send(&buffer, 0).map_err(failed)?;
        let mut consistent = true;
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(failed)?;
            let mut rest = datagram.as_slice();
            while rest.len() >= 16 {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|source| Error::Answer { operation, object: object.to_owned(), source })?;
                let length = (answer.header.length as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                consistent &= answer.header.flags & NLM_F_DUMP_INTR == 0;
                match answer.payload {
                    NetlinkPayload::InnerMessage(row) => each(row),
                    NetlinkPayload::Done(_) => return Ok(consistent),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(consistent),
                            Some(_) => Err(failed(error.to_io())),
                        };
                    }
                    _ => {}
                }
            }
        }
    }
}
