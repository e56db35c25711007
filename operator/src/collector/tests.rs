use super::*;

const RANGE: RangeInclusive<u32> = 131_072..=196_607;

fn unused(number: u32, labels: &str, mod_revision: i64) -> Unused {
    Unused { number: NumericIdentity::new(number), labels: labels.to_owned(), mod_revision }
}

fn found(revision: i64, masters: &[Unused], used: &[&str]) -> Option<Found> {
    let header = Header { cluster_id: 1, revision };
    let used = used.iter().chain(&["k8s:somebody=;"]).map(|labels| (*labels).to_owned()).collect();
    Some(Found { header, masters: masters.to_vec(), used })
}

struct Bench {
    core: Collector,
    now: Instant,
}

impl Bench {
    fn new(pace: Pace) -> Self {
        let now = Instant::now();
        Self { core: Collector::new(now, RANGE, pace), now }
    }

    /// A round, when it is due, and the numbers that it lets go.
    fn round(&mut self, found: Option<Found>) -> Vec<u32> {
        self.now = self.now.max(self.core.poll_timeout());
        assert_eq!(self.core.poll_effect(self.now), Some(Effect::Look));
        self.core.handle_round(self.now, found);
        self.collects()
    }

    fn collects(&mut self) -> Vec<u32> {
        let mut numbers = Vec::new();
        while let Some(Effect::Collect(unused)) = self.core.poll_effect(self.now) {
            numbers.push(unused.number.get());
        }
        numbers
    }
}

#[test]
fn a_number_goes_when_two_rounds_found_it_unused_and_unchanged() {
    let mut bench = Bench::new(Pace::default());
    let (a, b, c) = (unused(131_073, "k8s:a=;", 5), unused(131_074, "k8s:b=;", 6), unused(131_075, "k8s:c=;", 7));
    let all = [a.clone(), b.clone(), c.clone()];
    assert_eq!(bench.round(found(10, &all, &["k8s:b=;"])), [] as [u32; 0], "the first round only marks");
    let started = bench.now;
    let touched = [a.clone(), b, unused(131_075, "k8s:c=;", 11)];
    assert_eq!(bench.round(found(12, &touched, &[])), [131_073], "b had a user before, c was put again");
    assert_eq!(bench.now - started, Duration::from_secs(900));
    bench.core.handle_outcome(a.number, Outcome::Collected);
    assert_eq!(bench.core.stats(), Stats { alive: 2, deleted: 1 });
    assert_eq!(bench.round(found(13, &touched[1..], &[])), [131_074, 131_075]);
}

#[test]
fn what_is_not_ours_to_give_is_not_ours_to_take() {
    let mut bench = Bench::new(Pace::default());
    let foreign = [unused(65_537, "k8s:a=;", 5), unused(196_608, "k8s:b=;", 5), unused(7, "k8s:c=;", 5)];
    for revision in 10..13 {
        assert_eq!(bench.round(found(revision, &foreign, &[])), [] as [u32; 0]);
    }
    assert_eq!(bench.core.stats().alive, 0);
}

#[test]
fn that_nobody_uses_any_number_proves_nothing() {
    let mut bench = Bench::new(Pace::default());
    let all = [unused(131_073, "k8s:a=;", 5)];
    for revision in 10..14 {
        let nobody = found(revision, &all, &[]).map(|found| Found { used: BTreeSet::new(), ..found });
        assert_eq!(bench.round(nobody), [] as [u32; 0]);
    }
    assert_eq!(bench.round(found(14, &all, &[])), [] as [u32; 0], "nothing was marked");
    assert_eq!(bench.round(found(15, &all, &[])), [131_073]);
}

/// A wiped store that was refilled shows numbers with the revisions that another store gave them.
#[test]
fn marks_of_another_store_do_not_count() {
    let mut bench = Bench::new(Pace::default());
    let all = [unused(131_073, "k8s:a=;", 5)];
    assert_eq!(bench.round(found(100, &all, &[])), [] as [u32; 0]);
    assert_eq!(bench.round(found(50, &all, &[])), [] as [u32; 0], "the store went back");
    let other =
        |revision| found(revision, &all, &[]).map(|f| Found { header: Header { cluster_id: 2, revision }, ..f });
    assert_eq!(bench.round(other(60)), [] as [u32; 0], "the store is another one");
    assert_eq!(bench.round(other(61)), [131_073]);
}

#[test]
fn a_store_that_does_not_answer_costs_a_round_and_no_number() {
    let mut bench = Bench::new(Pace::default());
    let all = [unused(131_073, "k8s:a=;", 5)];
    bench.round(found(10, &all, &[]));
    assert_eq!(bench.round(None), [] as [u32; 0]);
    assert_eq!(bench.round(found(11, &all, &[])), [131_073], "its mark still stands");
    bench.core.handle_outcome(all[0].number, Outcome::Failed);
    assert_eq!(bench.round(found(12, &all, &[])), [131_073]);
    bench.core.handle_outcome(all[0].number, Outcome::Kept);
    assert_eq!(bench.round(found(13, &all, &[])), [] as [u32; 0], "marked afresh");
}

#[test]
fn numbers_go_at_the_rate() {
    let mut bench = Bench::new(Pace { rate_limit: 10, ..Pace::default() });
    let all: Vec<Unused> = (0..25).map(|n| unused(131_073 + n, &format!("k8s:a={n};"), 5)).collect();
    bench.round(found(10, &all, &[]));
    assert_eq!(bench.round(found(11, &all, &[])).len(), 10);
    let timeout = bench.core.poll_timeout();
    assert_eq!((timeout - bench.now).as_secs_f64().round(), 6.0, "a tenth of a minute for each");
    bench.now = timeout + Duration::from_millis(1);
    assert_eq!(bench.collects().len(), 1);
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.collects().len(), 10);
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.collects().len(), 4);
}
