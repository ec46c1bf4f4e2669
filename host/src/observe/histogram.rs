//! Latency histograms: nanoseconds in fixed buckets, and what can be told from them.

use super::sharded::{Count, Slot};

/// Bounds for callbacks of filters, nanoseconds: 200 ns to 1 s.
pub(super) static CALLBACK_BOUNDS: [u64; 21] = [
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

/// Bounds for HTTP requests, nanoseconds: OpenTelemetry's (5 ms to 10 s), and 0.5 to 2.5 ms, where a gateway spends its time.
pub(super) static REQUEST_BOUNDS: [u64; 17] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Counts of observations in `N` buckets and one beyond. Lives inside a [`super::sharded::Sharded`].
pub(super) struct Histogram<const N: usize> {
    buckets: [Count; N],
    over: Count,
    sum: Count,
}

impl<const N: usize> Histogram<N> {
    pub(super) fn record(&self, bounds: &[u64; N], nanos: u64, slot: Slot) {
        // Most observations are in the first buckets, where a plain walk beats a binary search.
        let place = bounds.iter().position(|bound| nanos <= *bound);
        place.map_or(&self.over, |place| &self.buckets[place]).add(1, slot);
        self.sum.add(nanos, slot);
    }

    /// Adds what is counted here to `total`, which has the same bounds.
    pub(super) fn add_to(&self, total: &mut Distribution) {
        for (total, count) in total.counts.iter_mut().zip(self.buckets.iter().chain([&self.over])) {
            *total = total.wrapping_add(count.get());
        }
        total.sum = total.sum.wrapping_add(self.sum.get());
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Count::default()), over: Count::default(), sum: Count::default() }
    }
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bounds of the buckets, nanoseconds.
    bounds: &'static [u64],
    /// Observations per bucket, and one beyond the last bound.
    counts: Vec<u64>,
    /// Sum of all observations, nanoseconds.
    sum: u64,
}

impl Distribution {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0 }
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all observations, nanoseconds.
    #[must_use]
    pub fn sum_nanos(&self) -> u64 {
        self.sum
    }

    /// Adds what another of the same bounds counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.wrapping_add(*more);
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// An estimate of the value, in nanoseconds, that `percent` of a hundred observations do not pass: exact at the bounds, linear
    /// between them, the last bound for all beyond it. `None` when nothing was observed.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let count = u128::from(self.count());
        if count == 0 {
            return None;
        }
        // Hundredths of observations, so that no rounding decides between two buckets.
        let wanted = count * u128::from(percent.min(100));
        let (mut below, mut lower) = (0_u128, 0_u64);
        for (upper, inside) in self.bounds.iter().zip(&self.counts) {
            let inside = u128::from(*inside) * 100;
            if inside > 0 && below + inside >= wanted {
                let width = u128::from(upper - lower);
                let part = width * (wanted - below) / inside;
                return u64::try_from(u128::from(lower) + part).ok();
            }
            below += inside;
            lower = *upper;
        }
        Some(lower)
    }

    /// Buckets with bounds in seconds, as Prometheus takes them (not cumulated).
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied()).collect()
    }

    /// Sum in seconds.
    pub(super) fn sum_seconds(&self) -> f64 {
        seconds(self.sum)
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::super::sharded::Sharded;
    use super::*;

    fn observed(values: &[u64]) -> Distribution {
        let histogram = Sharded::<Histogram<21>>::default();
        for value in values {
            let (local, slot) = histogram.local();
            local.record(&CALLBACK_BOUNDS, *value, slot);
        }
        let mut total = Distribution::new(&CALLBACK_BOUNDS);
        histogram.iter().for_each(|histogram| histogram.add_to(&mut total));
        total
    }

    #[test]
    fn observations_fall_into_the_bucket_whose_bound_they_do_not_pass() {
        let total = observed(&[0, 200, 201, 1_000_000_000, 1_000_000_001, u64::MAX >> 1]);
        assert_eq!((total.counts[0], total.counts[1], total.counts[20], total.counts[21]), (2, 1, 1, 2));
        assert_eq!(total.count(), 6);
        assert_eq!(total.buckets().last(), Some(&(f64::INFINITY, 2)));
        assert!((total.buckets()[0].0 - 2e-7).abs() < 1e-12);
    }

    #[test]
    fn percentiles_are_estimated_within_their_bucket() {
        assert_eq!(observed(&[]).percentile(50), None);
        let total = observed(&[700; 100]);
        assert_eq!(total.percentile(50), Some(750));
        assert_eq!(total.percentile(100), Some(1000));
        let mut values = vec![150; 98];
        values.extend([40_000, u64::from(u32::MAX)]);
        let total = observed(&values);
        assert!(total.percentile(95) <= Some(200));
        assert_eq!(total.percentile(99), Some(50_000));
        assert_eq!(total.percentile(100), Some(1_000_000_000));
    }

    #[test]
    fn merging_adds_counts_and_sums() {
        let mut total = observed(&[100, 300]);
        total.merge(&observed(&[100]));
        assert_eq!((total.count(), total.sum_nanos(), total.counts[0]), (3, 500, 2));
    }
}
