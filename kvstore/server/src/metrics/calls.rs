//! gRPC calls by method, under the names that etcd's rules and dashboards ask for.

use std::{collections::HashMap, sync::Arc, time::Instant};

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use runtime::metrics::register;
use tonic::Code;

const UNARY: &str = "unary";
const SERVER: &str = "server_stream";
const BIDI: &str = "bidi_stream";

/// Services and their methods, by kind: what is called otherwise is not counted, or any client could make series.
const METHODS: [(&str, &str, &[&str]); 13] = [
    ("etcdserverpb.KV", UNARY, &["Range", "Put", "DeleteRange", "Txn", "Compact"]),
    ("etcdserverpb.Watch", BIDI, &["Watch"]),
    ("etcdserverpb.Lease", UNARY, &["LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases"]),
    ("etcdserverpb.Lease", BIDI, &["LeaseKeepAlive"]),
    ("etcdserverpb.Cluster", UNARY, &["MemberAdd", "MemberRemove", "MemberUpdate", "MemberList", "MemberPromote"]),
    (
        "etcdserverpb.Maintenance",
        UNARY,
        &["Alarm", "Status", "Defragment", "Hash", "HashKV", "MoveLeader", "Downgrade"],
    ),
    ("etcdserverpb.Maintenance", SERVER, &["Snapshot"]),
    (
        "etcdserverpb.Auth",
        UNARY,
        &[
            "AuthEnable",
            "AuthDisable",
            "AuthStatus",
            "Authenticate",
            "UserAdd",
            "UserGet",
            "UserList",
            "UserDelete",
            "UserChangePassword",
            "UserGrantRole",
            "UserRevokeRole",
            "RoleAdd",
            "RoleGet",
            "RoleList",
            "RoleDelete",
            "RoleGrantPermission",
            "RoleRevokePermission",
        ],
    ),
    ("v3lockpb.Lock", UNARY, &["Lock", "Unlock"]),
    ("v3electionpb.Election", UNARY, &["Campaign", "Proclaim", "Leader", "Resign"]),
    ("v3electionpb.Election", SERVER, &["Observe"]),
    ("grpc.health.v1.Health", UNARY, &["Check"]),
    ("grpc.health.v1.Health", SERVER, &["Watch"]),
];

/// Clones count together.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Inner>);

struct Inner {
    methods: HashMap<String, Arc<Method>>,
    handled: IntCounterVec,
}

struct Method {
    labels: [&'static str; 3],
    started: IntCounter,
    /// The most common code.
    handled_ok: IntCounter,
    handling: prometheus::Histogram,
}

/// A call that was begun; it is counted as handled when this is dropped.
pub(crate) struct Call {
    method: Arc<Method>,
    calls: Calls,
    began: Instant,
    code: Code,
}

// === impl Calls ===

impl Calls {
    pub(crate) fn new(registry: &Registry) -> Self {
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels).expect("the names below are valid"))
        };
        let started = counters("grpc_server_started_total", "Total number of RPCs started on the server.", &labels);
        let handled = counters(
            "grpc_server_handled_total",
            "Total number of RPCs completed on the server, regardless of success or failure.",
            &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
        );
        let opts = HistogramOpts::new(
            "grpc_server_handling_seconds",
            "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
        );
        let handling = register(registry, HistogramVec::new(opts, &labels).expect("the name is valid"));
        let mut methods = HashMap::new();
        for (service, kind, names) in METHODS {
            for name in names {
                let labels = [kind, service, *name];
                let method = Method {
                    labels,
                    started: started.with_label_values(&labels),
                    handled_ok: handled.with_label_values(&[kind, service, name, "OK"]),
                    handling: handling.with_label_values(&labels),
                };
                methods.insert(format!("/{service}/{name}"), Arc::new(method));
            }
        }
        Self(Arc::new(Inner { methods, handled }))
    }

    pub(crate) fn begin(&self, path: &str) -> Option<Call> {
        let method = self.0.methods.get(path)?.clone();
        method.started.inc();
        // Until it is told how it went: its client left.
        Some(Call { method, calls: self.clone(), began: Instant::now(), code: Code::Cancelled })
    }
}

// === impl Call ===

impl Call {
    pub(crate) fn is_unary(&self) -> bool {
        self.method.labels[0] == UNARY
    }

    pub(crate) fn answered(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.is_unary() {
            self.method.handling.observe(self.began.elapsed().as_secs_f64());
        }
        if self.code == Code::Ok {
            return self.method.handled_ok.inc();
        }
        let [kind, service, name] = self.method.labels;
        self.calls.0.handled.with_label_values(&[kind, service, name, go_name(self.code)]).inc();
    }
}

/// As Go prints a code.
fn go_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
