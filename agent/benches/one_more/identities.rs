//! The cores of an import and of policy over their table, with rules that select a few identities each.

use std::sync::Arc;
use std::time::Instant;

use kvstore::{Event, KeyValue};
use model::{
    ClusterId, ClusterIdLayout, ClusterName, DefaultDeny, NumericIdentity, Peer, Requirement, Rule, RuleEntry,
    RuleResource, Selector, SelectorKey, Source,
};
use reflector::{Effect, IdentityDecode};
use statedb::{Changes, Reader, Writer, table};
use tables::{Identity, Origin};

pub(crate) struct Identities {
    import: reflector::Core<IdentityDecode>,
    table: (Writer<Identity>, Reader<Identity>),
    changes: Changes<Identity>,
    policy: policy::Core,
}

/// Rules of a local identity, each of which selects the identities of one team.
const RULES: usize = 100;
const TEAMS: u64 = 300;
const FIRST: u64 = 2 << 16;
const LOCAL: NumericIdentity = NumericIdentity::new(FIRST as u32);

impl Identities {
    pub(crate) fn new() -> Self {
        let west: ClusterName = "west".parse().unwrap();
        let decode = IdentityDecode {
            origin: Origin::new(Source::ClusterMesh, west),
            cluster_id: ClusterId::try_new(2).unwrap(),
            layout: ClusterIdLayout::Max255,
        };
        let enable = "default".parse().unwrap();
        let mut policy = policy::Core::new(policy::Options { enable, cluster: "west".into(), allow_localhost: true });
        for number in 0..RULES {
            policy.handle_rule(("shop".into(), "rules".into(), number), Some(Arc::new(rule(number))));
        }
        let local = wire::labels::decode("", &key_value(0).value).unwrap();
        policy.handle_local(LOCAL, Some(local));
        let table = table();
        Self {
            import: reflector::Core::new(decode, wire::identity::id_prefix(wire::Source::State), usize::MAX),
            changes: table.1.changes(),
            table,
            policy,
        }
    }
}

impl crate::Agent for Identities {
    fn handle(&mut self, events: Vec<Event>) {
        self.import.handle_events(Instant::now(), events, &self.table.1.snapshot());
        let effects: Vec<_> = std::iter::from_fn(|| self.import.poll_effect()).collect();
        self.table.0.write(|txn| {
            for effect in effects {
                let Effect::Upsert(row) = effect else { panic!("every event is a valid one: {effect:?}") };
                txn.upsert(row);
            }
        });
        for change in self.changes.drain() {
            let row = change.row();
            self.policy.handle_identity(row.id, row.labels.clone());
        }
        std::hint::black_box(self.policy.resolve());
    }

    fn known(&self) -> usize {
        self.table.1.snapshot().len()
    }
}

fn rule(team: usize) -> Rule {
    let is = |key: &str, value: &str| Selector::try_new([Requirement::is(SelectorKey::any(key), value)]).unwrap();
    let peer = Peer::Endpoints(is("team", &format!("team-{team}")));
    Rule {
        resource: RuleResource { namespace: "shop".into(), name: "rules".into(), file: None, line: None },
        subject: is("app", "app-0"),
        ingress: vec![RuleEntry { peers: Some(vec![peer]), ports: Vec::new() }],
        egress: Vec::new(),
        default_deny: DefaultDeny { ingress: true, egress: false },
    }
}

/// An identity of one of many teams.
pub(crate) fn key_value(at: u64) -> KeyValue {
    let prefix = wire::identity::id_prefix(wire::Source::State);
    let labels = format!(
        "k8s:app=app-{at};k8s:io.cilium.k8s.policy.cluster=west;k8s:io.kubernetes.pod.namespace=shop;k8s:team=team-{};",
        at % TEAMS
    );
    KeyValue {
        key: format!("{prefix}{}", FIRST + at).into(),
        value: labels.into(),
        create_revision: at as i64 + 1,
        mod_revision: at as i64 + 1,
        version: 1,
        lease: None,
    }
}
