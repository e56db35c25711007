//! Messages as bytes: a request is decoded where its raw form is still at hand, and an answer was encoded by the core.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::core::varint;

/// Most answers are small; the buffer grows when one is not.
const BUFFER_BYTES: usize = 512;
/// What is ready is sent together up to here.
const FLUSH_BYTES: usize = 32 << 10;
/// Field 2 of a watch response, a varint.
const WATCH_ID: u8 = 2 << 3;

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Whole(Bytes),
    /// A watch response whose body is shared: the watch's number goes before it.
    Watch {
        id: i64,
        body: Bytes,
    },
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Raw;

impl Codec for Raw {
    type Encode = Message;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Message;
    type Error = Status;

    fn encode(&mut self, message: Message, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match message {
            Message::Whole(bytes) => buf.put(bytes),
            Message::Watch { id, body } => {
                if id != 0 {
                    let mut head = BytesMut::with_capacity(11);
                    head.put_u8(WATCH_ID);
                    varint(&mut head, id as u64);
                    buf.put_slice(&head);
                }
                buf.put_slice(&body);
            }
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, FLUSH_BYTES)
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, FLUSH_BYTES)
    }
}
