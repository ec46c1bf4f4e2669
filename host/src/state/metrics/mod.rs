//! Metrics that guests define (`proxy_define_metric`, `sluicegate.metric`): process-wide, by plugin and name, on all workers the same.
//!
//! Defining takes a lock; raising and reading do not. Names become Prometheus names when they are defined, so two names that differ
//! only in characters that Prometheus has not (`a.b`, `a_b`) are one metric. A metric lives as long as the process.

mod name;
mod series;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

pub use series::{HISTOGRAM_BOUNDS, MAX_SERIES, Value};
use series::{Series, Table};

/// Most metric names of one plugin.
pub const MAX_NAMES_PER_PLUGIN: usize = 256;
/// Most series (names times sets of labels) of one plugin.
pub const MAX_SERIES_PER_PLUGIN: usize = 4096;
pub use name::{MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES};

/// The types of `proxy_define_metric`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down, below zero too.
    Gauge,
    /// Counts observations in [`HISTOGRAM_BOUNDS`]; the unit is the guest's.
    Histogram,
}

/// Why a metric call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// No metric has that id.
    #[error("no metric has this id")]
    Unknown,
    /// The kind of metric does not know this operation (a counter going down, a histogram being incremented or read).
    #[error("this kind of metric does not know this operation")]
    Invalid,
    /// The name is defined with another kind.
    #[error("the metric is defined with another kind")]
    KindMismatch,
    /// The plugin, or the process, has as many metrics as it may.
    #[error("too many metrics")]
    Full,
    /// The name or a label cannot be exposed, or the name belongs to another plugin.
    #[error("the metric's name or a label is not usable")]
    BadName,
}

/// Labels of a series, sorted by name.
pub type Labels = Vec<(String, String)>;

/// All series of one name, as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// `sluicegate_plugin_<plugin>_<name>`, without a counter's `_total`.
    pub name: String,
    /// Its kind.
    pub kind: MetricKind,
    /// Every series with its labels.
    pub series: Vec<(Labels, Value)>,
}

/// Every metric of every plugin.
#[derive(Default)]
pub struct Metrics {
    series: Table,
    definitions: Mutex<Definitions>,
}

#[derive(Default)]
struct Definitions {
    /// By exposed name.
    families: BTreeMap<String, Definition>,
    usage: HashMap<Box<str>, Usage>,
}

struct Definition {
    plugin: Box<str>,
    kind: MetricKind,
    ids: BTreeMap<Labels, u32>,
}

#[derive(Default)]
struct Usage {
    names: usize,
    series: usize,
}

impl Metrics {
    /// The id of the series of that name and those labels (in any order), made when there is none. Never 0.
    ///
    /// # Errors
    /// All but [`MetricError::Unknown`] and [`MetricError::Invalid`].
    pub fn define(
        &self,
        plugin: &str,
        kind: MetricKind,
        name: &str,
        labels: &[(String, String)],
    ) -> Result<u32, MetricError> {
        let name = name::exposed(plugin, kind, name)?;
        let labels = name::labels(labels)?;
        let mut definitions = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        let Definitions { families, usage } = &mut *definitions;
        let known = families.get_mut(&name);
        if let Some(family) = &known {
            if *family.plugin != *plugin {
                return Err(MetricError::BadName);
            }
            if family.kind != kind {
                return Err(MetricError::KindMismatch);
            }
            if let Some(id) = family.ids.get(&labels) {
                return Ok(*id);
            }
        }
        let usage = usage.entry(plugin.into()).or_default();
        let is_new = known.is_none();
        if usage.series >= MAX_SERIES_PER_PLUGIN || (is_new && usage.names >= MAX_NAMES_PER_PLUGIN) {
            return Err(MetricError::Full);
        }
        let id = self.series.push(Series::new(kind)).ok_or(MetricError::Full)?;
        usage.series += 1;
        usage.names += usize::from(is_new);
        let fresh = || Definition { plugin: plugin.into(), kind, ids: BTreeMap::new() };
        families.entry(name).or_insert_with(fresh).ids.insert(labels, id);
        Ok(id)
    }

    /// Adds to a counter or a gauge, saturating (`proxy_increment_metric`).
    ///
    /// # Errors
    /// [`MetricError::Unknown`]; [`MetricError::Invalid`] for a counter that would go down and for a histogram.
    pub fn increment(&self, id: u32, delta: i64) -> Result<(), MetricError> {
        self.series.get(id).ok_or(MetricError::Unknown)?.increment(delta)
    }

    /// Sets a gauge, observes in a histogram, adds to a counter, as Envoy does (`proxy_record_metric`). A gauge takes the number
    /// as the two's complement it is in the ABI.
    ///
    /// # Errors
    /// [`MetricError::Unknown`]
    pub fn record(&self, id: u32, value: u64) -> Result<(), MetricError> {
        self.series.get(id).ok_or(MetricError::Unknown)?.record(value);
        Ok(())
    }

    /// The present value of a counter or a gauge (`proxy_get_metric`).
    ///
    /// # Errors
    /// [`MetricError::Unknown`]; [`MetricError::Invalid`] for a histogram.
    pub fn get(&self, id: u32) -> Result<u64, MetricError> {
        self.series.get(id).ok_or(MetricError::Unknown)?.get()
    }

    /// Every metric as it is now, sorted by name and labels.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let definitions = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut families = Vec::with_capacity(definitions.families.len());
        for (name, definition) in &definitions.families {
            let value = |id: &u32| self.series.get(*id).map(Series::value);
            let series = definition.ids.iter().filter_map(|(labels, id)| Some((labels.clone(), value(id)?)));
            families.push(Family { name: name.clone(), kind: definition.kind, series: series.collect() });
        }
        families
    }
}

#[cfg(test)]
mod tests;
