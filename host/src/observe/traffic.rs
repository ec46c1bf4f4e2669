//! The ledgers of routes and upstreams: how many requests, how they ended, how long they took. Over all workers.

use std::sync::{Arc, OnceLock};

use http::Method;

use super::histogram::{Distribution, Histogram, REQUEST_BOUNDS};
use super::reason::Reason;
use super::sharded::{Count, Sharded};

/// Methods that have a series of their own; a client can invent others without end.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_other"];
/// Classes of status; `none` is an exchange that ended before there was one.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Most series are never used, so each is made with its first request.
type Series = OnceLock<Box<Histogram<{ REQUEST_BOUNDS.len() }>>>;

/// Requests of one route, from arrival to the response's last byte.
pub struct RouteLedger {
    name: Arc<str>,
    requests: Sharded<Requests>,
}

#[derive(Default)]
struct Requests {
    begun: Count,
    ended: Count,
    series: [[Series; CLASSES.len()]; METHODS.len()],
}

impl RouteLedger {
    /// The ledger of the route of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), requests: Sharded::default() }
    }

    /// The route's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request has arrived. Exactly one [`RouteLedger::end`] or [`RouteLedger::leave`] must follow: call it from a guard,
    /// so that a client that leaves is counted too.
    pub fn begin(&self) {
        let (requests, slot) = self.requests.local();
        requests.begun.add(1, slot);
    }

    /// A request that has begun goes on as another route's, where it begins and ends.
    pub fn leave(&self) {
        let (requests, slot) = self.requests.local();
        requests.ended.add(1, slot);
    }

    /// A request is over after `nanos` nanoseconds, with the status sent to the client, if any was.
    pub fn end(&self, method: &Method, status: Option<u16>, nanos: u64) {
        let (requests, slot) = self.requests.local();
        requests.ended.add(1, slot);
        let series = &requests.series[method_index(method)][class_index(status)];
        series.get_or_init(Box::default).record(&REQUEST_BOUNDS, nanos, slot);
    }

    /// Requests that have begun and not ended.
    #[must_use]
    pub fn active(&self) -> u64 {
        // The ended first: a request that ends in between must not make the difference negative.
        let ended = self.requests.sum(|requests| &requests.ended);
        self.requests.sum(|requests| &requests.begun).saturating_sub(ended)
    }

    /// Durations by method and class of status.
    pub(super) fn durations(&self) -> Vec<(&'static str, &'static str, Distribution)> {
        let mut durations = Vec::new();
        for (m, method) in METHODS.into_iter().enumerate() {
            for (c, class) in CLASSES.into_iter().enumerate() {
                let series = self.requests.iter().map(|requests| &requests.series[m][c]);
                durations.extend(total(series).map(|total| (method, class, total)));
            }
        }
        durations
    }
}

/// Requests sent to one upstream, callouts included, each attempt for itself.
pub struct UpstreamLedger {
    name: Arc<str>,
    requests: Sharded<Attempts>,
}

#[derive(Default)]
struct Attempts {
    retries: Count,
    series: [Series; CLASSES.len()],
    errors: [Count; Reason::ALL.len()],
}

impl UpstreamLedger {
    /// The ledger of the upstream of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), requests: Sharded::default() }
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request was sent so many times more than once.
    pub fn retried(&self, times: u64) {
        if times > 0 {
            let (attempts, slot) = self.requests.local();
            attempts.retries.add(times, slot);
        }
    }

    /// A request was answered: `nanos` nanoseconds from sending to the response's head.
    pub fn answered(&self, status: u16, nanos: u64) {
        let (attempts, slot) = self.requests.local();
        let series = &attempts.series[class_index(Some(status))];
        series.get_or_init(Box::default).record(&REQUEST_BOUNDS, nanos, slot);
    }

    /// A request, or the connection for it, failed.
    pub fn failed(&self, reason: Reason) {
        let (attempts, slot) = self.requests.local();
        attempts.errors[reason as usize].add(1, slot);
    }

    pub(super) fn retries(&self) -> u64 {
        self.requests.sum(|attempts| &attempts.retries)
    }

    /// Durations by class of status.
    pub(super) fn durations(&self) -> Vec<(&'static str, Distribution)> {
        let series = |class: usize| total(self.requests.iter().map(|attempts| &attempts.series[class]));
        CLASSES.into_iter().enumerate().filter_map(|(index, class)| Some((class, series(index)?))).collect()
    }

    /// Failures that have happened, by reason.
    pub(super) fn errors(&self) -> Vec<(Reason, u64)> {
        let count = |reason: Reason| self.requests.sum(|attempts| &attempts.errors[reason as usize]);
        Reason::ALL.into_iter().map(|reason| (reason, count(reason))).filter(|(_, count)| *count > 0).collect()
    }
}

/// The sum of those that exist; `None` when none does.
fn total<'a>(series: impl Iterator<Item = &'a Series>) -> Option<Distribution> {
    let mut total = Distribution::new(&REQUEST_BOUNDS);
    series.filter_map(OnceLock::get).for_each(|histogram| histogram.add_to(&mut total));
    (total.count() > 0).then_some(total)
}

fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

fn class_index(status: Option<u16>) -> usize {
    match status {
        Some(status @ 100..=599) => usize::from(status / 100 - 1),
        _ => CLASSES.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_active_until_they_end() {
        let route = RouteLedger::new("users");
        route.begin();
        route.begin();
        route.end(&Method::GET, Some(200), 1_000_000);
        assert_eq!(route.active(), 1);
        route.end(&Method::GET, None, 1_000_000);
        assert_eq!(route.active(), 0);
    }

    #[test]
    fn requests_are_told_apart_by_method_and_class_and_invented_ones_are_not() {
        let route = RouteLedger::new("users");
        let brew = Method::from_bytes(b"BREW").unwrap();
        for (method, status) in [
            (&Method::GET, Some(200)),
            (&Method::GET, Some(299)),
            (&Method::POST, Some(404)),
            (&brew, Some(999)),
            (&Method::from_bytes(b"WHEN").unwrap(), None),
        ] {
            route.end(method, status, 3_000_000);
        }
        let counts: Vec<_> = route.durations().into_iter().map(|(m, c, total)| (m, c, total.count())).collect();
        assert_eq!(counts, [("GET", "2xx", 2), ("POST", "4xx", 1), ("_other", "none", 2)]);
    }

    #[test]
    fn attempts_and_failures_of_an_upstream_are_counted() {
        let upstream = UpstreamLedger::new("users");
        upstream.retried(2);
        upstream.answered(503, 2_000_000);
        upstream.failed(Reason::UpstreamTimeout);
        assert_eq!(upstream.retries(), 2);
        assert_eq!(upstream.errors(), [(Reason::UpstreamTimeout, 1)]);
        assert_eq!(upstream.durations()[0].0, "5xx");
    }
}
