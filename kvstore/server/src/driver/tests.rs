//! The driver on a disk that fails: what it acknowledged is there afterwards, whatever happened.

mod crashes;
mod full;
mod stopping;

use std::{path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use bytes::Bytes;
use prost::Message;
use runtime::Tasks;

use super::{AutoCompaction, Desk, Driver, Recovered, Stopped, desk::Answered, recover};
use crate::{
    core::{Answer, Caller, Failure, Limits, Request},
    disk::{Identity, WalOptions, fake::FaultyFiles},
    driver::RecoverError,
    pb::etcdserverpb::{self as pb, alarm_request::AlarmAction},
    status::Shared,
};

const LIMITS: Limits = Limits {
    max_request_bytes: 1 << 20,
    max_txn_ops: 128,
    quota_bytes: 1 << 30,
    notify_every: Duration::from_secs(600),
};

/// Small: rolling, checkpoints and their release are the rule, not the exception.
const SEGMENT: u64 = 32 << 10;

/// A store at work on a thread, without an edge.
struct Running {
    desk: Arc<Desk>,
    driver: JoinHandle<Result<(), Stopped>>,
}

/// An answer that is on its way.
struct Asked(Answered);

// === impl Running ===

impl Running {
    /// # Errors
    /// When the directory cannot be recovered, or the store ends before it leads.
    fn start(fake: &FaultyFiles) -> Result<Self, String> {
        let (driver, shared) = driver(fake).map_err(|error| error.to_string())?;
        let desk = driver.desk.clone();
        let driver = std::thread::spawn(move || driver.run());
        while !shared.has_leader() {
            if driver.is_finished() {
                return Err(format!("{:?}", driver.join().unwrap()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(Self { desk, driver })
    }

    fn send(&self, request: Request) -> Asked {
        Asked(self.desk.ask(Caller::Nobody, request, None))
    }

    fn ask(&self, request: Request) -> Answer {
        self.send(request).wait()
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        self.ask(put(key, value, 0)).map(drop)
    }

    /// All keys with their values, read as clients read.
    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let range = pb::RangeRequest { key: text("\0"), range_end: text("\0"), ..Default::default() };
        let answer = pb::RangeResponse::decode(self.ask(Request::Range(range)).unwrap()).unwrap();
        let kvs = answer.kvs.iter();
        kvs.map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.value.to_vec())).collect()
    }

    /// The kinds of alarms that are raised.
    fn alarm(&self, action: AlarmAction) -> Vec<pb::AlarmType> {
        let alarm = pb::AlarmRequest { action: action as i32, member_id: IDENTITY.member_id, alarm: 0 };
        let alarm = pb::AlarmRequest { alarm: if action == AlarmAction::Get { 0 } else { 1 }, ..alarm };
        let raw = alarm.encode_to_vec().into();
        let answer = pb::AlarmResponse::decode(self.ask(Request::Alarm(alarm, raw)).unwrap()).unwrap();
        answer.alarms.iter().map(pb::AlarmMember::alarm).collect()
    }

    fn stop(self) -> Result<(), Stopped> {
        self.desk.stop();
        self.ended()
    }

    /// Waits until it ended by itself.
    fn ended(self) -> Result<(), Stopped> {
        self.driver.join().unwrap()
    }
}

// === impl Asked ===

impl Asked {
    fn wait(self) -> Answer {
        match self.0 {
            Answered::Now(answer) => answer,
            Answered::Later(answer) => answer.blocking_recv().unwrap_or(Err(Failure::Stopped)),
        }
    }
}

const IDENTITY: Identity = Identity { cluster_id: 7, member_id: 1 };

/// A driver that nobody runs yet.
fn driver(fake: &FaultyFiles) -> Result<(Driver, Arc<Shared>), RecoverError> {
    let options = WalOptions { segment_bytes: SEGMENT, ..WalOptions::default() };
    driver_with(fake, options)
}

fn driver_with(fake: &FaultyFiles, options: WalOptions) -> Result<(Driver, Arc<Shared>), RecoverError> {
    let recovered: Recovered = recover((fake.shared(), Path::new("/data")), options, LIMITS, || IDENTITY)?;
    let shared = Arc::new(Shared::new(pb::Member::default(), LIMITS.max_request_bytes, Tasks::default()));
    Ok((Driver::new(recovered, AutoCompaction::Off, shared.clone()), shared))
}

fn put(key: &str, value: &[u8], lease: i64) -> Request {
    let put = pb::PutRequest { key: text(key), value: Bytes::copy_from_slice(value), lease, ..Default::default() };
    let raw = put.encode_to_vec().into();
    Request::Put(put, raw)
}

fn delete(key: &str) -> Request {
    let delete = pb::DeleteRangeRequest { key: text(key), ..Default::default() };
    let raw = delete.encode_to_vec().into();
    Request::DeleteRange(delete, raw)
}

fn compact(revision: i64) -> Request {
    let compact = pb::CompactionRequest { revision, physical: false };
    let raw = compact.encode_to_vec().into();
    Request::Compact(compact, raw)
}

fn grant(id: i64, ttl_secs: i64) -> Request {
    let raw = pb::LeaseGrantRequest { ttl: ttl_secs, id }.encode_to_vec().into();
    Request::LeaseGrant { id, ttl_secs, raw }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
