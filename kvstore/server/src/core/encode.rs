//! Hand-made protobuf for what is sent most: keys and events go from the store's memory into the message at once.
//!
//! Field numbers are those of `proto/kv.proto` and `proto/rpc.proto`; a test compares with the generated messages.

use bytes::{BufMut, Bytes, BytesMut};

use super::store::Kv;

const VARINT: u8 = 0;
const BYTES: u8 = 2;

/// What is on every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
    pub(crate) revision: i64,
    pub(crate) term: u64,
}

pub(crate) fn varint(buf: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buf.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buf.put_u8(value as u8);
}

pub(crate) fn varint_len(value: u64) -> usize {
    ((u64::BITS - (value | 1).leading_zeros()) as usize).div_ceil(7)
}

/// A number, unless it is 0.
pub(crate) fn number(buf: &mut BytesMut, field: u8, value: u64) {
    if value != 0 {
        buf.put_u8(field << 3 | VARINT);
        varint(buf, value);
    }
}

fn number_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

fn piece(buf: &mut BytesMut, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        begin(buf, field, bytes.len());
        buf.put_slice(bytes);
    }
}

fn piece_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { nested_len(bytes.len()) }
}

/// The head of a nested message or a byte string.
pub(crate) fn begin(buf: &mut BytesMut, field: u8, len: usize) {
    buf.put_u8(field << 3 | BYTES);
    varint(buf, len as u64);
}

fn nested_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

// === impl Header ===

impl Header {
    fn len(&self) -> usize {
        number_len(self.cluster) + number_len(self.member) + number_len(self.revision as u64) + number_len(self.term)
    }

    /// As field 1, which it is in every answer.
    pub(crate) fn put(&self, buf: &mut BytesMut) {
        begin(buf, 1, self.len());
        number(buf, 1, self.cluster);
        number(buf, 2, self.member);
        number(buf, 3, self.revision as u64);
        number(buf, 4, self.term);
    }

    pub(crate) fn message(&self) -> crate::pb::etcdserverpb::ResponseHeader {
        crate::pb::etcdserverpb::ResponseHeader {
            cluster_id: self.cluster,
            member_id: self.member,
            revision: self.revision,
            raft_term: self.term,
        }
    }
}

// === impl Kv ===

impl Kv<'_> {
    fn encoded_len(&self) -> usize {
        piece_len(self.key)
            + number_len(self.created as u64)
            + number_len(self.modified as u64)
            + number_len(self.version as u64)
            + piece_len(self.value)
            + number_len(self.lease as u64)
    }

    /// As a nested message.
    pub(crate) fn put(&self, buf: &mut BytesMut, field: u8) {
        begin(buf, field, self.encoded_len());
        piece(buf, 1, self.key);
        number(buf, 2, self.created as u64);
        number(buf, 3, self.modified as u64);
        number(buf, 4, self.version as u64);
        piece(buf, 5, self.value);
        number(buf, 6, self.lease as u64);
    }

    pub(crate) fn message(&self) -> crate::pb::mvccpb::KeyValue {
        crate::pb::mvccpb::KeyValue {
            key: Bytes::copy_from_slice(self.key),
            create_revision: self.created,
            mod_revision: self.modified,
            version: self.version,
            value: Bytes::copy_from_slice(self.value),
            lease: self.lease,
        }
    }
}

/// An event as field 11, which it is in a watch response. A version of 0 is a deletion.
pub(crate) fn event(buf: &mut BytesMut, kv: &Kv, before: Option<&Kv>) {
    let deleted = u64::from(kv.version == 0);
    let before_len = before.map_or(0, |before| nested_len(before.encoded_len()));
    begin(buf, 11, number_len(deleted) + nested_len(kv.encoded_len()) + before_len);
    number(buf, 1, deleted);
    kv.put(buf, 2);
    if let Some(before) = before {
        before.put(buf, 3);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::pb::{etcdserverpb, mvccpb};

    #[test]
    fn bytes_are_those_of_the_generated_messages() {
        let long = vec![7; 300];
        let kvs = [
            Kv { key: b"k", value: b"", created: 1, modified: 1, version: 1, lease: 0 },
            Kv { key: b"key", value: &long, created: 300, modified: i64::MAX, version: 1 << 40, lease: -5 },
            Kv { key: b"gone", value: b"", created: 0, modified: 9, version: 0, lease: 0 },
        ];
        let header = Header { cluster: u64::MAX, member: 3, revision: 77, term: 2 };
        let mut buf = BytesMut::new();
        header.put(&mut buf);
        kvs.iter().for_each(|kv| event(&mut buf, kv, Some(&kvs[1])));
        let events = kvs
            .iter()
            .map(|kv| mvccpb::Event {
                r#type: i32::from(kv.version == 0),
                kv: Some(kv.message()),
                prev_kv: Some(kvs[1].message()),
            })
            .collect();
        let wanted = etcdserverpb::WatchResponse { header: Some(header.message()), events, ..Default::default() };
        assert_eq!(buf, wanted.encode_to_vec());
    }
}
