//! The task that runs [`Cidrs`] over the tables.

use std::path::PathBuf;

use model::{ClusterName, Families, NumericIdentity, Prefix, Source};
use statedb::{Change, Initializer, Reader, Row, Snapshot, Writer};
use tables::{CidrIdentity, Identity, Origin, PolicyRule};

use crate::{CidrOp, Cidrs, held};

/// The tables that numbers of ranges come from and go to.
pub struct CidrInputs {
    /// The rules in force.
    pub rules: Reader<PolicyRule>,
    /// Where a range's labels stand.
    pub identities: Writer<Identity>,
    /// The ranges with their numbers.
    pub cidrs: Writer<CidrIdentity>,
    /// Our own cluster.
    pub cluster: ClusterName,
    /// The families of pods.
    pub families: Families,
    /// The file of numbers in use.
    pub file: PathBuf,
}

/// Runs until the future is dropped. What was in use before the restart is there when this returns.
pub fn run_cidrs(inputs: CidrInputs) -> impl Future<Output = ()> + Send + 'static {
    let announced = (inputs.identities.announce("cidr"), inputs.cidrs.announce("cidr"));
    let restored = held::load(&inputs.file).unwrap_or_else(|error| {
        tracing::error!(%error, "numbers of ranges before the restart are not known");
        Vec::new()
    });
    let restored = restored.iter().filter_map(|(labels, identity)| Some((model::prefix_of(labels)?, *identity)));
    let cidrs = Cidrs::restored(restored);
    for (prefix, identity) in cidrs.held() {
        inputs.give(prefix, identity);
    }
    follow(inputs, cidrs, announced)
}

async fn follow(
    inputs: CidrInputs,
    mut cidrs: Cidrs<<PolicyRule as Row>::Key>,
    announced: (Initializer<Identity>, Initializer<CidrIdentity>),
) {
    let mut announced = Some(announced);
    inputs.rules.wait_for(Snapshot::is_initialised).await;
    let mut rules = inputs.rules.changes();
    loop {
        let mut ops = Vec::new();
        for change in rules.drain() {
            let rule = matches!(change, Change::Upsert(_)).then(|| &*change.row().rule);
            ops.extend(cidrs.handle_rule(change.row().key(), rule));
        }
        if announced.is_some() {
            ops.extend(cidrs.handle_complete());
        }
        if !ops.is_empty() {
            // On disk first: a number that policy rows have must be known after a crash.
            inputs.save(&cidrs);
        }
        for op in ops {
            match op {
                CidrOp::Given(prefix, identity) => inputs.give(prefix, identity),
                CidrOp::Gone(prefix, identity) => {
                    inputs.cidrs.delete(&prefix);
                    inputs.identities.delete(&identity);
                }
                CidrOp::Exhausted(prefix) => {
                    tracing::error!(%prefix, "no number is left for a range of a policy: it selects nobody");
                }
            }
        }
        if let Some((identities, ranges)) = announced.take() {
            identities.done();
            ranges.done();
        }
        rules.wait().await;
    }
}

// === impl CidrInputs ===

impl CidrInputs {
    /// The identity first: who sees the range asks what it is.
    fn give(&self, prefix: Prefix, identity: NumericIdentity) {
        let origin = Origin::new(Source::Local, self.cluster.clone());
        let labels = self.families.labels(prefix);
        self.identities.upsert(Identity { id: identity, labels, origin, create_revision: 0 });
        self.cidrs.upsert(CidrIdentity { prefix, identity });
    }

    fn save(&self, cidrs: &Cidrs<<PolicyRule as Row>::Key>) {
        let held: Vec<_> = cidrs.held().map(|(prefix, identity)| (self.families.labels(prefix), identity)).collect();
        if let Err(error) = held::save(&self.file, held.iter().map(|(labels, identity)| (labels, *identity))) {
            tracing::error!(%error, "numbers of ranges would not survive a restart");
        }
    }
}
