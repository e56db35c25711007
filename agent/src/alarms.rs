//! What no single part can see, or has no table for, becomes alarms.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datapath::Overflow;
use model::{Labels, NumericIdentity};
use statedb::{Change, Reader, Writer};
use tables::{Alarm, Identity};
use tokio::sync::watch;

/// Keeps an alarm for each identity whose policy does not fit; runs until the datapath is gone.
pub(crate) async fn policy_overflows(mut status: watch::Receiver<datapath::Status>, alarms: Writer<Alarm>) {
    let mut shown: BTreeSet<u32> = BTreeSet::new();
    loop {
        let overflowed = status.borrow_and_update().overflowed.clone();
        let now = overflowed.iter().map(|overflow| overflow.set).collect::<BTreeSet<_>>();
        for gone in shown.difference(&now) {
            alarms.delete(&name(*gone));
        }
        for overflow in &overflowed {
            alarms.upsert(Alarm { name: name(overflow.set), message: message(overflow).into() });
        }
        shown = now;
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps an alarm for every label set with more than one number: two clients of a store disagreed, and peers may take
/// either. Runs until it is dropped.
pub(crate) async fn identity_twins(identities: Reader<Identity>, alarms: Writer<Alarm>) {
    let mut changes = identities.changes();
    // By label set: numbers, the oldest first.
    let mut numbers: BTreeMap<String, BTreeSet<(i64, NumericIdentity)>> = BTreeMap::new();
    let mut of: BTreeMap<NumericIdentity, (Labels, i64)> = BTreeMap::new();
    loop {
        let mut touched = BTreeSet::new();
        for change in changes.drain() {
            let row = change.row();
            if let Some((labels, created)) = of.remove(&row.id) {
                let text = labels.to_string();
                if let Some(set) = numbers.get_mut(&text) {
                    set.remove(&(created, row.id));
                }
                touched.insert(text);
            }
            // Reserved identities have the labels of their number.
            if matches!(change, Change::Upsert(_)) && !row.id.is_reserved() {
                let text = row.labels.to_string();
                numbers.entry(text.clone()).or_default().insert((row.create_revision, row.id));
                of.insert(row.id, (row.labels.clone(), row.create_revision));
                touched.insert(text);
            }
        }
        for labels in touched {
            let set = numbers.get(&labels);
            let ids: Vec<NumericIdentity> = set.into_iter().flatten().map(|(_, id)| *id).collect();
            let name: Arc<str> = format!("identities/twice/{labels}").into();
            match &ids[..] {
                [] => drop(numbers.remove(&labels)),
                [_] => drop(alarms.delete(&name)),
                [oldest, others @ ..] => {
                    let others = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    let message = format!(
                        "identities {oldest} and {others} have the same labels {labels}: {oldest} is older and is the one \
                         that counts"
                    );
                    alarms.upsert(Alarm { name, message: message.into() });
                }
            }
        }
        changes.wait().await;
    }
}

fn name(set: u32) -> Arc<str> {
    format!("policy/{set}/full").into()
}

fn message(Overflow { set, needed, max }: &Overflow) -> String {
    format!(
        "the policy of identity {set} needs {needed} rows, and {max} fit: its endpoints are locked down; select fewer \
         peers and ports, or raise --bpf-policy-map-max"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Source;
    use tables::Origin;

    use super::*;

    #[tokio::test]
    async fn one_label_set_with_two_numbers_is_an_alarm_until_one_goes() {
        let (identities, reader) = statedb::table();
        let (alarms, seen) = statedb::table();
        let put = |id: u32, created: i64| {
            identities.upsert(Identity {
                id: NumericIdentity::new(id),
                labels: std::iter::once("k8s:app=a".parse().unwrap()).collect(),
                origin: Origin::new(Source::Kvstore, "east".parse().unwrap()),
                create_revision: created,
            });
        };
        let story = async {
            put(65_600, 9);
            put(65_601, 5);
            seen.wait_for(|alarms| alarms.text().contains("identities 65601 and 65600 have the same labels")).await;
            identities.delete(&NumericIdentity::new(65_600));
            seen.wait_for(|alarms| alarms.is_empty()).await;
        };
        tokio::select! {
            () = identity_twins(reader, alarms) => panic!("it ended"),
            done = tokio::time::timeout(Duration::from_secs(5), story) => done.unwrap(),
        }
    }
}
