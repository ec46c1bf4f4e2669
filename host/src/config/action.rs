//! What a route does with its requests, and what it changes about them.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::PathRewrite;

/// What happens to a request when its filters have let it through.
#[derive(Clone, Debug)]
pub enum Action {
    /// It is sent to one of these upstreams; never empty, and one weight at least is not 0.
    Forward(Vec<Weighted>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered here.
    Respond(Respond),
}

impl Action {
    /// Everything goes to one upstream.
    #[must_use]
    pub fn to(upstream: &str) -> Self {
        Self::Forward(vec![Weighted { upstream: upstream.into(), weight: 1 }])
    }
}

/// An upstream and its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// Name of the upstream (exists).
    pub upstream: Arc<str>,
    /// Its share, against the sum of all.
    pub weight: u32,
}

/// A redirection; what is not given stays as the client asked.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302 (the default), 303, 307 or 308.
    pub status: StatusCode,
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// Host name or address, without a port.
    pub host: Option<String>,
    /// The port; with a scheme and without a port, that of the scheme.
    pub port: Option<u16>,
    /// The path; the query stays.
    pub path: Option<PathRewrite>,
}

/// An answer made here.
#[derive(Clone, Debug)]
pub struct Respond {
    /// 200..=599.
    pub status: StatusCode,
    /// Fields beside the length; `content-type` is `text/plain` unless it is here.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Arc<str>,
}

/// Changes to a head, in this order.
#[derive(Clone, Debug, Default)]
pub struct HeaderChanges {
    /// Replaced, or added.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Added to what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Taken away.
    pub remove: Vec<HeaderName>,
}

/// An upstream that gets copies of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorTo {
    /// Name of the upstream (exists).
    pub upstream: Arc<str>,
    /// Share of the requests, 0 to 1.
    pub share: f64,
}

/// When and how often a request is sent again. Only requests without a body and of an idempotent method are.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Tries beyond the first, 1 to 10.
    pub attempts: u32,
    /// What another try may mend.
    pub on: RetryOn,
    /// Limit of one try, until the response's head; none beside the route's timeout.
    pub per_try: Option<Duration>,
    /// Pause before the second try, doubled each time and spread at random (25 ms).
    pub backoff: Duration,
}

/// Failures that another try may mend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// No connection can be made.
    pub connect: bool,
    /// A connection breaks before the response's head.
    pub reset: bool,
    /// A try takes too long.
    pub timeout: bool,
    /// The upstream's own statuses.
    pub statuses: Vec<StatusCode>,
}
