//! Both at once: four of Cilium's allocators and four of ours on one store, over the same 2,000 label sets, while writers
//! are killed, leases revoked and garbage collected. Of the violations in the store's history none may be by a write of
//! ours; Cilium's are listed beside those of a run with two Cilium sides. And each side's locks keep the other out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::Rng;
use testbed::{Bed, Binaries, Process, StoreKind, wait_until};

use super::fleet;
use super::history::{self, Side, Violation};
use super::peer::{self, Peer};

const WRITERS: usize = 4;
const SETS: u16 = 2000;
/// How long they race, and how long when time is short.
const RACE: Duration = Duration::from_secs(90);
const SHORT: Duration = Duration::from_secs(12);
/// How our writers' addresses begin in the store.
const OURS: &str = "172.21.";
/// How many of a side's violations are shown with what led to them.
const SHOWN: usize = 5;
/// Between two blows.
const BLOW: Duration = Duration::from_millis(700);

#[test]
fn no_write_of_ours_breaks_a_rule_of_identities_beside_ciliums() {
    let test = "no_write_of_ours_breaks_a_rule_of_identities_beside_ciliums";
    let Some(_machine) = crate::machine(test) else { return };
    if peer::binary(test, "interop-cilium").is_none() {
        return;
    }
    let full = std::env::var_os("CAUSEWAY_INTEROP").is_some();
    let time = if full { RACE } else { SHORT };
    if !full {
        println!("{test}: ran {} of {} s, without the control run", SHORT.as_secs(), RACE.as_secs());
    }
    for kind in fleet::kinds(test) {
        let Raced { writes, violations, said } = raced(kind, WRITERS, time).expect("both sides race");
        println!("{kind}: {WRITERS} of ours and {WRITERS} of Cilium's: {said}");
        let (ours, theirs): (Vec<_>, Vec<_>) = violations.iter().partition(|found| found.side == Side::Ours);
        if full {
            let Raced { writes, violations: control, said } = raced(kind, 0, time).expect("two Cilium sides race");
            println!("{kind}: control, {} of Cilium's: {said}", 2 * WRITERS);
            println!("{kind}: violations by Cilium's writes: {} beside ours, {} alone", theirs.len(), control.len());
            control.iter().take(SHOWN).for_each(|found| show("alone", found, &writes));
        }
        theirs.iter().take(SHOWN).for_each(|found| show("beside ours", found, &writes));
        assert!(ours.is_empty(), "{} by our writes: {:#?}", ours.len(), &ours[..ours.len().min(5)]);
    }
}

/// With what led to it.
fn show(beside: &str, found: &Violation, writes: &[history::Write]) {
    println!("{beside}: {found}");
    history::trail(writes, found).iter().for_each(|line| println!("    {line}"));
}

#[test]
fn each_sides_locks_keep_the_other_out() {
    let test = "each_sides_locks_keep_the_other_out";
    let Some(_machine) = crate::machine(test) else { return };
    if peer::binary(test, "interop-cilium").is_none() {
        return;
    }
    // A matter of seconds on either.
    for kind in [StoreKind::Etcd, StoreKind::Embedded] {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut stage = Stage::set(kind, folder.path(), true).expect("a store comes up");
        let said = stage.locks().expect("locks exclude");
        println!("{kind}: {said}");
    }
}

struct Stage {
    bed: Bed,
}

/// A writer of either side.
enum Writer {
    Ours(usize, Process),
    Cilium(usize, Peer),
}

/// What a race left behind.
struct Raced {
    writes: Vec<history::Write>,
    violations: Vec<Violation>,
    said: String,
}

fn raced(kind: StoreKind, ours: usize, time: Duration) -> Result<Raced> {
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let mut stage = Stage::set(kind, folder.path(), false)?;
    stage.race(ours, time)
}

impl Stage {
    fn set(kind: StoreKind, folder: &std::path::Path, whole: bool) -> Result<Self> {
        let mut plan = fleet::plan(kind, folder, &["east"]);
        if !whole {
            plan.clusters.iter_mut().for_each(|cluster| cluster.nodes.clear());
        }
        Ok(Self { bed: Bed::up(plan, Binaries::beside_us()?, &crate::ledger(folder), |_| ())? })
    }

    fn cilium(&self, number: usize) -> Result<Peer> {
        let flags = [
            "-cluster=east".to_owned(),
            "-id=1".to_owned(),
            format!("-number={number}"),
            format!("-endpoint={}", self.bed.stores["east"].endpoint),
        ];
        Peer::start(&self.bed.cluster("east")?.store_netns, "race", &flags)
    }

    fn ours(&mut self, number: usize, pods: usize, churn: Option<u16>) -> Result<Process> {
        let program = self.bed.binaries.causeway.with_file_name("examples").join("fleet");
        let mut words = vec![
            program.display().to_string(),
            "--nodes=1".to_owned(),
            format!("--first={number}"),
            format!("--pods={pods}"),
            format!("--dir={}", self.bed.plan.dir.join("racers").display()),
            "--cluster-name=east".to_owned(),
            "--cluster-id=1".to_owned(),
            format!("--kvstore-opt=etcd.address={},etcd.qps=10000", self.bed.stores["east"].endpoint),
        ];
        words.extend(churn.map(|sets| format!("--churn={sets}")));
        let log = self.bed.plan.dir.join(format!("racer-{number}.log"));
        let netns = self.bed.cluster("east")?.store_netns.clone();
        self.bed.spawn(&format!("racer {number}"), &netns, &log, &words)
    }

    fn start(&mut self, number: usize, ours: usize) -> Result<Writer> {
        if number <= ours {
            return Ok(Writer::Ours(number, self.ours(number, 30, Some(SETS))?));
        }
        let mut peer = self.cilium(number)?;
        peer.tell(&churn())?;
        Ok(Writer::Cilium(number, peer))
    }

    /// Our operator, which looks for unused numbers without rest.
    fn our_collector(&mut self) -> Result<Process> {
        let words = [
            self.bed.binaries.causeway.display().to_string(),
            "operator".to_owned(),
            "--cluster-name=east".to_owned(),
            "--cluster-id=1".to_owned(),
            "--identity-gc-interval=1s".to_owned(),
            format!("--kvstore-opt=etcd.address={},etcd.qps=10000", self.bed.stores["east"].endpoint),
        ];
        let log = self.bed.plan.dir.join("collector.log");
        let netns = self.bed.cluster("east")?.store_netns.clone();
        self.bed.spawn("our collector", &netns, &log, &words)
    }

    fn race(&mut self, ours: usize, time: Duration) -> Result<Raced> {
        let mut ours_collects = (ours > 0).then(|| self.our_collector()).transpose()?;
        let mut writers = Vec::new();
        for number in 1..=2 * WRITERS {
            writers.push(self.start(number, ours)?);
        }
        let mut collector = self.cilium(99)?;
        collector.tell("collect")?;
        let (mut kills, mut revoked, mut collected) = (0, 0, 0);
        let started = Instant::now();
        while started.elapsed() < time {
            std::thread::sleep(BLOW);
            if let Some(process) = &mut ours_collects {
                process.check()?;
            }
            for writer in &mut writers {
                match writer {
                    Writer::Ours(_, process) => process.check()?,
                    Writer::Cilium(_, peer) => {
                        if peer.answers_within(Duration::ZERO) {
                            peer.answer()?;
                            peer.tell(&churn())?;
                        }
                    }
                }
            }
            if rand::rng().random_range(0..3) == 0 {
                let at = rand::rng().random_range(0..writers.len());
                let number = match writers.swap_remove(at) {
                    Writer::Ours(number, mut process) => {
                        process.kill()?;
                        number
                    }
                    Writer::Cilium(number, _) => number,
                };
                writers.push(self.start(number, ours)?);
                kills += 1;
            } else {
                revoked += self.revoke_one()?;
            }
            if collector.answers_within(Duration::ZERO) {
                // Its own lock may have lost its lease: it then goes on in its next round.
                let said = collector.answer().unwrap_or_default();
                collected +=
                    said.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum::<usize>();
                collector.tell("collect")?;
            }
        }
        for writer in writers {
            if let Writer::Ours(_, mut process) = writer {
                process.kill()?;
            }
        }
        if let Some(mut process) = ours_collects {
            process.kill()?;
        }
        let writes = self.history()?;
        let (violations, totals) = history::judge(&writes, OURS);
        let none = BTreeMap::from([("Cilium's", 0)]);
        ensure!(totals.users_of != none && totals.writes > 500, "too little happened: {totals:?}");
        ensure!(ours == 0 || totals.users_of.get("ours").copied().unwrap_or(0) > 50, "ours did too little: {totals:?}");
        // Two rounds of each of ours, with as many seconds between them as a writer needs to leave something behind.
        let collects = totals.collected_by.get("ours").copied().unwrap_or(0);
        ensure!(ours == 0 || time < RACE || collects > 0, "our collector collected nothing: {totals:?}");
        let said = format!(
            "{} writes, {} label sets, {} numbers, uses {:?}, {kills} kills, {revoked} leases revoked, collected by {:?} \
             ({collected} told of by Cilium's), {} violations",
            totals.writes,
            totals.label_sets,
            totals.numbers,
            totals.users_of,
            totals.collected_by,
            violations.len()
        );
        Ok(Raced { writes, violations, said })
    }

    fn revoke_one(&self) -> Result<usize> {
        let store = &self.bed.stores["east"];
        let list = store.etcdctl(&["lease", "list"])?;
        let leases: Vec<&str> = list.lines().filter(|line| line.len() == 16 && !line.contains(' ')).collect();
        if leases.is_empty() {
            return Ok(0);
        }
        let lease = leases[rand::rng().random_range(0..leases.len())];
        // It may have gone by itself.
        Ok(usize::from(store.etcdctl(&["lease", "revoke", lease]).is_ok()))
    }

    fn history(&self) -> Result<Vec<history::Write>> {
        let (endpoint, netns) =
            (self.bed.stores["east"].endpoint.clone(), self.bed.cluster("east")?.store_netns.clone());
        let read = || -> Result<Vec<history::Write>> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut client = etcd_client::Client::connect([endpoint], None).await?;
                history::read(&mut client).await
            })
        };
        netlink::Namespace::open(&netns)?.enter(read)?
    }

    /// Cilium's lock on a label set holds our allocator up; our operator's lock on its leadership holds Cilium up.
    fn locks(&mut self) -> Result<String> {
        let mut cilium = self.cilium(1)?;
        let labels = "k8s:app=app-1;k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=demo;\
                      k8s:io.cilium.k8s.policy.cluster=east;k8s:io.cilium.k8s.policy.serviceaccount=sa-1;\
                      k8s:io.kubernetes.pod.namespace=demo;";
        let path = format!("cilium/state/identities/v1/locks/{labels}");
        cilium.ask(&format!("lock {path}"))?;
        let mut ours = self.ours(1, 1, None)?;
        let user = format!("cilium/state/identities/v1/value/{labels}/{OURS}1.1");
        std::thread::sleep(Duration::from_secs(3));
        ensure!(fleet::dump(&self.bed, "east", &user)?.is_empty(), "ours took a number under Cilium's lock");
        cilium.ask(&format!("unlock {path}"))?;
        let unlocked = Instant::now();
        wait_until("ours takes a number when Cilium lets go", Duration::from_secs(20), || {
            ensure!(!fleet::dump(&self.bed, "east", &user)?.is_empty(), "no {user}");
            Ok(())
        })?;
        let took = unlocked.elapsed();
        ours.kill()?;
        let leader = "causeway/v1/east/leader";
        let held = fleet::dump(&self.bed, "east", leader)?;
        ensure!(held.len() == 1, "our operator leads: {held:?}");
        cilium.tell(&format!("lock {leader}"))?;
        ensure!(!cilium.answers_within(Duration::from_secs(3)), "Cilium took the lock that our operator holds");
        let stopped = Instant::now();
        self.bed.operators.get_mut("east").context("an operator")?.stop()?;
        cilium.answer()?;
        Ok(format!(
            "Cilium's lock held ours up, which followed {:.1} s after it; ours held Cilium up, which followed {:.1} s after it",
            took.as_secs_f64(),
            stopped.elapsed().as_secs_f64()
        ))
    }
}

fn churn() -> String {
    format!("churn 40 {SETS}")
}
