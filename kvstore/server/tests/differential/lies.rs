//! The test's own test: answers with one field changed, which the comparison must notice.

use kvstore_server::pb::{
    etcdserverpb::{RangeResponse, ResponseHeader, TxnResponse, response_op::Response},
    mvccpb::KeyValue,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    answer::Answer,
    stream::{Log, Said},
};

/// Changes one field in one of so many answers.
pub(crate) struct Liar {
    rng: StdRng,
    one_in: u32,
    /// What was changed, in order.
    pub(crate) told: Vec<&'static str>,
}

/// A field of an answer that can be changed.
type Lie<'a> = (&'static str, Box<dyn FnOnce() + 'a>);

// === impl Liar ===

impl Liar {
    pub(crate) fn new(seed: u64, one_in: u32) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), one_in, told: Vec::new() }
    }

    pub(crate) fn answer(&mut self, answer: &mut Answer) {
        if self.rng.random_ratio(1, self.one_in) {
            self.tell(fields(answer));
        }
    }

    /// A stream's events are one answer.
    pub(crate) fn log(&mut self, log: &mut Log) {
        if log.values().any(|said| !said.is_empty()) && self.rng.random_ratio(1, self.one_in) {
            let said: Vec<&mut Vec<Said>> = log.values_mut().filter(|said| !said.is_empty()).collect();
            let which = self.rng.random_range(0..said.len());
            let said = said.into_iter().nth(which).expect("it is one of them");
            let at = self.rng.random_range(0..said.len());
            self.tell(spoken(said, at));
        }
    }

    fn tell(&mut self, mut fields: Vec<Lie<'_>>) {
        if !fields.is_empty() {
            let (name, change) = fields.swap_remove(self.rng.random_range(0..fields.len()));
            change();
            self.told.push(name);
        }
    }
}

fn fields(answer: &mut Answer) -> Vec<Lie<'_>> {
    match answer {
        Answer::Range(range) => in_range(range),
        Answer::Put(put) => {
            let mut fields = in_header(&mut put.header);
            fields.extend(put.prev_kv.iter_mut().flat_map(in_kv));
            fields
        }
        Answer::DeleteRange(delete) => {
            let mut fields = in_header(&mut delete.header);
            fields.push(("deleted", Box::new(|| delete.deleted += 1)));
            fields.extend(delete.prev_kvs.iter_mut().flat_map(in_kv));
            fields
        }
        Answer::Txn(txn) => in_txn(txn),
        Answer::Compact(response) => in_header(&mut response.header),
        Answer::Grant(grant) => {
            let mut fields = in_header(&mut grant.header);
            fields.push(("lease id", Box::new(|| grant.id += 1)));
            fields.push(("granted TTL", Box::new(|| grant.ttl += 1)));
            fields
        }
        Answer::Revoke(response) => in_header(&mut response.header),
        Answer::KeepAlive(responses) => vec![("a response more or less", Box::new(|| responses.truncate(0)))],
        Answer::TimeToLive(response) => {
            let mut fields = in_header(&mut response.header);
            fields.push(("granted TTL", Box::new(|| response.granted_ttl += 1)));
            fields.push(("keys", Box::new(|| response.keys.push("more".into()))));
            fields
        }
        Answer::Leases(response) => vec![("leases", Box::new(|| response.leases.push(Default::default())))],
        Answer::Members(response) => vec![("members", Box::new(|| response.members.push(Default::default())))],
        Answer::Status(status) => {
            let mut fields = in_header(&mut status.header);
            fields.push(("learner", Box::new(|| status.is_learner = !status.is_learner)));
            fields.push(("errors", Box::new(|| status.errors.push("one".to_owned()))));
            fields
        }
        Answer::Alarm(response) => vec![("alarms", Box::new(|| response.alarms.push(Default::default())))],
        Answer::Defragment(response) => vec![("header", Box::new(|| response.header = Some(Default::default())))],
        Answer::Hash(response) => in_header(&mut response.header),
        Answer::HashKV(response) => {
            let mut fields = in_header(&mut response.header);
            fields.push(("hash revision", Box::new(|| response.hash_revision += 1)));
            fields.push(("compact revision", Box::new(|| response.compact_revision += 1)));
            fields
        }
        Answer::Done(response) => in_header(&mut response.header),
        Answer::Token(response) => in_header(&mut response.header),
        Answer::AuthStatus(response) => {
            vec![
                ("enabled", Box::new(|| response.enabled = !response.enabled)),
                ("auth revision", Box::new(|| response.auth_revision += 1)),
            ]
        }
        Answer::Names(response) => vec![("names", Box::new(|| response.users.push("one".to_owned())))],
        Answer::Role(response) => vec![("permissions", Box::new(|| response.perm.push(Default::default())))],
        Answer::Refused { code, message } => {
            vec![("code", Box::new(|| *code += 1)), ("message", Box::new(|| message.push('.')))]
        }
        Answer::Watch | Answer::Silence => Vec::new(),
    }
}

fn in_header(header: &mut Option<ResponseHeader>) -> Vec<Lie<'_>> {
    match header {
        Some(header) => vec![("header revision", Box::new(|| header.revision -= 1))],
        None => Vec::new(),
    }
}

fn in_kv(kv: &mut KeyValue) -> Vec<Lie<'_>> {
    let KeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
    vec![
        ("key", Box::new(|| *key = [key, &b"!"[..]].concat().into())),
        ("create revision", Box::new(|| *create_revision += 1)),
        ("mod revision", Box::new(|| *mod_revision += 1)),
        ("version", Box::new(|| *version += 1)),
        ("value", Box::new(|| *value = [value, &b"!"[..]].concat().into())),
        ("lease", Box::new(|| *lease += 1)),
    ]
}

fn in_range(range: &mut RangeResponse) -> Vec<Lie<'_>> {
    let mut fields = in_header(&mut range.header);
    let (more, count) = (&mut range.more, &mut range.count);
    fields.push(("more", Box::new(|| *more = !*more)));
    fields.push(("count", Box::new(|| *count += 1)));
    fields.extend(range.kvs.iter_mut().flat_map(in_kv));
    fields
}

fn in_txn(txn: &mut TxnResponse) -> Vec<Lie<'_>> {
    let mut fields = in_header(&mut txn.header);
    let succeeded = &mut txn.succeeded;
    fields.push(("succeeded", Box::new(|| *succeeded = !*succeeded)));
    for op in txn.responses.iter_mut().filter_map(|op| op.response.as_mut()) {
        match op {
            Response::ResponseRange(range) => fields.extend(in_range(range)),
            Response::ResponsePut(put) => fields.extend(in_header(&mut put.header)),
            Response::ResponseDeleteRange(delete) => {
                fields.push(("deleted", Box::new(|| delete.deleted += 1)));
            }
            Response::ResponseTxn(txn) => fields.extend(in_txn(txn)),
        }
    }
    fields
}

/// Changes to what a watch said, at this place.
fn spoken(said: &mut Vec<Said>, at: usize) -> Vec<Lie<'_>> {
    let changed: Lie<'_> = match &said[at] {
        Said::Event(event) if event.kv.is_some() => (
            "event",
            Box::new(move || {
                if let Said::Event(event) = &mut said[at] {
                    event.kv.iter_mut().for_each(|kv| kv.mod_revision += 1);
                }
            }),
        ),
        _ => ("a control response less", Box::new(move || drop(said.remove(at)))),
    };
    vec![changed]
}
