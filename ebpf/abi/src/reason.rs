//! Why packets are dropped: Cilium's codes and Hubble's names.

/// Metric reason of a packet that passed.
pub const FORWARDED: u8 = 0;

/// Metric reason of an event that found the ring buffer full. No packet was lost by it.
pub const EVENT_LOST: u8 = 1;

/// A drop code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(pub u8);

macro_rules! reasons {
    ($($konst:ident = $code:literal, $hubble:literal, $text:literal;)*) => {
        impl Reason {
            $(pub const $konst: Self = Self($code);)*

            /// Hubble's name of the code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 { $($code => $hubble,)* _ => "DROP_REASON_UNKNOWN" }
            }

            /// The words that `monitor` and the metrics' `reason` label use.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self.0 { 0 => "Success", 1 => "Event lost", $($code => $text,)* _ => "Unknown reason" }
            }
        }
    };
}
reasons! {
    INVALID_SOURCE_IP = 132, "INVALID_SOURCE_IP", "Invalid source ip";
    POLICY_DENIED = 133, "POLICY_DENIED", "Policy denied";
    INVALID_PACKET = 134, "INVALID_PACKET_DROPPED", "Invalid packet";
    CT_TRUNCATED = 135, "CT_TRUNCATED_OR_INVALID_HEADER", "CT: Truncated or invalid header";
    CT_UNKNOWN_PROTOCOL = 137, "CT_UNKNOWN_L4_PROTOCOL", "CT: Unknown L4 protocol";
    UNSUPPORTED_L3 = 139, "UNSUPPORTED_L3_PROTOCOL", "Unsupported L3 protocol";
    WRITE_ERROR = 141, "ERROR_WRITING_TO_PACKET", "Error while writing to packet";
    NO_TUNNEL_KEY = 147, "ERROR_RETRIEVING_TUNNEL_KEY", "Error retrieving tunnel key";
    UNKNOWN_L3_TARGET = 150, "UNKNOWN_L3_TARGET_ADDRESS", "Unknown L3 target address";
    NO_LOCAL_CONTAINER = 152, "NO_MATCHING_LOCAL_CONTAINER_FOUND", "No matching local container found";
    CSUM_L3 = 153, "ERROR_WHILE_CORRECTING_L3_CHECKSUM", "Error while correcting L3 checksum";
    CSUM_L4 = 154, "ERROR_WHILE_CORRECTING_L4_CHECKSUM", "Error while correcting L4 checksum";
    CT_INSERTION_FAILED = 155, "CT_MAP_INSERTION_FAILED", "CT: Map insertion failed";
    INVALID_IPV6_EXTENSION = 156, "INVALID_IPV6_EXTENSION_HEADER", "Invalid IPv6 extension header";
    FRAGMENT = 157, "IP_FRAGMENTATION_NOT_SUPPORTED", "IP fragmentation not supported";
    NO_BACKEND = 158, "SERVICE_BACKEND_NOT_FOUND", "Service backend not found";
    NO_TUNNEL = 160, "NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT", "No tunnel/encapsulation endpoint (datapath BUG!)";
    NO_POLICY_CONFIG = 165, "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION", "No configuration available to perform policy decision";
    UNSUPPORTED_L2 = 166, "UNSUPPORTED_L2_PROTOCOL", "Unsupported L2 protocol";
    ENCAP_PROHIBITED = 170, "ENCAPSULATION_TRAFFIC_IS_PROHIBITED", "Encapsulation traffic is prohibited";
    INVALID_IDENTITY = 171, "INVALID_IDENTITY", "Invalid identity";
    POLICY_DENY = 181, "POLICY_DENY", "Policy denied by denylist";
    TTL_EXCEEDED = 196, "TTL_EXCEEDED", "TTL exceeded";
    ENDPOINT_NOT_READY = 203, "DROP_EP_NOT_READY", "Endpoint not ready";
}
