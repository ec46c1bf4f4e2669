//! How an upstream's requests are spread over its targets, and which of them are left out.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

/// Which target gets a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// Of two chosen at random, the one with fewer requests under way.
    LeastRequest,
    /// The same one for the same key, as long as it is there; requests without the key in turn.
    Hash(HashKey),
    /// In turn for new sessions; then the same one as long as it is well.
    Cookie(StickyCookie),
}

/// The cookie by which the gateway knows where a session belongs. `Debug` leaves out what is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name.
    pub name: String,
    /// How long clients keep it; as long as they run, without.
    pub ttl: Option<Duration>,
    /// The paths that clients send it for (`/`).
    pub path: String,
    /// Keeps clients from telling which target a value stands for, and from choosing one; empty for none.
    pub secret: Arc<str>,
}

impl fmt::Debug for StickyCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyCookie").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What requests for the same target have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// The client's address.
    Ip,
}

/// Asks targets whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Pause between two probes of a target (5 s).
    pub interval: Duration,
    /// Limit of one probe (2 s).
    pub timeout: Duration,
    /// Good answers in a row that bring a target back (2).
    pub healthy: u32,
    /// Bad answers in a row that take a target out (3); the very first answer counts at once.
    pub unhealthy: u32,
}

/// What a target is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET` of a path: good is an answer with one of these statuses.
    Http {
        /// The path, with its query.
        path: String,
        /// The `host`; the target's own by default.
        host: Option<String>,
        /// Good statuses (200 to 299).
        statuses: RangeInclusive<u16>,
    },
    /// A TCP connection (and TLS, where the target has it).
    Connect,
    /// `grpc.health.v1.Health/Check` of a service, over HTTP/2.
    Grpc {
        /// The service's name; empty for the server as a whole.
        service: String,
    },
}

/// Leaves out targets that fail requests in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row (5).
    pub failures: u32,
    /// How long a target is left out the first time; each further time in a row as much longer (10 s).
    pub time: Duration,
    /// Share of the targets that may be left out, percent (50).
    pub most: u32,
    /// Whether answers of 500 and above are failures, or only broken and refused connections.
    pub statuses: bool,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, time: Duration::from_secs(10), most: 50, statuses: false }
    }
}
