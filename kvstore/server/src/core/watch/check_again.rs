//! Permissions changed: watches that are not for their owners any more end. etcd lets them go on for ever.

use super::{Hub, StreamId};
use crate::{
    core::{auth::Caller, encode::Header, failure::Failure, span::Span},
    pb::etcdserverpb as pb,
};

// === impl Hub ===

impl Hub {
    /// Asks for each watch whether it is still permitted. What was published before was.
    pub(crate) fn check_again(&mut self, header: Header, permitted: impl Fn(&Caller, &Span) -> Result<(), Failure>) {
        let mut over: Vec<(StreamId, i64, Failure)> = Vec::new();
        for (stream, row) in &self.streams {
            for (id, watch) in &row.watches {
                let span = &self.groups[watch.group as usize].spec.span;
                if let Err(failure) = permitted(&row.caller, span) {
                    over.push((*stream, *id, failure));
                }
            }
        }
        over.sort_unstable_by_key(|(stream, id, _)| (*stream, *id));
        for (stream, id, failure) in over {
            self.forget(stream, id);
            self.say(
                stream,
                id,
                pb::WatchResponse {
                    canceled: true,
                    cancel_reason: failure.reason(),
                    header: Some(header.message()),
                    ..Default::default()
                },
            );
            self.answer_progress(stream, header);
        }
    }
}
