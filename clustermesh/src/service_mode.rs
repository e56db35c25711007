//! In which form a cluster's backends are read: as services, or as endpoint slices.

use std::str::FromStr;

use wire::cluster_config::SliceExport;
use wire::key::Resource;

/// `--clustermesh-service-v2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServiceMode {
    /// Services, and slices of clusters that export nothing else.
    #[default]
    PreferLegacy,
    /// Slices, and services of clusters that export nothing else.
    PreferEndpointSlice,
    /// Slices; nothing of clusters that export none.
    OnlyEndpointSlice,
}

// === impl ServiceMode ===

impl ServiceMode {
    /// What to read of a cluster that exports this; `None`: it has nothing that we want.
    pub fn reads(self, exported: SliceExport) -> Option<Resource> {
        match (self, exported) {
            (Self::OnlyEndpointSlice, SliceExport::Services) => None,
            (Self::PreferLegacy | Self::PreferEndpointSlice, SliceExport::Services)
            | (Self::PreferLegacy, SliceExport::ServicesAndEndpointSlices) => Some(Resource::Services),
            _ => Some(Resource::EndpointSlices),
        }
    }
}

impl FromStr for ServiceMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "prefer-legacy" => Ok(Self::PreferLegacy),
            "prefer-endpointslice" => Ok(Self::PreferEndpointSlice),
            "only-endpointslice" => Ok(Self::OnlyEndpointSlice),
            _ => Err("it is prefer-legacy, prefer-endpointslice or only-endpointslice".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_read_in_a_form_that_it_exports() {
        fn check(mode: &str, expect: [&str; 3]) {
            let mode: ServiceMode = mode.parse().unwrap();
            let exports =
                [SliceExport::Services, SliceExport::ServicesAndEndpointSlices, SliceExport::EndpointSlicesOnly];
            assert_eq!(exports.map(|exported| mode.reads(exported).map_or("", Resource::path)), expect);
        }
        check("prefer-legacy", ["services/v1", "services/v1", "endpointslices/v1"]);
        check("prefer-endpointslice", ["services/v1", "endpointslices/v1", "endpointslices/v1"]);
        check("only-endpointslice", ["", "endpointslices/v1", "endpointslices/v1"]);
    }
}
