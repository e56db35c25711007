//! Transactions: which branches are taken is settled before anything is written, and so is whether all of it can be.

use super::{State, compare, range};
use crate::{
    core::failure::Failure,
    pb::etcdserverpb::{self as pb, request_op::Request, response_op::Response},
};

/// The branch of a transaction, and those of the transactions in it, in their order.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

// === impl State ===

impl State {
    pub(super) fn txn(&mut self, txn: &pb::TxnRequest) -> Result<pb::TxnResponse, Failure> {
        let path = self.path(txn);
        self.check_branch(txn, &path)?;
        let mut sub = 0;
        let response = self.run(txn, &path, &mut sub)?;
        self.commit(sub);
        Ok(response)
    }

    /// The answer of a transaction that would write nothing now; `None` if it would write.
    pub(crate) fn read_txn(&mut self, txn: &pb::TxnRequest, term: u64) -> Option<Result<pb::TxnResponse, Failure>> {
        let path = self.path(txn);
        if !is_reading(txn, &path) {
            return None;
        }
        let header = self.header(term).message();
        Some(self.check_branch(txn, &path).and_then(|()| {
            let response = self.run(txn, &path, &mut 0)?;
            Ok(pb::TxnResponse { header: Some(header), ..response })
        }))
    }

    /// Whether it would write nothing now.
    pub(crate) fn would_only_read(&self, txn: &pb::TxnRequest) -> bool {
        is_reading(txn, &self.path(txn))
    }

    fn path(&self, txn: &pb::TxnRequest) -> Path {
        let revision = self.store.revision();
        let succeeded = txn.compare.iter().all(|compare| compare::holds(&self.store, revision, compare));
        let nested = branch(txn, succeeded).iter().filter_map(|op| match &op.request {
            Some(Request::RequestTxn(txn)) => Some(self.path(txn)),
            _ => None,
        });
        Path { succeeded, nested: nested.collect() }
    }

    fn check_branch(&self, txn: &pb::TxnRequest, path: &Path) -> Result<(), Failure> {
        let mut nested = path.nested.iter();
        for op in branch(txn, path.succeeded) {
            match &op.request {
                Some(Request::RequestPut(put)) => {
                    self.check_ignored(put, self.store.revision())?;
                    self.check_lease(put)?;
                }
                Some(Request::RequestRange(range)) => {
                    if range.revision != 0 {
                        self.store.reads_at(range.revision, self.store.revision())?;
                        // Alone, a negative revision reads the newest; in a transaction it is one of long ago.
                        if range.revision < self.store.compacted() {
                            return Err(Failure::Compacted);
                        }
                    }
                }
                Some(Request::RequestTxn(txn)) => {
                    let path = nested.next().expect("a path has one for each transaction in it");
                    self.check_branch(txn, path)?;
                }
                Some(Request::RequestDeleteRange(_)) | None => {}
            }
        }
        Ok(())
    }

    fn run(&mut self, txn: &pb::TxnRequest, path: &Path, sub: &mut u32) -> Result<pb::TxnResponse, Failure> {
        let mut nested = path.nested.iter();
        let mut responses = Vec::new();
        for op in branch(txn, path.succeeded) {
            let response = match &op.request {
                Some(Request::RequestRange(range)) => {
                    Response::ResponseRange(range::whole(&self.store, range, self.written(*sub))?)
                }
                Some(Request::RequestPut(put)) => {
                    let response = self.put_in(put, sub);
                    Response::ResponsePut(pb::PutResponse { header: self.nested_header(*sub), ..response })
                }
                Some(Request::RequestDeleteRange(delete)) => {
                    let response = self.delete_in(delete, sub);
                    Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                        header: self.nested_header(*sub),
                        ..response
                    })
                }
                Some(Request::RequestTxn(txn)) => {
                    let path = nested.next().expect("a path has one for each transaction in it");
                    let response = self.run(txn, path, sub)?;
                    Response::ResponseTxn(pb::TxnResponse { header: Some(pb::ResponseHeader::default()), ..response })
                }
                None => continue,
            };
            responses.push(pb::ResponseOp { response: Some(response) });
        }
        Ok(pb::TxnResponse { header: None, succeeded: path.succeeded, responses })
    }

    /// The revision that the transaction has come to: its own, once it has written.
    fn written(&self, sub: u32) -> i64 {
        self.store.revision() + i64::from(sub > 0)
    }

    fn nested_header(&self, sub: u32) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { revision: self.written(sub), ..Default::default() })
    }
}

fn branch(txn: &pb::TxnRequest, succeeded: bool) -> &[pb::RequestOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

fn is_reading(txn: &pb::TxnRequest, path: &Path) -> bool {
    let mut nested = path.nested.iter();
    branch(txn, path.succeeded).iter().all(|op| match &op.request {
        Some(Request::RequestRange(_)) | None => true,
        Some(Request::RequestTxn(txn)) => nested.next().is_some_and(|path| is_reading(txn, path)),
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => false,
    })
}
