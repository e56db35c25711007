//! Why an endpoint was not created.

use model::EndpointId;

/// Nothing of the endpoint is left behind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Another endpoint has the address.
    #[error("address {address} is in use by endpoint {holder}")]
    AddressInUse {
        /// The address.
        address: std::net::IpAddr,
        /// Who has it.
        holder: EndpointId,
    },
    /// The number of endpoints is bounded by their 16-bit ids.
    #[error("this node has {0} endpoints, and ids for no more")]
    TooMany(usize),
    /// No identity for its labels in time.
    #[error("no identity for labels {labels} within {seconds} s: {reason}; the runtime will try again")]
    NoIdentity {
        /// The labels.
        labels: String,
        /// How long was waited.
        seconds: u64,
        /// What the allocator said last.
        reason: String,
    },
    /// Policy and datapath were not in place in time.
    #[error("endpoint {id} was not realised within {seconds} s: see `causeway status`")]
    NotRealized {
        /// The endpoint.
        id: EndpointId,
        /// How long was waited.
        seconds: u64,
    },
    /// The endpoint was deleted while it was being created.
    #[error("endpoint {0} was deleted while it was being created")]
    Deleted(EndpointId),
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
}
