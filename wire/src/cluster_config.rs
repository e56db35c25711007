//! `cluster-config/<cluster>`: how to read this cluster.

use model::{ClusterId, ClusterName};

use crate::{
    Broken, DecodeError,
    error::{Fault, Read},
    json::{Reader, Writer, field_name, parse},
};

pub const PREFIX: &str = "cilium/cluster-config/";

/// Compare these, not their bytes, before rewriting: two writers with different bytes would never
/// come to rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterConfig {
    pub id: ClusterId,
    /// Each prefix has a canary that is written after all its keys; readers wait for it.
    pub synced_canaries: bool,
    /// The data is a mirror, under `cilium/cache/`.
    pub cached: bool,
    /// 255 or 511; 0 is not stated.
    pub max_connected_clusters: u32,
    /// `None`: the writer is too old to know of service exports.
    pub service_exports_enabled: Option<bool>,
    pub endpoint_slices: SliceExport,
}

/// What stands for services. Any other word makes the cluster unusable to 1.20 readers, and to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SliceExport {
    /// Not stated: services only.
    #[default]
    Services,
    ServicesAndEndpointSlices,
    EndpointSlicesOnly,
}

pub fn key(cluster: &ClusterName) -> String {
    format!("{PREFIX}{cluster}")
}

pub fn encode(config: &ClusterConfig) -> Vec<u8> {
    Writer::document(|w| {
        if config.id != ClusterId::NONE {
            w.name("id").plain(config.id);
        }
        w.name("capabilities").object(|w| {
            if config.synced_canaries {
                w.name("syncedCanaries").plain(true);
            }
            if config.cached {
                w.name("cached").plain(true);
            }
            if config.max_connected_clusters != 0 {
                w.name("maxConnectedClusters").plain(config.max_connected_clusters);
            }
            if let Some(enabled) = config.service_exports_enabled {
                w.name("serviceExportsEnabled").plain(enabled);
            }
            if config.endpoint_slices != SliceExport::Services {
                w.name("endpointSlicesExportMode").string(config.endpoint_slices.as_str());
            }
        });
    })
}

/// # Errors
/// Besides malformed values: an id above 511, and an unknown endpoint slice mode.
pub fn decode(key: &str, value: &[u8]) -> Result<ClusterConfig, DecodeError> {
    parse(value, read).map_err(|fault| fault.of(key))
}

fn read(r: &mut Reader<'_>) -> Read<ClusterConfig> {
    let mut config = ClusterConfig::default();
    let mut id: u32 = 0;
    r.object(|r, key| {
        match field_name(key, &["id", "capabilities"]) {
            Some("id") => id = r.uint()?.unwrap_or(id),
            Some("capabilities") => r.object(|r, key| read_capability(r, key, &mut config))?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    config.id = ClusterId::try_new(id).map_err(|e| Fault::at("id", e))?;
    Ok(config)
}

fn read_capability(r: &mut Reader<'_>, key: &str, config: &mut ClusterConfig) -> Read<()> {
    const NAMES: [&str; 5] =
        ["syncedCanaries", "cached", "maxConnectedClusters", "serviceExportsEnabled", "endpointSlicesExportMode"];
    match field_name(key, &NAMES) {
        Some("syncedCanaries") => config.synced_canaries = r.bool()?.unwrap_or(config.synced_canaries),
        Some("cached") => config.cached = r.bool()?.unwrap_or(config.cached),
        Some("maxConnectedClusters") => {
            config.max_connected_clusters = r.uint()?.unwrap_or(config.max_connected_clusters);
        }
        // A pointer in Go: `null` is none.
        Some("serviceExportsEnabled") => config.service_exports_enabled = r.bool()?,
        Some("endpointSlicesExportMode") => {
            let Some(word) = r.string()? else { return Ok(()) };
            let mode = SliceExport::from_text(&word);
            config.endpoint_slices = mode.ok_or_else(|| Fault::new(Broken::Word(word.into_owned())))?;
        }
        _ => r.skip()?,
    }
    Ok(())
}

// === impl SliceExport ===

impl SliceExport {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Services => "",
            Self::ServicesAndEndpointSlices => "services-and-endpointslices",
            Self::EndpointSlicesOnly => "endpointslices-only",
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        [Self::Services, Self::ServicesAndEndpointSlices, Self::EndpointSlicesOnly]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &ClusterConfig, text: &str) {
        assert_eq!(String::from_utf8(encode(config)).unwrap(), text);
        assert_eq!(decode("k", text.as_bytes()).as_ref(), Ok(config));
    }

    #[test]
    fn each_writers_form() {
        check(&ClusterConfig::default(), r#"{"capabilities":{}}"#);
        let mut config = ClusterConfig {
            id: ClusterId::try_new(2).unwrap(),
            max_connected_clusters: 255,
            service_exports_enabled: Some(false),
            ..ClusterConfig::default()
        };
        check(&config, r#"{"id":2,"capabilities":{"maxConnectedClusters":255,"serviceExportsEnabled":false}}"#);
        config.synced_canaries = true;
        config.cached = true;
        check(
            &config,
            r#"{"id":2,"capabilities":{"syncedCanaries":true,"cached":true,"maxConnectedClusters":255,"serviceExportsEnabled":false}}"#,
        );
    }

    #[test]
    fn an_unknown_mode_and_a_large_id_are_refused() {
        assert!(decode("k", br#"{"id":1,"capabilities":{"endpointSlicesExportMode":"both"}}"#).is_err());
        assert!(decode("k", br#"{"id":512}"#).is_err());
        assert!(decode("k", br#"{"id":"1"}"#).is_err());
        assert!(decode("k", br#"{"id":1,"capabilities":{"New":1}}"#).is_ok());
    }
}
