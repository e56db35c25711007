//! Allocation, told by its effects.

use super::*;

struct Bench {
    core: Core,
    now: Instant,
}

fn labels(app: &str) -> Labels {
    format!("k8s:app={app}").split(',').map(|label| label.parse().unwrap()).collect()
}

const fn id(number: u32) -> NumericIdentity {
    NumericIdentity::new(number)
}

impl Bench {
    fn new(range: RangeInclusive<u32>) -> Self {
        Self { core: Core::new(range, 7), now: Instant::now() }
    }

    /// What is to be done, a word each, and the attempts.
    fn effects(&mut self) -> (String, Vec<Attempt>) {
        let mut attempts = Vec::new();
        let app = |labels: &Labels| labels.value(None, "app").unwrap_or("-").to_owned();
        let mut words = Vec::new();
        while let Some(effect) = self.core.poll_effect() {
            words.push(match effect {
                Effect::Try(attempt) => {
                    attempts.push(attempt.clone());
                    format!("try-{:?}-{}={}", attempt.mode, app(&attempt.labels), attempt.number)
                }
                Effect::Forget(labels) => format!("forget-{}", app(&labels)),
                Effect::Grant(labels, Grant::Identity(number)) => format!("grant-{}={number}", app(&labels)),
                Effect::Grant(labels, Grant::Failed(_)) => format!("failed-{}", app(&labels)),
                Effect::Withdraw(labels) => format!("withdraw-{}", app(&labels)),
            });
        }
        (words.join(" "), attempts)
    }

    #[track_caller]
    fn expect(&mut self, words: &str) -> Vec<Attempt> {
        let (found, attempts) = self.effects();
        assert_eq!(found, words);
        attempts
    }

    fn pass(&mut self, wait: Duration) {
        self.now += wait;
        self.core.handle_timeout(self.now);
    }
}

#[test]
fn new_number_is_granted_only_after_our_own_watch_shows_it() {
    let mut bench = Bench::new(300..=300);
    bench.core.handle_request(bench.now, labels("cart"));
    bench.expect("");
    bench.core.handle_synced(bench.now);
    let attempt = bench.expect("try-New-cart=300").remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.expect("");
    bench.core.handle_known(bench.now, id(300), labels("cart"), 10);
    bench.expect("grant-cart=300");
}

#[test]
fn known_labels_take_the_number_that_was_made_last() {
    // We took the oldest. Cilium's allocators take the one that their watch told of last, whoever uses which: a label set
    // with two numbers left behind had both in use.
    let mut bench = Bench::new(300..=400);
    bench.core.handle_known(bench.now, id(301), labels("cart"), 9);
    bench.core.handle_known(bench.now, id(399), labels("cart"), 5);
    bench.core.handle_known(bench.now, id(900), labels("cart"), 11);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    let attempt = bench.expect("try-Known-cart=301").remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.expect("grant-cart=301");
}

#[test]
fn a_number_in_use_stays_although_another_one_has_the_labels() {
    // Cilium leaves a number behind when the last user of its labels goes, and takes another for the next one; garbage
    // collection is late. We took one that nobody used, so that one label set had two numbers.
    let mut bench = Bench::new(300..=400);
    bench.core.handle_known(bench.now, id(301), labels("cart"), 5);
    bench.core.handle_known(bench.now, id(302), labels("cart"), 4);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    let attempt = bench.expect("try-Known-cart=301").remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Users(vec![(id(302), "other".into())]));
    let attempt = bench.expect("try-Known-cart=302").remove(0);
    assert_eq!(attempt.users, Users::All);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.expect("grant-cart=302");
    // Others have split meanwhile, and our key went with its lease: of what is in use the oldest counts.
    bench.core.handle_doubt(bench.now, &labels("cart"));
    let attempt = bench.expect("try-Known-cart=302").remove(0);
    let split = vec![(id(302), "other".into()), (id(301), "third".into())];
    bench.core.handle_outcome(bench.now, attempt, Outcome::Users(split));
    let attempt = bench.expect("try-Known-cart=302").remove(0);
    assert_eq!(attempt.users, Users::One("other".into()));
    bench.core.handle_outcome(bench.now, attempt, Outcome::Users(vec![(id(301), "third".into())]));
    let attempt = bench.expect("try-Known-cart=301").remove(0);
    assert_eq!(attempt.users, Users::All);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Users(Vec::new()));
    let attempt = bench.expect("try-Known-cart=301").remove(0);
    assert_eq!(attempt.users, Users::Nobody);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.expect("grant-cart=301");
}

#[test]
fn lock_and_taken_number_are_waited_out_and_retried() {
    let mut bench = Bench::new(300..=301);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    let attempt = bench.effects().1.remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Locked);
    bench.expect("");
    bench.pass(BACKOFF);
    let attempt = bench.effects().1.remove(0);
    let used = || Outcome::Users(vec![(id(301), "other".into())]);
    bench.core.handle_outcome(bench.now, attempt, used());
    bench.pass(BACKOFF * 2);
    let attempt = bench.expect("try-Recreate-cart=301").remove(0);
    assert_eq!(attempt.users, Users::All);
}

#[test]
fn lost_master_key_is_put_back_and_a_lost_lease_too() {
    let mut bench = Bench::new(300..=400);
    bench.core.handle_known(bench.now, id(300), labels("cart"), 5);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    let attempt = bench.expect("try-Known-cart=300").remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.expect("grant-cart=300");
    bench.core.handle_unknown(bench.now, id(300));
    let attempt = bench.expect("try-Recreate-cart=300").remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.core.handle_known(bench.now, id(300), labels("cart"), 6);
    bench.expect("grant-cart=300");
    bench.core.handle_doubt(bench.now, &labels("cart"));
    let attempt = bench.expect("try-Known-cart=300").remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.expect("grant-cart=300");
    bench.pass(KEEP_ALIVE);
    bench.expect("try-Known-cart=300");
}

#[test]
fn a_number_that_a_wiped_store_has_forgotten_is_put_back_at_once() {
    // The rows of a wiped store stay for as long as its memory is in doubt: the table alone must not be believed.
    let mut bench = Bench::new(300..=400);
    bench.core.handle_known(bench.now, id(300), labels("cart"), 5);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    let attempt = bench.expect("try-Known-cart=300").remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Missing);
    let attempt = bench.expect("try-Recreate-cart=300").remove(0);
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.expect("grant-cart=300");
}

#[test]
fn store_down_fails_new_labels_and_keeps_restored_ones() {
    let mut bench = Bench::new(300..=400);
    bench.core.handle_restored(labels("cart"), id(300));
    bench.core.handle_request(bench.now, labels("cart"));
    bench.expect("grant-cart=300");
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("web"));
    let attempts = bench.effects().1;
    let web = attempts.into_iter().find(|attempt| attempt.labels == labels("web")).unwrap();
    bench.core.handle_outcome(bench.now, web, Outcome::Failed("no answer".into()));
    bench.expect("failed-web");
}

#[test]
fn released_labels_are_forgotten_also_while_a_transaction_is_out() {
    let mut bench = Bench::new(300..=300);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    let attempt = bench.expect("try-New-cart=300").remove(0);
    bench.core.handle_release(&labels("cart"));
    bench.expect("withdraw-cart");
    bench.core.handle_outcome(bench.now, attempt, Outcome::Done);
    bench.expect("forget-cart");
}

#[test]
fn exhausted_range_says_so() {
    let mut bench = Bench::new(300..=300);
    bench.core.handle_known(bench.now, id(300), labels("web"), 1);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    bench.expect("failed-cart");
}

/// The operator collects a number that nobody uses: whoever waits gets it without a restart.
#[test]
fn an_exhausted_range_recovers_when_a_number_is_collected() {
    let mut bench = Bench::new(300..=301);
    bench.core.handle_known(bench.now, id(300), labels("web"), 1);
    bench.core.handle_known(bench.now, id(301), labels("db"), 2);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    bench.expect("failed-cart");
    bench.pass(MAX_BACKOFF);
    bench.expect("failed-cart");
    bench.core.handle_unknown(bench.now, id(301));
    bench.pass(MAX_BACKOFF);
    let attempt = bench.expect("try-New-cart=301").remove(0);
    // It rests a while after it was collected.
    bench.core.handle_outcome(bench.now, attempt, Outcome::Taken);
    bench.pass(MAX_BACKOFF);
    let attempt = bench.expect("try-New-cart=301").remove(0);
    bench.core.handle_outcome(bench.now, attempt.clone(), Outcome::Done);
    bench.core.handle_known(bench.now, id(301), attempt.labels, 9);
    bench.expect("grant-cart=301");
}

#[test]
fn number_given_to_other_labels_is_given_up() {
    let mut bench = Bench::new(300..=301);
    bench.core.handle_restored(labels("cart"), id(300));
    bench.core.handle_request(bench.now, labels("cart"));
    bench.expect("grant-cart=300");
    bench.core.handle_known(bench.now, id(300), labels("web"), 3);
    bench.core.handle_synced(bench.now);
    bench.expect("try-New-cart=301");
}

#[test]
fn nodes_try_the_same_number_for_the_same_labels_first_and_another_one_after() {
    let (mut one, mut other) =
        (Bench::new(65_536..=131_071), Bench { core: Core::new(65_536..=131_071, 99), now: Instant::now() });
    let first = |bench: &mut Bench| {
        bench.core.handle_synced(bench.now);
        bench.core.handle_request(bench.now, labels("cart"));
        bench.effects().1.remove(0)
    };
    let (ours, theirs) = (first(&mut one), first(&mut other));
    assert_eq!(ours, theirs);
    // Freed a short while ago: the same number would be refused until its quarantine ends.
    let number = ours.number;
    one.core.handle_outcome(one.now, ours, Outcome::Taken);
    one.pass(BACKOFF);
    assert_ne!(one.effects().1.remove(0).number, number);
}

#[test]
fn the_number_that_is_tried_first_never_changes() {
    // Nodes of two versions would fail each other's attempts.
    let mut bench = Bench::new(65_536..=131_071);
    bench.core.handle_synced(bench.now);
    bench.core.handle_request(bench.now, labels("cart"));
    bench.expect("try-New-cart=111865");
}
