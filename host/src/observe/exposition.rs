//! Every metric of the process as text, in the OpenMetrics format that Prometheus scrapes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::filter::{FAULTS, FilterLedger, FilterSnapshot, OUTCOMES, PHASES};
use super::gateway::{GatewayLedger, GatewaySnapshot};
use super::histogram::Distribution;
use super::memory::Memory;
use super::{targets, tcp};
use crate::state::State;
use crate::state::metrics::{Family, HISTOGRAM_BOUNDS, MetricKind, Value};
use crate::state::store::Usage;
use crate::state::targets::{NameReport, TargetReport};

/// The media type of what [`render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes every metric down. Filters of the same entry and version are summed.
///
/// # Errors
/// Never, as long as memory can be had.
pub fn render(gateway: &GatewayLedger, filters: &[Arc<FilterLedger>], state: &State) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Everything {
        gateway: gateway.snapshot(),
        filters: merged(filters),
        guests: state.metrics.families(),
        stores: state.store.usage(),
        targets: state.targets.report(),
        names: state.targets.names(),
        memory: Memory::of(&state.pressure),
    }));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// What there is to tell, taken at one moment.
struct Everything {
    gateway: GatewaySnapshot,
    filters: Vec<FilterSnapshot>,
    guests: Vec<Family>,
    stores: Vec<Usage>,
    targets: Vec<TargetReport>,
    names: Vec<NameReport>,
    memory: Memory,
}

impl fmt::Debug for Everything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Everything").finish_non_exhaustive()
    }
}

impl Collector for Everything {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        process(&mut page, &self.gateway)?;
        self.memory.write(&mut page)?;
        traffic(&mut page, &self.gateway)?;
        tcp::write(&mut page, &self.gateway.tcp)?;
        callbacks(&mut page, &self.filters)?;
        instances(&mut page, &self.filters)?;
        stores(&mut page, &self.stores)?;
        targets::write(&mut page, &self.targets, &self.names)?;
        self.guests.iter().try_for_each(|family| guest(&mut page, family))
    }
}

fn process(page: &mut Page<'_>, gateway: &GatewaySnapshot) -> fmt::Result {
    let none = Vec::new;
    page.gauge("build_info", "The version that runs", [(vec![("version", env!("CARGO_PKG_VERSION").into())], 1)])?;
    page.gauge("config_generation", "Number of the configuration in force", [(none(), signed(gateway.generation))])?;
    page.gauge(
        "config_last_reload_successful",
        "Whether the last configuration that was tried is in force",
        [(none(), i64::from(gateway.last_reload_succeeded))],
    )?;
    page.gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration in force was loaded",
        [(none(), signed(gateway.last_success))],
    )?;
    let by_result = |counts: &[(&'static str, u64)]| -> Vec<(Labels<'_>, u64)> {
        counts.iter().map(|(result, count)| (vec![("result", (*result).into())], *count)).collect()
    };
    page.counter("config_reloads", "Configurations tried, the first one included", by_result(&gateway.reloads))?;
    page.counter("plugin_swaps", "Modules that were to be swapped while serving", by_result(&gateway.swaps))?;
    page.gauge("connections", "Open client connections", [(none(), signed(gateway.connections))])?;
    page.counter("connections_accepted", "Client connections accepted", [(none(), gateway.connections_opened)])?;
    let failures = gateway.handshakes.iter();
    let failures = failures.map(|(reason, count)| (vec![("reason", reason.as_str().into())], *count));
    page.counter("tls_handshake_failures", "Client connections that ended before TLS was established", failures)?;
    let replies = gateway.replies.iter().map(|(reason, count)| (vec![("reason", reason.as_str().into())], *count));
    page.counter("replies", "Requests that the gateway itself answered or reset", replies)
}

fn traffic(page: &mut Page<'_>, gateway: &GatewaySnapshot) -> fmt::Result {
    let routes = &gateway.routes;
    let active = routes.iter().map(|route| (vec![("route", route.name().into())], signed(route.active())));
    page.gauge("http_server_active_requests", "Requests being served", active)?;
    let durations = routes.iter().flat_map(|route| {
        let labels = |method, status| {
            vec![("route", route.name().into()), ("method", Cow::from(method)), ("status", Cow::from(status))]
        };
        route.durations().into_iter().map(move |(method, status, total)| (labels(method, status), total))
    });
    let help = "From a request's arrival to its response's last byte";
    page.durations("http_server_request_duration_seconds", help, durations)?;

    let upstreams = &gateway.upstreams;
    let durations = upstreams.iter().flat_map(|upstream| {
        let labels = |status| vec![("upstream", upstream.name().into()), ("status", Cow::from(status))];
        upstream.durations().into_iter().map(move |(status, total)| (labels(status), total))
    });
    let help = "From sending a request to an upstream to its response's head";
    page.durations("http_client_request_duration_seconds", help, durations)?;
    let retries = upstreams.iter().map(|upstream| (vec![("upstream", upstream.name().into())], upstream.retries()));
    page.counter("upstream_retries", "Requests that were sent to upstreams once more", retries)?;
    let errors = upstreams.iter().flat_map(|upstream| {
        let labels = |reason: &'static str| vec![("upstream", upstream.name().into()), ("reason", reason.into())];
        upstream.errors().into_iter().map(move |(reason, count)| (labels(reason.as_str()), count))
    });
    page.counter("upstream_errors", "Requests to upstreams that failed", errors)
}

fn callbacks(page: &mut Page<'_>, filters: &[FilterSnapshot]) -> fmt::Result {
    let mut durations = Vec::new();
    let mut calls = Vec::new();
    for filter in filters {
        for ((_, word), phase) in PHASES.into_iter().zip(&filter.phases) {
            // A filter has a few of the callbacks; series that never move would be noise.
            if phase.duration.count() == 0 {
                continue;
            }
            durations.push((with(filter, "phase", word), phase.duration.clone()));
            for (outcome, count) in OUTCOMES.into_iter().zip(phase.outcomes) {
                let mut labels = with(filter, "phase", word);
                labels.push(("outcome", outcome.into()));
                calls.push((labels, count));
            }
        }
    }
    page.durations("filter_duration_seconds", "Time in callbacks of filters", durations)?;
    page.counter("filter_calls", "Callbacks of filters, by how they ended", calls)
}

fn instances(page: &mut Page<'_>, filters: &[FilterSnapshot]) -> fmt::Result {
    let traps = filters.iter().flat_map(|filter| {
        let kinds = FAULTS.into_iter().zip(filter.traps);
        kinds.map(move |(kind, count)| (with(filter, "kind", kind.as_str()), count))
    });
    page.counter("filter_traps", "Instances that died or did not start, by why", traps)?;
    let starts = filters.iter().map(|filter| (of(filter), filter.starts));
    page.counter("filter_starts", "Instances started", starts)?;
    let running = filters.iter().map(|filter| (of(filter), filter.instances));
    page.gauge("filter_instances", "Instances running", running)?;
    let memory = filters.iter().map(|filter| (of(filter), filter.memory_bytes));
    page.gauge("filter_memory_bytes", "Linear memory of running instances", memory)?;
    let held_off = filters.iter().map(|filter| (of(filter), filter.held_off));
    page.gauge(
        "filter_held_off_workers",
        "Workers that make no instance for a while, as those before only died",
        held_off,
    )
}

fn stores(page: &mut Page<'_>, stores: &[Usage]) -> fmt::Result {
    fn labels(usage: &Usage) -> Labels<'_> {
        vec![("plugin", (*usage.scope).into()), ("table", usage.table.into())]
    }
    let entries = stores.iter().map(|usage| (labels(usage), i64::try_from(usage.entries).unwrap_or(i64::MAX)));
    page.gauge("store_entries", "Windows, counters and values that plugins keep", entries)?;
    let evicted = stores.iter().map(|usage| (labels(usage), usage.evicted));
    page.counter("store_evictions", "Entries that made room for others before their time", evicted)
}

fn guest(page: &mut Page<'_>, family: &Family) -> fmt::Result {
    let kind = match family.kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram => MetricType::Histogram,
    };
    page.family(&family.name, "Defined by a plugin", kind, &family.series, |(labels, value), family| {
        labelled(family, labels, |series| match value {
            Value::Counter(count) => series.encode_counter::<NoLabelSet, u64, u64>(count, None),
            Value::Gauge(number) => series.encode_gauge(number),
            Value::Histogram(counts, sum) => {
                let bounds = HISTOGRAM_BOUNDS.iter().map(|bound| *bound as f64).chain([f64::INFINITY]);
                let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
                series.encode_histogram::<NoLabelSet>(*sum as f64, counts.iter().sum(), &buckets, None)
            }
        })
    })
}

pub(super) type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The labels that every metric of a filter has.
fn of(filter: &FilterSnapshot) -> Labels<'_> {
    vec![("filter", (*filter.name).into()), ("entry", (*filter.path).into()), ("version", filter.version().into())]
}

fn with<'a>(filter: &'a FilterSnapshot, label: &'static str, value: &'static str) -> Labels<'a> {
    let mut labels = of(filter);
    labels.push((label, value.into()));
    labels
}

/// One snapshot per entry and version: a generation that drains may have a ledger beside that of its successor.
fn merged(filters: &[Arc<FilterLedger>]) -> Vec<FilterSnapshot> {
    let mut merged: BTreeMap<_, FilterSnapshot> = BTreeMap::new();
    for filter in filters {
        let snapshot = filter.snapshot();
        let key = (snapshot.path.clone(), snapshot.name.clone(), snapshot.digest.clone());
        merged.entry(key).and_modify(|known| known.merge(&snapshot)).or_insert(snapshot);
    }
    merged.into_values().collect()
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes families, one after the other; the gateway's own get their prefix here.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A counter; `_total` is added to its name.
    pub(super) fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        self.family(&prefixed(name), help, MetricType::Counter, samples, |(labels, count), family| {
            labelled(family, &labels, |series| series.encode_counter::<NoLabelSet, u64, u64>(&count, None))
        })
    }

    pub(super) fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, i64)>,
    ) -> fmt::Result {
        self.family(&prefixed(name), help, MetricType::Gauge, samples, |(labels, number), family| {
            labelled(family, &labels, |series| series.encode_gauge(&number))
        })
    }

    fn durations<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, Distribution)>,
    ) -> fmt::Result {
        self.family(&prefixed(name), help, MetricType::Histogram, samples, |(labels, total), family| {
            labelled(family, &labels, |series| {
                series.encode_histogram::<NoLabelSet>(total.sum_seconds(), total.count(), &total.buckets(), None)
            })
        })
    }

    fn family<S>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = S>,
        write: impl Fn(S, &mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        samples.into_iter().try_for_each(|sample| write(sample, &mut family))
    }
}

/// Writes one series; without labels also without their braces.
fn labelled<K: AsRef<str>, V: AsRef<str>>(
    family: &mut MetricEncoder<'_>,
    labels: &[(K, V)],
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() {
        return write(family);
    }
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    write(&mut family.encode_family(&labels)?)
}

fn prefixed(name: &str) -> String {
    format!("sluicegate_{name}")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::filter::{Fault, FaultKind, Outcome, Phase};
    use crate::observe::{Reason, SwapResult};

    fn has_line(text: &str, line: &str) -> bool {
        text.lines().any(|candidate| candidate == line)
    }

    #[test]
    fn what_was_recorded_is_on_the_page() {
        let (gateway, state) = (GatewayLedger::default(), State::default());
        let route = gateway.route("users");
        route.begin();
        route.begin();
        route.end(&Method::GET, Some(200), 3_000_000);
        let upstream = gateway.upstream("users");
        upstream.answered(200, 2_000_000);
        upstream.failed(Reason::UpstreamTimeout);
        gateway.replied(Reason::NoRoute);
        gateway.swapped(SwapResult::RolledBack);
        gateway.reload_succeeded(3);
        let text = render(&gateway, &[], &state).unwrap();
        for line in [
            "# TYPE sluicegate_http_server_request_duration_seconds histogram",
            "sluicegate_http_server_request_duration_seconds_bucket{le=\"0.0025\",route=\"users\",method=\"GET\",status=\"2xx\"} 0",
            "sluicegate_http_server_request_duration_seconds_bucket{le=\"0.005\",route=\"users\",method=\"GET\",status=\"2xx\"} 1",
            "sluicegate_http_server_request_duration_seconds_bucket{le=\"+Inf\",route=\"users\",method=\"GET\",status=\"2xx\"} 1",
            "sluicegate_http_server_active_requests{route=\"users\"} 1",
            "sluicegate_http_client_request_duration_seconds_count{upstream=\"users\",status=\"2xx\"} 1",
            "sluicegate_upstream_errors_total{upstream=\"users\",reason=\"upstream_timeout\"} 1",
            "sluicegate_replies_total{reason=\"no_route\"} 1",
            "sluicegate_plugin_swaps_total{result=\"rolled_back\"} 1",
            "sluicegate_config_generation 3",
            "sluicegate_config_last_reload_successful 1",
        ] {
            assert!(has_line(&text, line), "{line}\nis not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn two_ledgers_of_one_entry_and_version_are_one_series() {
        let (gateway, state) = (GatewayLedger::default(), State::default());
        let filters = [(), ()].map(|()| Arc::new(FilterLedger::new("auth", "filters[0]", "0123456789abcdef")));
        for filter in &filters {
            filter.record(Phase::RequestHeaders, 700, Outcome::Reply);
            filter.instance_started();
            filter.trap(&Fault { kind: FaultKind::Memory, detail: "".into() }, None);
        }
        let text = render(&gateway, &filters, &state).unwrap();
        let labels = "filter=\"auth\",entry=\"filters[0]\",version=\"0123456789ab\"";
        for line in [
            format!("sluicegate_filter_calls_total{{{labels},phase=\"request_headers\",outcome=\"reply\"}} 2"),
            format!(
                "sluicegate_filter_duration_seconds_bucket{{le=\"0.000001\",{labels},phase=\"request_headers\"}} 2"
            ),
            format!("sluicegate_filter_traps_total{{{labels},kind=\"memory\"}} 2"),
            format!("sluicegate_filter_instances{{{labels}}} 2"),
        ] {
            assert!(has_line(&text, &line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains("phase=\"response_headers\""));
    }

    #[test]
    fn metrics_of_guests_are_exposed_and_cannot_break_the_page() {
        let state = State::default();
        let labels = [("path".to_owned(), "a\"b\\c\nd".to_owned())];
        let hits = state.metrics.define("my-plugin", MetricKind::Counter, "cache.hits", &labels).unwrap();
        state.metrics.increment(hits, 2).unwrap();
        let sizes = state.metrics.define("my-plugin", MetricKind::Histogram, "sizes", &[]).unwrap();
        state.metrics.record(sizes, 3).unwrap();
        let text = render(&GatewayLedger::default(), &[], &state).unwrap();
        for line in [
            "sluicegate_plugin_my_plugin_cache_hits_total{path=\"a\\\"b\\\\c\\nd\"} 2",
            "sluicegate_plugin_my_plugin_sizes_bucket{le=\"2.0\"} 0",
            "sluicegate_plugin_my_plugin_sizes_bucket{le=\"5.0\"} 1",
            "sluicegate_plugin_my_plugin_sizes_sum 3.0",
        ] {
            assert!(has_line(&text, line), "{line}\nis not in\n{text}");
        }
    }
}
