//! `/metrics?pattern=`: what Prometheus would be told, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Metric;
use axum::Json;
use axum::extract::{Query, State};
use prometheus::proto;

use super::Shared;

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Json<Vec<Metric>> {
    let pattern = query.get("pattern").map(String::as_str).unwrap_or_default();
    let mut found = Vec::new();
    for family in shared.registry.gather().iter().filter(|family| family.name().contains(pattern)) {
        for metric in family.get_metric() {
            let labels: BTreeMap<String, String> =
                metric.get_label().iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
            let mut add = |suffix: &str, value: f64| {
                found.push(Metric { name: format!("{}{suffix}", family.name()), labels: labels.clone(), value });
            };
            match family.get_field_type() {
                proto::MetricType::COUNTER => add("", metric.get_counter().get_value()),
                proto::MetricType::GAUGE => add("", metric.get_gauge().get_value()),
                proto::MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    add("_count", histogram.get_sample_count() as f64);
                    add("_sum", histogram.get_sample_sum());
                }
                _ => {}
            }
        }
    }
    Json(found)
}
