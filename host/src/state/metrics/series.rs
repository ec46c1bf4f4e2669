//! The values behind metric ids, read and raised without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::{MetricError, MetricKind};

/// Most series of the process.
pub const MAX_SERIES: usize = CHUNKS * CHUNK;

const CHUNKS: usize = 64;
const CHUNK: usize = 1024;

/// Upper bounds of a histogram's buckets; what is larger counts in one more.
pub const HISTOGRAM_BOUNDS: [u64; 28] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
];

/// A value as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(i64),
    /// Of a histogram: observations per bucket (one more than [`HISTOGRAM_BOUNDS`]), and the sum of what was observed.
    Histogram(Vec<u64>, u64),
}

/// Series by id, 1 and up. It only grows, in chunks, so a reader needs no lock.
pub(super) struct Table {
    chunks: [OnceLock<Box<[OnceLock<Series>]>>; CHUNKS],
    last: AtomicU32,
}

impl Table {
    pub(super) fn get(&self, id: u32) -> Option<&Series> {
        let place = usize::try_from(id).ok()?.checked_sub(1)?;
        self.chunks.get(place / CHUNK)?.get()?.get(place % CHUNK)?.get()
    }

    /// Adds a series; `None` when there are [`MAX_SERIES`]. Only one thread may add at a time.
    pub(super) fn push(&self, series: Series) -> Option<u32> {
        let last = self.last.load(Relaxed);
        let place = usize::try_from(last).ok()?;
        let chunk = self.chunks.get(place / CHUNK)?.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        chunk.get(place % CHUNK)?.set(series).ok()?;
        self.last.store(last + 1, Relaxed);
        Some(last + 1)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], last: AtomicU32::new(0) }
    }
}

pub(super) enum Series {
    Counter(AtomicU64),
    Gauge(AtomicI64),
    Histogram(Box<Histogram>),
}

#[derive(Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; HISTOGRAM_BOUNDS.len()],
    over: AtomicU64,
    sum: AtomicU64,
}

impl Series {
    pub(super) fn new(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Self::Counter(AtomicU64::default()),
            MetricKind::Gauge => Self::Gauge(AtomicI64::default()),
            MetricKind::Histogram => Self::Histogram(Box::default()),
        }
    }

    pub(super) fn increment(&self, delta: i64) -> Result<(), MetricError> {
        match self {
            Self::Counter(value) => add(value, u64::try_from(delta).map_err(|_| MetricError::Invalid)?),
            Self::Gauge(value) => {
                value.update(Relaxed, Relaxed, |value| value.saturating_add(delta));
            }
            Self::Histogram(_) => return Err(MetricError::Invalid),
        }
        Ok(())
    }

    pub(super) fn record(&self, number: u64) {
        match self {
            Self::Counter(value) => add(value, number),
            Self::Gauge(value) => value.store(number.cast_signed(), Relaxed),
            Self::Histogram(histogram) => {
                let place = HISTOGRAM_BOUNDS.partition_point(|bound| *bound < number);
                histogram.buckets.get(place).unwrap_or(&histogram.over).fetch_add(1, Relaxed);
                add(&histogram.sum, number);
            }
        }
    }

    pub(super) fn get(&self) -> Result<u64, MetricError> {
        match self {
            Self::Counter(value) => Ok(value.load(Relaxed)),
            Self::Gauge(value) => Ok(value.load(Relaxed).cast_unsigned()),
            Self::Histogram(_) => Err(MetricError::Invalid),
        }
    }

    pub(super) fn value(&self) -> Value {
        match self {
            Self::Counter(value) => Value::Counter(value.load(Relaxed)),
            Self::Gauge(value) => Value::Gauge(value.load(Relaxed)),
            Self::Histogram(histogram) => {
                let counts = histogram.buckets.iter().chain([&histogram.over]);
                Value::Histogram(counts.map(|count| count.load(Relaxed)).collect(), histogram.sum.load(Relaxed))
            }
        }
    }
}

/// Adds without wrapping: a guest chooses the number.
fn add(value: &AtomicU64, number: u64) {
    value.update(Relaxed, Relaxed, |value| value.saturating_add(number));
}
