//! Metrics: counters, gauges and histograms, with labels.
//!
//! They are defined at their first use and remembered. In hosts without labels these become part of the name
//! (`denied.reason=expired`). Label values must be few: the host bounds how many metrics a plugin may have.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::extension::{self, METRIC};
use crate::host::{HOST, Host, HostError, MetricKind};
use crate::pairs;

thread_local! {
    /// Ids by kind, name and labels; none for those that the host refused.
    static IDS: RefCell<BTreeMap<Vec<u8>, Option<u32>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A metric that counts up.
#[derive(Clone, Copy, Debug)]
pub struct CounterMetric(Option<u32>);

impl CounterMetric {
    /// Adds one.
    pub fn inc(self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(self, n: u64) {
        // Some hosts refuse to add nothing.
        if let (Some(id), 1..) = (self.0, n) {
            HOST.increment_metric(id, i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
}

/// A metric that is set.
#[derive(Clone, Copy, Debug)]
pub struct GaugeMetric(Option<u32>);

impl GaugeMetric {
    /// Sets it.
    pub fn set(self, value: u64) {
        if let Some(id) = self.0 {
            HOST.record_metric(id, value);
        }
    }

    /// Adds `delta`, which may be negative.
    pub fn add(self, delta: i64) {
        if let Some(id) = self.0 {
            HOST.increment_metric(id, delta);
        }
    }
}

/// A metric whose values are distributed.
#[derive(Clone, Copy, Debug)]
pub struct HistogramMetric(Option<u32>);

impl HistogramMetric {
    /// Adds a value.
    pub fn record(self, value: u64) {
        if let Some(id) = self.0 {
            HOST.record_metric(id, value);
        }
    }
}

/// Looks a counter up; used by the macro.
#[doc(hidden)]
#[must_use]
pub fn counter(name: &str, labels: &[(&str, &dyn ToString)]) -> CounterMetric {
    CounterMetric(id(MetricKind::Counter, name, labels))
}

/// Looks a gauge up; used by the macro.
#[doc(hidden)]
#[must_use]
pub fn gauge(name: &str, labels: &[(&str, &dyn ToString)]) -> GaugeMetric {
    GaugeMetric(id(MetricKind::Gauge, name, labels))
}

/// Looks a histogram up; used by the macro.
#[doc(hidden)]
#[must_use]
pub fn histogram(name: &str, labels: &[(&str, &dyn ToString)]) -> HistogramMetric {
    HistogramMetric(id(MetricKind::Histogram, name, labels))
}

fn id(kind: MetricKind, name: &str, labels: &[(&str, &dyn ToString)]) -> Option<u32> {
    let labels: Vec<(&str, String)> = labels.iter().map(|(key, value)| (*key, value.to_string())).collect();
    let arguments = arguments(kind, name, &labels);
    if let Some(known) = IDS.with_borrow(|ids| ids.get(&arguments).copied()) {
        return known;
    }
    let id = match extension::call(METRIC, &arguments) {
        Ok(result) => result.get(..4).and_then(|id| id.try_into().ok()).map(u32::from_le_bytes),
        Err(HostError::NotFound) => HOST.define_metric(kind, &plain_name(name, &labels)),
        Err(_) => {
            crate::log::error(&format!("metric `{}` was refused: this plugin has too many", plain_name(name, &labels)));
            None
        }
    };
    IDS.with_borrow_mut(|ids| ids.insert(arguments, id));
    id
}

/// The arguments of `sluicegate.metric`; they also are the key under which its id is remembered.
fn arguments(kind: MetricKind, name: &str, labels: &[(&str, String)]) -> Vec<u8> {
    let mut arguments = vec![kind as u8];
    arguments.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
    arguments.extend_from_slice(name.as_bytes());
    arguments.extend(pairs::encode(labels.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()))));
    arguments
}

fn plain_name(name: &str, labels: &[(&str, String)]) -> String {
    labels.iter().fold(name.to_owned(), |name, (key, value)| format!("{name}.{key}={value}"))
}

/// Another host has other ids.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn forget() {
    IDS.with_borrow_mut(BTreeMap::clear);
}

/// A counter: `counter!("denied", reason = "expired").inc()`.
#[macro_export]
macro_rules! counter {
    ($name:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__private::counter($name, &[$((::core::stringify!($key), &$value as &dyn ::std::string::ToString)),*])
    };
}

/// A gauge: `gauge!("keys").set(3)`.
#[macro_export]
macro_rules! gauge {
    ($name:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__private::gauge($name, &[$((::core::stringify!($key), &$value as &dyn ::std::string::ToString)),*])
    };
}

/// A histogram: `histogram!("body_bytes").record(512)`.
#[macro_export]
macro_rules! histogram {
    ($name:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__private::histogram($name, &[$((::core::stringify!($key), &$value as &dyn ::std::string::ToString)),*])
    };
}
