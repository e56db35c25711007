//! An open watch on etcd.

use bytes::Bytes;
use etcd_client::{EventType, WatchResponse, WatchStream as Stream};

use super::convert;
use crate::{Cause, Error, Header, KeyEvent, KeyValue, LeaseId, Operation, Pending, WatchBatch, WatchStream};

pub(super) struct EtcdWatch {
    stream: Stream,
    key: Bytes,
}

// === impl EtcdWatch ===

impl EtcdWatch {
    pub(super) fn new(stream: Stream, key: Bytes) -> Self {
        Self { stream, key }
    }

    fn batch(response: &WatchResponse) -> Result<WatchBatch, Cause> {
        if response.compact_revision() > 0 {
            return Err(Cause::Compacted(response.compact_revision()));
        }
        if response.canceled() {
            return Err(Cause::WatchEnded(response.cancel_reason().to_owned()));
        }
        let header = response.header().ok_or(Cause::NoHeader)?;
        let header = Header { cluster_id: header.cluster_id(), revision: header.revision() };
        let events = response.events().iter().filter_map(|event| {
            let kv = event.kv()?;
            let key = convert::bytes(kv.key());
            Some(match event.event_type() {
                EventType::Delete => KeyEvent::Delete { key, revision: kv.mod_revision() },
                EventType::Put => KeyEvent::Put(KeyValue {
                    key,
                    value: convert::bytes(kv.value()),
                    create_revision: kv.create_revision(),
                    mod_revision: kv.mod_revision(),
                    version: kv.version(),
                    lease: (kv.lease() != 0).then_some(LeaseId(kv.lease())),
                }),
            })
        });
        Ok(WatchBatch { header, events: events.collect() })
    }
}

impl WatchStream for EtcdWatch {
    fn next(&mut self) -> Pending<'_, WatchBatch> {
        Box::pin(async move {
            let answer = match self.stream.message().await {
                Ok(Some(response)) => Self::batch(&response),
                Ok(None) => Err(Cause::WatchEnded("the stream was closed".to_owned())),
                Err(error) => Err(convert::cause(error)),
            };
            answer.map_err(|cause| Error::new(Operation::Watch, &self.key, cause))
        })
    }
}
