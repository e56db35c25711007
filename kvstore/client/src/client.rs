//! A backend with manners: a rate, a bound on parallel requests, a time-out on each, and a status.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    Backend, Cause, Error, Header, LeaseGrant, LeaseId, Observed, Observer, Operation, Pending, Range, RangeResult,
    Revision, ServerStatus, Txn, TxnResult, WatchStream, core::bucket::Bucket,
};

/// The defaults are Cilium's.
#[derive(Debug, Clone, Copy)]
pub struct ClientOptions {
    /// Requests a second, with as many at once; 0: no limit. A whole paged list counts as one.
    pub qps: u32,
    /// The rate until [`Client::end_bootstrap`]; 0: `qps` from the start.
    pub bootstrap_qps: u32,
    /// Requests at one time; 0: as many as `qps`.
    pub max_inflight: usize,
    /// Keys of a page, at most; 0: as many as are asked for.
    pub page_limit: u32,
    pub request_timeout: Duration,
}

/// One connection, shared by all users of a store.
pub struct Client {
    backend: Arc<dyn Backend>,
    options: ClientOptions,
    bucket: Mutex<Bucket>,
    inflight: Semaphore,
    status: Mutex<ConnectionStatus>,
    observer: OnceLock<Observer>,
}

/// For `causeway status` and for readers who want to say how old their data is.
#[derive(Debug, Clone, Default)]
pub struct ConnectionStatus {
    /// Whether the last request was answered.
    pub connected: bool,
    /// The store of the last answer.
    pub header: Header,
    pub last_success: Option<Instant>,
    pub last_failure: Option<Instant>,
    pub last_error: Option<String>,
    /// Failures since the last answer.
    pub consecutive_failures: u32,
    pub failures: u64,
    pub requests: u64,
}

// === impl ClientOptions ===

impl Default for ClientOptions {
    fn default() -> Self {
        Self { qps: 20, bootstrap_qps: 0, max_inflight: 0, page_limit: 0, request_timeout: Duration::from_secs(10) }
    }
}

// === impl Client ===

impl Client {
    pub fn new(backend: Arc<dyn Backend>, options: ClientOptions) -> Arc<Self> {
        let permits = match (options.max_inflight, options.qps) {
            (0, 0) => Semaphore::MAX_PERMITS,
            (0, qps) => qps as usize,
            (max, _) => max,
        };
        Arc::new(Self {
            backend,
            options,
            bucket: Mutex::new(Bucket::new(
                runtime::now(),
                if options.bootstrap_qps > 0 { options.bootstrap_qps } else { options.qps },
            )),
            inflight: Semaphore::new(permits),
            status: Mutex::default(),
            observer: OnceLock::new(),
        })
    }

    /// Sets who hears of every request; once.
    pub fn observe(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    /// The first lists and writes are through: from now on the ordinary rate holds.
    pub fn end_bootstrap(&self) {
        if self.options.bootstrap_qps > 0 {
            self.bucket.lock().set_rate(runtime::now(), self.options.qps);
        }
    }

    pub fn connection_status(&self) -> ConnectionStatus {
        self.status.lock().clone()
    }

    async fn run<T>(
        &self,
        operation: Operation,
        key: &Bytes,
        limited: bool,
        request: Pending<'_, T>,
        header: impl FnOnce(&T) -> Option<Header>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        // The semaphore is never closed.
        let _permit = if limited { self.inflight.acquire().await.ok() } else { None };
        if limited {
            let delay = self.bucket.lock().take(runtime::now());
            if !delay.is_zero() {
                runtime::sleep(delay).await;
            }
        }
        let limit = self.options.request_timeout;
        let answer = match timeout(limit, request).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(operation, key, Cause::Timeout(limit))),
        };
        self.status.lock().learn(Instant::now(), answer.as_ref().map(header));
        if let Some(observer) = self.observer.get() {
            observer(Observed { operation, key, succeeded: answer.is_ok(), took: start.elapsed() });
        }
        answer
    }
}

impl Backend for Client {
    fn range(&self, mut range: Range) -> Pending<'_, RangeResult> {
        // What is not asked for in pages is not cut into some.
        if range.limit > 0 && self.options.page_limit > 0 {
            range.limit = range.limit.min(self.options.page_limit);
        }
        Box::pin(async move {
            let key = range.key.clone();
            // The later pages of a list belong to its first.
            let limited = range.revision == 0;
            self.run(Operation::Range, &key, limited, self.backend.range(range), |r| Some(r.header)).await
        })
    }

    fn put(&self, key: Bytes, value: Bytes, lease: Option<LeaseId>) -> Pending<'_, Header> {
        Box::pin(async move {
            let request = self.backend.put(key.clone(), value, lease);
            self.run(Operation::Put, &key, true, request, |h| Some(*h)).await
        })
    }

    fn delete(&self, key: Bytes) -> Pending<'_, (Header, i64)> {
        Box::pin(async move {
            self.run(Operation::Delete, &key, true, self.backend.delete(key.clone()), |r| Some(r.0)).await
        })
    }

    fn txn(&self, txn: Txn) -> Pending<'_, TxnResult> {
        Box::pin(async move {
            let key = txn.subject();
            self.run(Operation::Txn, &key, true, self.backend.txn(txn), |r| Some(r.header)).await
        })
    }

    fn watch(&self, range: Range, from: Revision) -> Pending<'_, Box<dyn WatchStream>> {
        Box::pin(async move {
            let key = range.key.clone();
            self.run(Operation::Watch, &key, true, self.backend.watch(range, from), |_| None).await
        })
    }

    fn lease_grant(&self, ttl: Duration) -> Pending<'_, LeaseGrant> {
        let key = Bytes::from_static(b"new");
        Box::pin(
            async move { self.run(Operation::LeaseGrant, &key, false, self.backend.lease_grant(ttl), |_| None).await },
        )
    }

    fn lease_keep_alive(&self, lease: LeaseId) -> Pending<'_, Duration> {
        let key = Bytes::from(lease.to_string());
        Box::pin(async move {
            self.run(Operation::LeaseKeepAlive, &key, false, self.backend.lease_keep_alive(lease), |_| None).await
        })
    }

    fn lease_time_left(&self, lease: LeaseId) -> Pending<'_, Duration> {
        let key = Bytes::from(lease.to_string());
        Box::pin(async move {
            self.run(Operation::LeaseTimeLeft, &key, false, self.backend.lease_time_left(lease), |_| None).await
        })
    }

    fn lease_revoke(&self, lease: LeaseId) -> Pending<'_, Header> {
        let key = Bytes::from(lease.to_string());
        Box::pin(async move {
            self.run(Operation::LeaseRevoke, &key, false, self.backend.lease_revoke(lease), |h| Some(*h)).await
        })
    }

    fn compact(&self, revision: Revision) -> Pending<'_, ()> {
        let key = Bytes::from(revision.to_string());
        Box::pin(
            async move { self.run(Operation::Compact, &key, true, self.backend.compact(revision), |_| None).await },
        )
    }

    fn status(&self) -> Pending<'_, ServerStatus> {
        let key = Bytes::from_static(b"store");
        Box::pin(
            async move { self.run(Operation::Status, &key, false, self.backend.status(), |s| Some(s.header)).await },
        )
    }
}

// === impl ConnectionStatus ===

impl ConnectionStatus {
    fn learn(&mut self, now: Instant, answer: Result<Option<Header>, &Error>) {
        self.requests += 1;
        match answer {
            Err(error) => {
                // A refusal is an answer too, but not one that shows a working connection as broken.
                self.connected = !error.is_retryable();
                self.failures += 1;
                self.consecutive_failures += 1;
                self.last_failure = Some(now);
                self.last_error = Some(error.full());
            }
            Ok(header) => {
                self.connected = true;
                self.consecutive_failures = 0;
                self.last_success = Some(now);
                self.header = header.unwrap_or(self.header);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn client(fake: &Fake, qps: u32) -> Arc<Client> {
        let options = ClientOptions { qps, ..ClientOptions::default() };
        Client::new(Arc::new(fake.clone()), options)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_is_given_up_on_and_the_status_says_so() {
        let fake = Fake::new();
        let client = client(&fake, 0);
        client.put("a".into(), "1".into(), None).await.unwrap();
        assert!(client.connection_status().connected);
        fake.set_delay(Duration::from_secs(60));
        let error = client.put("a".into(), "2".into(), None).await.unwrap_err();
        assert_eq!(error.cause, Cause::Timeout(Duration::from_secs(10)));
        let status = client.connection_status();
        assert!(!status.connected);
        assert_eq!(status.last_error.as_deref(), Some("put of \"a\" failed: no answer within 10s"));
        assert_eq!(status.header.revision, 2);
        fake.set_delay(Duration::ZERO);
        client.put("a".into(), "3".into(), None).await.unwrap();
        assert_eq!(client.connection_status().consecutive_failures, 0);
    }

    #[tokio::test]
    async fn a_page_has_no_more_keys_than_the_limit_and_a_list_has_all() {
        let fake = Fake::new();
        for n in 0..25 {
            fake.put(format!("p/{n:02}").into(), "v".into(), None).await.unwrap();
        }
        let options = ClientOptions { qps: 0, page_limit: 10, ..ClientOptions::default() };
        let client = Client::new(Arc::new(fake), options);
        let pages = |limit| client.range(Range::prefix("p/").limit(limit));
        assert_eq!(pages(1000).await.unwrap().kvs.len(), 10);
        assert_eq!(pages(5).await.unwrap().kvs.len(), 5);
        assert_eq!(pages(0).await.unwrap().kvs.len(), 25, "nobody asked for pages");
        assert_eq!(crate::list(&*client, "p/", 0).await.unwrap().kvs.len(), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_to_the_rate() {
        let fake = Fake::new();
        let client = client(&fake, 10);
        let start = Instant::now();
        for _ in 0..30 {
            client.put("a".into(), "1".into(), None).await.unwrap();
        }
        let took = start.elapsed();
        assert!((1990..2100).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bootstrap_has_its_own_rate_until_it_ends() {
        let options = ClientOptions { qps: 10, bootstrap_qps: 1000, ..ClientOptions::default() };
        let client = Client::new(Arc::new(Fake::new()), options);
        let puts = async |count: usize| {
            let start = Instant::now();
            for _ in 0..count {
                client.put("a".into(), "1".into(), None).await.unwrap();
            }
            start.elapsed()
        };
        assert!(puts(500).await < Duration::from_secs(1));
        client.end_bootstrap();
        let took = puts(30).await;
        assert!((1900..2100).contains(&took.as_millis()), "{took:?}");
    }

    /// A store that answers slowly gets no more than it was promised.
    #[tokio::test(start_paused = true)]
    async fn requests_at_one_time_are_bounded() {
        let fake = Fake::new();
        fake.set_delay(Duration::from_secs(1));
        let options = ClientOptions { qps: 0, max_inflight: 2, ..ClientOptions::default() };
        let client = Client::new(Arc::new(fake), options);
        let start = Instant::now();
        let put = |key: &'static str| client.put(key.into(), "1".into(), None);
        let (a, b, c, d) = tokio::join!(put("a"), put("b"), put("c"), put("d"));
        assert!([a, b, c, d].iter().all(Result::is_ok));
        assert_eq!(start.elapsed(), Duration::from_secs(2), "two and two");
    }
}
