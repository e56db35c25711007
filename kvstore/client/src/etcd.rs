//! The backend that is an etcd.
//!
//! The connection balances over its endpoints and reconnects by itself; certificates are read when
//! it is made. With `pin_cluster`, answers of another cluster than the first are refused: several
//! independent etcds may stand behind one address.

mod auth_status;
mod convert;
mod handshake;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use etcd_client::{
    Client, ConnectOptions, KvClient, LeaseClient, MaintenanceClient, PutOptions, WatchClient, WatchOptions,
};
use parking_lot::Mutex;

pub use auth_status::{AuthStatus, auth_status};

use crate::{
    Backend, Cause, ConfigError, Error, EtcdConfig, Header, LeaseGrant, LeaseId, Operation, Pending, Range,
    RangeResult, Revision, ServerStatus, Txn, TxnResult, WatchStream, core::pages::MAX_MESSAGE,
};

/// Keep-alive on the connection: a question after so long a silence, and how long its answer may take. Cilium's 15 s and
/// 25 s leave a connection over a link that was cut for half a minute dead for as long again, because TCP backs off. More
/// often than every 5 s etcd takes for an attack.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(4));

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Etcd {
    kv: KvClient,
    watch: WatchClient,
    lease: LeaseClient,
    maintenance: MaintenanceClient,
    cluster: ClusterPin,
    /// With TLS: how to find out why there is no connection, and what was found last.
    tls: Option<Arc<EtcdConfig>>,
    fault: Mutex<Option<(Instant, Option<String>)>>,
}

/// How long what was found out about a handshake counts.
const FAULT_COUNTS: Duration = Duration::from_secs(5);

/// Which cluster answers belong to; 0 before the first.
pub(crate) struct ClusterPin {
    id: AtomicU64,
    pin: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("etcd client configuration is not usable")]
    Config(#[from] ConfigError),
    #[error("cannot set up the connection to {endpoints:?}")]
    Setup {
        endpoints: Vec<String>,
        #[source]
        source: etcd_client::Error,
    },
}

/// A connection as the configuration says, for what no [`Backend`] does.
///
/// # Errors
/// When the configuration is not usable.
pub async fn client(config: &EtcdConfig) -> Result<Client, ConnectError> {
    let mut options = ConnectOptions::new()
        .with_keep_alive(
            config.keep_alive_time.unwrap_or(KEEP_ALIVE.0),
            config.keep_alive_timeout.unwrap_or(KEEP_ALIVE.1),
        )
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some((user, password)) = config.user()? {
        options = options.with_user(user, password);
    }
    let tls = config.tls()?;
    if let Some(tls) = tls {
        options = options.with_tls(tls);
    }
    let mut endpoints = config.endpoints.clone();
    rand::seq::SliceRandom::shuffle(endpoints.as_mut_slice(), &mut rand::rng());
    Client::connect(&endpoints, Some(options))
        .await
        .map_err(|source| ConnectError::Setup { endpoints: endpoints.clone(), source })
}

// === impl Etcd ===

impl Etcd {
    /// Sets up the connection. Without user and password it does not wait for a server: the first
    /// request does.
    pub async fn connect(config: &EtcdConfig, pin_cluster: bool) -> Result<Self, ConnectError> {
        let client = client(config).await?;
        let with_tls = config.tls()?.is_some();
        Ok(Self {
            kv: client.kv_client().max_decoding_message_size(MAX_MESSAGE),
            watch: client.watch_client().max_decoding_message_size(MAX_MESSAGE),
            lease: client.lease_client(),
            maintenance: client.maintenance_client(),
            cluster: ClusterPin { id: AtomicU64::new(0), pin: pin_cluster },
            tls: with_tls.then(|| Arc::new(config.clone())),
            fault: Mutex::new(None),
        })
    }

    /// A lost connection with the fault of the handshake, where that is why: the transport alone does not say.
    async fn explained(&self, cause: Cause) -> Cause {
        let (Cause::Unavailable(text), Some(config)) = (&cause, &self.tls) else { return cause };
        let known = self.fault.lock().clone().filter(|(at, _)| at.elapsed() < FAULT_COUNTS);
        let fault = match known {
            Some((_, fault)) => fault,
            None => {
                let config = Arc::clone(config);
                // A panic in there would be ours to see in the log, and no reason to lose the first cause.
                let found = tokio::task::spawn_blocking(move || handshake::fault(&config)).await.ok().flatten();
                *self.fault.lock() = Some((Instant::now(), found.clone()));
                found
            }
        };
        fault.map_or_else(|| cause.clone(), |fault| Cause::Unavailable(format!("{fault} ({text})")))
    }
}

impl Backend for Etcd {
    fn range(&self, range: Range) -> Pending<'_, RangeResult> {
        let mut kv = self.kv.clone();
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::Range, &range.key, cause);
            let mut answer = match kv.get(&range.key[..], Some(convert::get_options(&range))).await {
                Ok(answer) => answer,
                Err(error) => return Err(failed(self.explained(convert::cause(error)).await)),
            };
            let header = self.cluster.check(answer.header()).map_err(failed)?;
            let more = answer.more();
            Ok(RangeResult { header, kvs: answer.take_kvs().into_iter().map(convert::key_value).collect(), more })
        })
    }

    fn put(&self, key: Bytes, value: Bytes, lease: Option<LeaseId>) -> Pending<'_, Header> {
        let mut kv = self.kv.clone();
        Box::pin(async move {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            let failed = |cause| Error::new(Operation::Put, &key, cause);
            let answer = kv.put(&key[..], value, options).await.map_err(|e| failed(convert::cause(e)))?;
            self.cluster.check(answer.header()).map_err(failed)
        })
    }

    fn delete(&self, key: Bytes) -> Pending<'_, (Header, i64)> {
        let mut kv = self.kv.clone();
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::Delete, &key, cause);
            let answer = kv.delete(&key[..], None).await.map_err(|e| failed(convert::cause(e)))?;
            Ok((self.cluster.check(answer.header()).map_err(failed)?, answer.deleted()))
        })
    }

    fn txn(&self, txn: Txn) -> Pending<'_, TxnResult> {
        let mut kv = self.kv.clone();
        Box::pin(async move {
            let subject = txn.subject();
            let failed = |cause| Error::new(Operation::Txn, &subject, cause);
            let answer = kv.txn(convert::txn(txn)).await.map_err(|e| failed(convert::cause(e)))?;
            let header = self.cluster.check(answer.header()).map_err(failed)?;
            let results = answer.op_responses().into_iter().map(convert::op_result).collect();
            Ok(TxnResult { header, succeeded: answer.succeeded(), results })
        })
    }

    fn watch(&self, range: Range, from: Revision) -> Pending<'_, Box<dyn WatchStream>> {
        let mut client = self.watch.clone();
        Box::pin(async move {
            let mut options = WatchOptions::new().with_start_revision(from);
            if let Some(end) = &range.end {
                options = options.with_range(&end[..]);
            }
            let stream = client.watch(&range.key[..], Some(options)).await;
            let stream = stream.map_err(|e| Error::new(Operation::Watch, &range.key, convert::cause(e)))?;
            Ok(Box::new(watch::EtcdWatch::new(stream, range.key)) as Box<dyn WatchStream>)
        })
    }

    fn lease_grant(&self, ttl: Duration) -> Pending<'_, LeaseGrant> {
        let mut client = self.lease.clone();
        Box::pin(async move {
            let secs = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
            let answer = client.grant(secs, None).await;
            let answer = answer.map_err(|e| Error::new(Operation::LeaseGrant, b"new", convert::cause(e)))?;
            Ok(LeaseGrant { id: LeaseId(answer.id()), ttl: convert::secs(answer.ttl()) })
        })
    }

    fn lease_keep_alive(&self, lease: LeaseId) -> Pending<'_, Duration> {
        let mut client = self.lease.clone();
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::LeaseKeepAlive, lease.to_string().as_bytes(), cause);
            // Opening the stream sends one keep-alive, but hides its TTL; the second answer shows it.
            let (mut keeper, mut answers) = client.keep_alive(lease.0).await.map_err(|e| failed(convert::cause(e)))?;
            keeper.keep_alive().await.map_err(|e| failed(convert::cause(e)))?;
            match answers.message().await.map_err(|e| failed(convert::cause(e)))? {
                Some(answer) if answer.ttl() > 0 => Ok(convert::secs(answer.ttl())),
                Some(_) => Err(failed(Cause::LeaseNotFound)),
                None => Err(failed(Cause::Unavailable("the stream ended".into()))),
            }
        })
    }

    fn lease_revoke(&self, lease: LeaseId) -> Pending<'_, Header> {
        let mut client = self.lease.clone();
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::LeaseRevoke, lease.to_string().as_bytes(), cause);
            let answer = client.revoke(lease.0).await.map_err(|e| failed(convert::cause(e)))?;
            self.cluster.check(answer.header()).map_err(failed)
        })
    }

    fn compact(&self, revision: Revision) -> Pending<'_, ()> {
        let mut kv = self.kv.clone();
        Box::pin(async move {
            let answer = kv.compact(revision, None).await;
            answer.map_err(|e| Error::new(Operation::Compact, revision.to_string().as_bytes(), convert::cause(e)))?;
            Ok(())
        })
    }

    fn status(&self) -> Pending<'_, ServerStatus> {
        let mut client = self.maintenance.clone();
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::Status, b"store", cause);
            let answer = match client.status().await {
                Ok(answer) => answer,
                Err(error) => return Err(failed(self.explained(convert::cause(error)).await)),
            };
            Ok(ServerStatus {
                header: self.cluster.check(answer.header()).map_err(failed)?,
                version: answer.version().to_owned(),
                has_leader: answer.leader() != 0,
                db_size: answer.db_size(),
            })
        })
    }
}

// === impl ClusterPin ===

impl ClusterPin {
    fn check(&self, header: Option<&etcd_client::ResponseHeader>) -> Result<Header, Cause> {
        let header = header.ok_or(Cause::NoHeader)?;
        let is = header.cluster_id();
        if is == 0 {
            return Err(Cause::NoHeader);
        }
        if self.pin {
            let first = self.id.compare_exchange(0, is, Ordering::Relaxed, Ordering::Relaxed);
            if let Err(was) = first
                && was != is
            {
                return Err(Cause::ClusterChanged { was, is });
            }
        }
        Ok(Header { cluster_id: is, revision: header.revision() })
    }
}
