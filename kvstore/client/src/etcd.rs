//! The backend that is an etcd.
//!
//! One connection to one of the endpoints; when it ends, or its server keeps failing, the next endpoint is asked. Who logs
//! in with a password does so before the first request, and again when the token is no good any more. With `pin_cluster`,
//! answers of another cluster than the first are refused: several independent etcds may stand behind one address.

mod auth_status;
mod connector;
mod convert;
mod handshake;
mod services;
mod stream;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use etcd_client::{Client, PutOptions, WatchOptions};
use parking_lot::Mutex;

pub use auth_status::{AuthStatus, auth_status};

use self::{connector::Connector, services::Services};
use crate::{
    Backend, Cause, ConfigError, Error, EtcdConfig, Header, LeaseGrant, LeaseId, Operation, Pending, Range,
    RangeResult, Revision, ServerStatus, Txn, TxnResult, WatchStream,
};

pub struct Etcd {
    services: Services,
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
/// When the configuration is not usable, or the store does not take the user.
pub async fn client(config: &EtcdConfig) -> Result<Client, ConnectError> {
    let connector = Connector::new(config)?;
    let failed = |source| ConnectError::Setup { endpoints: connector.endpoints(), source };
    services::log_in(&connector, config.user()?).await.map_err(failed)
}

// === impl Etcd ===

impl Etcd {
    /// Sets up the connection. It does not wait for a server: the first request does.
    ///
    /// # Errors
    /// When the configuration is not usable.
    pub fn connect(config: &EtcdConfig, pin_cluster: bool) -> Result<Self, ConnectError> {
        let connector = Connector::new(config)?;
        let tls = connector.is_tls().then(|| Arc::new(config.clone()));
        Ok(Self {
            services: Services::new(connector, config.user()?),
            cluster: ClusterPin { id: AtomicU64::new(0), pin: pin_cluster },
            tls,
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
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::Range, &range.key, cause);
            let asked = self.services.call(async |parts| {
                let mut kv = parts.kv.clone();
                kv.get(&range.key[..], Some(convert::get_options(&range))).await
            });
            let mut answer = match asked.await {
                Ok(answer) => answer,
                Err(cause) => return Err(failed(self.explained(cause).await)),
            };
            let header = self.cluster.check(answer.header()).map_err(failed)?;
            let more = answer.more();
            Ok(RangeResult { header, kvs: answer.take_kvs().into_iter().map(convert::key_value).collect(), more })
        })
    }

    fn put(&self, key: Bytes, value: Bytes, lease: Option<LeaseId>) -> Pending<'_, Header> {
        Box::pin(async move {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            let failed = |cause| Error::new(Operation::Put, &key, cause);
            let asked = self.services.call(async |parts| parts.kv.clone().put(&key[..], value, options).await);
            let answer = asked.await.map_err(failed)?;
            self.cluster.check(answer.header()).map_err(failed)
        })
    }

    fn delete(&self, key: Bytes) -> Pending<'_, (Header, i64)> {
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::Delete, &key, cause);
            let asked = self.services.call(async |parts| parts.kv.clone().delete(&key[..], None).await);
            let answer = asked.await.map_err(failed)?;
            Ok((self.cluster.check(answer.header()).map_err(failed)?, answer.deleted()))
        })
    }

    fn txn(&self, txn: Txn) -> Pending<'_, TxnResult> {
        Box::pin(async move {
            let subject = txn.subject();
            let failed = |cause| Error::new(Operation::Txn, &subject, cause);
            let asked = self.services.call(async |parts| parts.kv.clone().txn(convert::txn(txn)).await);
            let answer = asked.await.map_err(failed)?;
            let header = self.cluster.check(answer.header()).map_err(failed)?;
            let results = answer.op_responses().into_iter().map(convert::op_result).collect();
            Ok(TxnResult { header, succeeded: answer.succeeded(), results })
        })
    }

    fn watch(&self, range: Range, from: Revision) -> Pending<'_, Box<dyn WatchStream>> {
        Box::pin(async move {
            let mut options = WatchOptions::new().with_start_revision(from);
            if let Some(end) = &range.end {
                options = options.with_range(&end[..]);
            }
            let asked = self.services.call(async |parts| {
                let mut watch = parts.watch.clone();
                watch.watch(&range.key[..], Some(options)).await
            });
            let stream = asked.await.map_err(|cause| Error::new(Operation::Watch, &range.key, cause))?;
            Ok(Box::new(watch::EtcdWatch::new(stream, range.key)) as Box<dyn WatchStream>)
        })
    }

    fn lease_grant(&self, ttl: Duration) -> Pending<'_, LeaseGrant> {
        Box::pin(async move {
            let secs = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
            let asked = self.services.call(async |parts| parts.lease.clone().grant(secs, None).await);
            let answer = asked.await.map_err(|cause| Error::new(Operation::LeaseGrant, b"new", cause))?;
            Ok(LeaseGrant { id: LeaseId(answer.id()), ttl: convert::secs(answer.ttl()) })
        })
    }

    fn lease_keep_alive(&self, lease: LeaseId) -> Pending<'_, Duration> {
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::LeaseKeepAlive, lease.to_string().as_bytes(), cause);
            let asked = self.services.call(async |parts| {
                // Opening the stream sends one keep-alive, but hides its TTL; the second answer shows it.
                let (mut keeper, mut answers) = parts.lease.clone().keep_alive(lease.0).await?;
                keeper.keep_alive().await?;
                answers.message().await
            });
            match asked.await.map_err(failed)? {
                Some(answer) if answer.ttl() > 0 => Ok(convert::secs(answer.ttl())),
                Some(_) => Err(failed(Cause::LeaseNotFound)),
                None => Err(failed(Cause::Unavailable("the stream ended".into()))),
            }
        })
    }

    fn lease_time_left(&self, lease: LeaseId) -> Pending<'_, Duration> {
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::LeaseTimeLeft, lease.to_string().as_bytes(), cause);
            let asked = self.services.call(async |parts| parts.lease.clone().time_to_live(lease.0, None).await);
            match asked.await.map_err(failed)?.ttl() {
                left if left > 0 => Ok(convert::secs(left)),
                _ => Err(failed(Cause::LeaseNotFound)),
            }
        })
    }

    fn lease_revoke(&self, lease: LeaseId) -> Pending<'_, Header> {
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::LeaseRevoke, lease.to_string().as_bytes(), cause);
            let asked = self.services.call(async |parts| parts.lease.clone().revoke(lease.0).await);
            let answer = asked.await.map_err(failed)?;
            self.cluster.check(answer.header()).map_err(failed)
        })
    }

    fn compact(&self, revision: Revision) -> Pending<'_, ()> {
        Box::pin(async move {
            let asked = self.services.call(async |parts| parts.kv.clone().compact(revision, None).await);
            let failed = |cause| Error::new(Operation::Compact, revision.to_string().as_bytes(), cause);
            asked.await.map(drop).map_err(failed)
        })
    }

    fn status(&self) -> Pending<'_, ServerStatus> {
        Box::pin(async move {
            let failed = |cause| Error::new(Operation::Status, b"store", cause);
            let asked = self.services.call(async |parts| parts.maintenance.clone().status().await);
            let answer = match asked.await {
                Ok(answer) => answer,
                Err(cause) => return Err(failed(self.explained(cause).await)),
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
