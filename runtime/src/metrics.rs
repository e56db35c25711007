//! The process's metrics in Prometheus' text format.

use prometheus::{Encoder, Registry, TextEncoder};

/// Everything the registry holds, as `/metrics` answers it.
///
/// # Errors
///
/// When a metric breaks the format's rules, which is a mistake in our own code.
pub fn text(registry: &Registry) -> Result<String, prometheus::Error> {
    let mut buffer = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut buffer)?;
    String::from_utf8(buffer).map_err(|error| prometheus::Error::Msg(error.to_string()))
}

/// Registers a metric and hands it back.
///
/// # Panics
///
/// When a metric of that name is registered already: two places in our own code claim one name.
pub fn register<M: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: M) -> M {
    registry.register(Box::new(metric.clone())).expect("each metric is registered once per process");
    metric
}
