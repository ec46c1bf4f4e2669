//! Metrics of guests: identity, semantics per kind, bounds, concurrency.

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn define(metrics: &Metrics, kind: MetricKind, name: &str) -> u32 {
    metrics.define("plugin", kind, name, &[]).unwrap()
}

#[test]
fn the_same_definition_has_the_same_id() {
    let metrics = Metrics::default();
    let id = define(&metrics, MetricKind::Counter, "requests");
    assert_ne!(id, 0);
    assert_eq!(define(&metrics, MetricKind::Counter, "requests"), id);
    assert_eq!(define(&metrics, MetricKind::Counter, "requests_total"), id);
    assert_ne!(define(&metrics, MetricKind::Counter, "others"), id);
    assert_ne!(metrics.define("other", MetricKind::Counter, "requests", &[]), Ok(id));
}

#[test]
fn labels_in_any_order_make_one_series() {
    let metrics = Metrics::default();
    let define = |pairs| metrics.define("plugin", MetricKind::Counter, "requests", &labels(pairs)).unwrap();
    let id = define(&[("a", "1"), ("b", "2")]);
    assert_eq!(define(&[("b", "2"), ("a", "1")]), id);
    assert_ne!(define(&[("a", "1"), ("b", "3")]), id);
}

#[test]
fn another_kind_is_refused() {
    let metrics = Metrics::default();
    define(&metrics, MetricKind::Counter, "n");
    assert_eq!(metrics.define("plugin", MetricKind::Gauge, "n", &[]), Err(MetricError::KindMismatch));
}

#[test]
fn a_counter_only_grows() {
    let metrics = Metrics::default();
    let id = define(&metrics, MetricKind::Counter, "n");
    metrics.increment(id, 2).unwrap();
    metrics.increment(id, 0).unwrap();
    metrics.record(id, 3).unwrap();
    assert_eq!(metrics.increment(id, -1), Err(MetricError::Invalid));
    assert_eq!(metrics.get(id), Ok(5));
    metrics.record(id, u64::MAX).unwrap();
    assert_eq!(metrics.get(id), Ok(u64::MAX));
}

#[test]
fn a_gauge_goes_below_zero_and_saturates() {
    let metrics = Metrics::default();
    let id = define(&metrics, MetricKind::Gauge, "n");
    metrics.increment(id, -3).unwrap();
    assert_eq!(metrics.get(id), Ok((-3_i64).cast_unsigned()));
    metrics.record(id, 7).unwrap();
    metrics.increment(id, i64::MAX).unwrap();
    assert_eq!(metrics.get(id), Ok(i64::MAX.cast_unsigned()));
}

#[test]
fn a_histogram_counts_in_its_buckets() {
    let metrics = Metrics::default();
    let id = define(&metrics, MetricKind::Histogram, "sizes");
    for value in [0, 1, 2, 3, 1_000_000_001] {
        metrics.record(id, value).unwrap();
    }
    assert_eq!(metrics.increment(id, 1), Err(MetricError::Invalid));
    assert_eq!(metrics.get(id), Err(MetricError::Invalid));
    let Value::Histogram(counts, sum) = metrics.families().remove(0).series.remove(0).1 else {
        unreachable!("a histogram was defined")
    };
    assert_eq!((counts[0], counts[1], counts[2], counts[28]), (2, 1, 1, 1));
    assert_eq!((counts.iter().sum::<u64>(), sum), (5, 1_000_000_007));
}

#[test]
fn unknown_ids_are_errors() {
    let metrics = Metrics::default();
    define(&metrics, MetricKind::Counter, "n");
    for id in [0, 2, CHUNK_AND_MORE, u32::MAX] {
        assert_eq!(metrics.increment(id, 1), Err(MetricError::Unknown));
        assert_eq!(metrics.record(id, 1), Err(MetricError::Unknown));
        assert_eq!(metrics.get(id), Err(MetricError::Unknown));
    }
}

const CHUNK_AND_MORE: u32 = 5000;

#[test]
fn names_and_labels_are_made_fit_or_refused() {
    let metrics = Metrics::default();
    metrics.define("my-plugin", MetricKind::Gauge, "cache.size (bytes)", &labels(&[("http.route", "/a\n\"")])).unwrap();
    let family = metrics.families().remove(0);
    assert_eq!(family.name, "sluicegate_plugin_my_plugin_cache_size__bytes_");
    assert_eq!(family.series[0].0, labels(&[("http_route", "/a\n\"")]));
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    for name in ["", "_total", &long] {
        assert_eq!(metrics.define("p", MetricKind::Counter, name, &[]), Err(MetricError::BadName), "{name}");
    }
    let bad: [&[(&str, &str)]; 6] =
        [&[("", "")], &[("le", "1")], &[("__name__", "")], &[("1a", "")], &[("a", "1"), ("a", "2")], &[("a", &long)]];
    for pairs in bad {
        assert_eq!(
            metrics.define("p", MetricKind::Counter, "n", &labels(pairs)),
            Err(MetricError::BadName),
            "{pairs:?}"
        );
    }
}

#[test]
fn a_plugin_cannot_write_into_the_metric_of_another() {
    let metrics = Metrics::default();
    metrics.define("a", MetricKind::Counter, "b_c", &[]).unwrap();
    assert_eq!(metrics.define("a-b", MetricKind::Counter, "c", &[]), Err(MetricError::BadName));
}

#[test]
fn names_and_series_of_a_plugin_are_bounded_and_others_are_not_hurt() {
    let metrics = Metrics::default();
    for n in 0..MAX_SERIES_PER_PLUGIN {
        metrics.define("greedy", MetricKind::Counter, "n", &labels(&[("n", &n.to_string())])).unwrap();
    }
    assert_eq!(metrics.define("greedy", MetricKind::Counter, "n", &[]), Err(MetricError::Full));
    for n in 0..MAX_NAMES_PER_PLUGIN {
        metrics.define("wordy", MetricKind::Counter, &format!("n{n}"), &[]).unwrap();
    }
    assert_eq!(metrics.define("wordy", MetricKind::Counter, "one_more", &[]), Err(MetricError::Full));
    let id = define(&metrics, MetricKind::Counter, "n");
    assert_eq!(metrics.increment(id, 1), Ok(()));
}

#[test]
fn threads_that_define_and_raise_the_same_metric_lose_nothing() {
    let metrics = Metrics::default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..1000 {
                    let name = format!("n{}", n % 10);
                    let id = define(&metrics, MetricKind::Counter, &name);
                    metrics.increment(id, 1).unwrap();
                }
            });
        }
    });
    let families = metrics.families();
    assert_eq!(families.len(), 10);
    for family in families {
        assert_eq!(family.series, [(Vec::new(), Value::Counter(800))]);
    }
}
