//! Power cuts at random under load, against a model that applies what was asked.
//!
//! After each the store must hold all that was acknowledged, and beyond it at most what was on its way, in order: the
//! hash, the leases and the answers are those of a prefix. On a disk that lies about syncs the same rounds must fail.

use std::{collections::VecDeque, time::Instant};

use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Asked, FaultyFiles, Running, compact, delete, grant, put};
use crate::{
    core::{
        Failure, Request,
        auth::{By, Need},
        state::{State, Write},
    },
    pb::etcdserverpb as pb,
};

/// Power cuts of one directory.
const CUTS: usize = 12;
/// Requests on their way at once.
const IN_FLIGHT: usize = 8;
const KEYS: u32 = 60;

#[derive(Debug, Default)]
struct Statistics {
    acknowledged: usize,
    /// Not acknowledged, and there all the same.
    kept: usize,
    /// Cuts after which a checkpoint was there.
    checkpoints: usize,
}

/// What a store holds, as far as it is compared.
#[derive(Debug, PartialEq)]
struct Held {
    revision: i64,
    compacted: i64,
    hash: u32,
    leases: Vec<i64>,
}

// === impl Held ===

impl Held {
    fn by(store: &Running) -> Result<Self, Failure> {
        store.ask(Request::Barrier(Need::Nothing))?;
        let hash = pb::HashKvResponse::decode(store.ask(Request::HashKv { revision: 0 })?).unwrap();
        let leases = pb::LeaseLeasesResponse::decode(store.ask(Request::LeaseLeases)?).unwrap();
        let mut leases: Vec<i64> = leases.leases.iter().map(|lease| lease.id).collect();
        leases.sort_unstable();
        Ok(Self { revision: hash.header.unwrap().revision, compacted: hash.compact_revision, hash: hash.hash, leases })
    }

    fn by_model(model: &State) -> Self {
        let mut leases: Vec<i64> = model.leases.rows().map(|(id, _)| id).collect();
        leases.sort_unstable();
        Self { revision: model.store.revision(), compacted: model.store.compacted(), hash: model.hash(), leases }
    }
}

fn request(dice: &mut StdRng, model: &State) -> (Request, Write) {
    let key = format!("k{:02}", dice.random_range(0..KEYS));
    let request = match dice.random_range(0..100) {
        0..70 => put(&key, &vec![dice.random(); dice.random_range(0..1_500)], dice.random_range(0..3)),
        70..92 => delete(&key),
        92..94 => compact(model.store.revision() - dice.random_range(0..5)),
        94..98 => grant(dice.random_range(1..3), 10_000),
        _ => {
            let revoke = pb::LeaseRevokeRequest { id: dice.random_range(1..3) };
            Request::LeaseRevoke(revoke.id, revoke.encode_to_vec().into())
        }
    };
    let write = match &request {
        Request::Put(put, _) => Write::Put(put.clone()),
        Request::DeleteRange(delete, _) => Write::DeleteRange(delete.clone()),
        Request::Compact(compact, _) => Write::Compact(*compact),
        Request::LeaseGrant { id, ttl_secs, .. } => Write::LeaseGrant { id: *id, ttl_secs: *ttl_secs },
        Request::LeaseRevoke(id, _) => Write::LeaseRevoke(*id),
        other => unreachable!("{other:?} is not asked"),
    };
    (request, write)
}

/// Asks until the power is cut. What may have happened without being acknowledged is left in `waiting`.
fn load(
    store: &Running,
    model: &mut State,
    waiting: &mut VecDeque<(Write, Option<Asked>)>,
    dice: &mut StdRng,
) -> Result<usize, String> {
    let mut acknowledged = 0;
    loop {
        while waiting.len() < IN_FLIGHT {
            let (request, write) = request(dice, model);
            waiting.push_back((write, Some(store.send(request))));
        }
        let Some((write, asked)) = waiting.front_mut() else { return Ok(acknowledged) };
        let answer = asked.take().map_or(Err(Failure::Stopped), Asked::wait);
        if answer == Err(Failure::Stopped) {
            return Ok(acknowledged);
        }
        let expected = model.apply(Instant::now(), 1, &By::Nobody, write).map(drop);
        if answer.as_ref().map(drop) != expected.as_ref().map(drop) {
            return Err(format!("{write:?} was answered {answer:?}, and the model says {expected:?}"));
        }
        waiting.pop_front();
        acknowledged += 1;
    }
}

/// One directory from its creation through many cuts.
fn life(seed: u64, lies: bool) -> Result<Statistics, String> {
    let mut dice = StdRng::seed_from_u64(seed);
    let fake = FaultyFiles::new(seed);
    let mut model = State::new(7, 1);
    let mut statistics = Statistics::default();
    let mut waiting: VecDeque<(Write, Option<Asked>)> = VecDeque::new();
    for _ in 0..CUTS {
        let store = Running::start(&fake)?;
        if lies {
            fake.lie_about_syncs();
        }
        let held = Held::by(&store).map_err(|failure| failure.to_string())?;
        // Everything acknowledged is in the model; what was on its way is there up to some request, and no further.
        while Held::by_model(&model) != held {
            let Some((write, _)) = waiting.pop_front() else {
                return Err(format!("found {held:?}, acknowledged {:?}", Held::by_model(&model)));
            };
            // A refusal changes nothing.
            let _: Result<_, Failure> = model.apply(Instant::now(), 1, &By::Nobody, &write);
            statistics.kept += 1;
        }
        waiting.clear();
        fake.cut_power_after(dice.random_range(1..400));
        statistics.acknowledged += load(&store, &mut model, &mut waiting, &mut dice)?;
        if store.ended().is_ok() {
            return Err("the store went on without power".to_owned());
        }
        fake.crash();
        let names = fake.shared().list("/data/checkpoints".as_ref()).map_err(|error| error.to_string())?;
        statistics.checkpoints += usize::from(names.iter().any(|name| name.ends_with(".checkpoint")));
        if dice.random_bool(0.3) {
            // The next start is cut off as well.
            fake.cut_power_after(dice.random_range(0..20));
            if let Ok(store) = Running::start(&fake) {
                drop(store.stop());
            }
            fake.crash();
        }
    }
    Ok(statistics)
}

#[test]
fn power_cuts_under_load_lose_nothing_that_was_acknowledged() {
    let first: u64 = rand::random_range(0..1 << 32);
    let mut total = Statistics::default();
    for seed in first..first + 6 {
        let Statistics { acknowledged, kept, checkpoints } =
            life(seed, false).unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
        total.acknowledged += acknowledged;
        total.kept += kept;
        total.checkpoints += checkpoints;
    }
    println!("{} power cuts: {total:?}", 6 * CUTS);
    assert!(total.acknowledged > 2_000, "{total:?}");
    assert!(total.checkpoints > 10, "{total:?}");
}

#[test]
fn same_rounds_fail_on_a_disk_that_lies_about_syncs() {
    let caught = (0..6).filter(|seed| life(*seed, true).is_err()).count();
    assert!(caught >= 4, "{caught} of 6");
}
