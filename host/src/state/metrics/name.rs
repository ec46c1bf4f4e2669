//! Names and labels as guests write them → as Prometheus takes them.

use super::{Labels, MetricError, MetricKind};

/// Most bytes of a metric's name.
pub const MAX_NAME_BYTES: usize = 256;
/// Most labels of a series.
pub const MAX_LABELS: usize = 16;
/// Most bytes of a label's name, and of its value.
pub const MAX_LABEL_BYTES: usize = 256;

/// `sluicegate_plugin_<plugin>_<name>`, what Prometheus does not allow written as `_`. A counter's `_total` is left out: the
/// exposition adds it.
pub(super) fn exposed(plugin: &str, kind: MetricKind, name: &str) -> Result<String, MetricError> {
    let stem = match kind {
        MetricKind::Counter => name.strip_suffix("_total").unwrap_or(name),
        MetricKind::Gauge | MetricKind::Histogram => name,
    };
    if stem.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(MetricError::BadName);
    }
    Ok(format!("sluicegate_plugin_{}_{}", sanitised(plugin), sanitised(stem)))
}

/// The labels sorted, with usable names: each once, none of those that Prometheus keeps for itself.
pub(super) fn labels(labels: &[(String, String)]) -> Result<Labels, MetricError> {
    let too_long = |(name, value): &(String, String)| name.len() > MAX_LABEL_BYTES || value.len() > MAX_LABEL_BYTES;
    if labels.len() > MAX_LABELS || labels.iter().any(too_long) {
        return Err(MetricError::BadName);
    }
    let mut labels: Labels = labels.iter().map(|(name, value)| (sanitised(name), value.clone())).collect();
    labels.sort();
    let reserved = |name: &str| name.starts_with("__") || matches!(name, "le" | "quantile");
    let unusable =
        |name: &str| name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || reserved(name);
    let repeated = labels.windows(2).any(|pair| pair[0].0 == pair[1].0);
    if repeated || labels.iter().any(|(name, _)| unusable(name)) {
        return Err(MetricError::BadName);
    }
    Ok(labels)
}

fn sanitised(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}
