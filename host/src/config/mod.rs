//! Words on disk → checked values. Everything here is valid by construction; nothing after it validates again.
//!
//! [`load`] reads `gateway.json`: JSON with comments and trailing commas, unknown keys refused, `${VAR}`, `${VAR:-default}`
//! and `${file:path}` filled in inside string values. Every problem is reported at once, with its place and what was probably
//! meant ([`Problems`]). What only a plugin can judge is checked later, by [`schema`], and placed with [`Origins`].

pub mod action;
mod admin;
pub mod balance;
pub mod capabilities;
mod check;
mod command_line;
mod compact;
mod dns;
mod duration;
mod fields;
pub mod files;
pub mod include;
mod interpolate;
pub mod layout;
mod limits;
mod load;
mod memory;
mod node;
mod origins;
mod place;
mod pool;
mod problem;
mod proxies;
mod refusal;
mod reroute;
pub mod schema;
mod shown;
mod size;
mod source;
mod suggest;
mod tls;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use minisign_verify::PublicKey;

pub use action::{Action, HeaderChanges, MirrorTo, Redirect, Retry};
pub use admin::{Admin, Token};
pub use balance::{Balance, Ejection, HealthCheck};
pub use capabilities::Capabilities;
pub use command_line::CommandLine;
pub use dns::{Dns, Family};
pub use include::Included;
pub use interpolate::{Environment, ProcessEnvironment};
pub use limits::Limits;
pub use load::{Heard, Loaded, Refused, Rest, load, parse};
pub use origins::Origins;
pub use place::{Place, SOCKET_PATH_BYTES, Target};
pub use pool::PoolLimits;
pub use problem::{Problem, Problems};
pub use proxies::{Trusted, TrustedProxies};
pub use reroute::Reroute;
pub use suggest::closest;
pub use tls::{Alpn, CertificateFiles, ClientCertificates, ListenerTls, TlsVersion, UpstreamTls};

use crate::address::Address;
pub use crate::filter::OnError;

/// One whole configuration, as the program believes it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the gateway listens; never empty.
    pub listeners: Vec<Listener>,
    /// The admin API, if there is one.
    pub admin: Option<Admin>,
    /// Where plugins come from.
    pub plugins: Plugins,
    /// Upstreams by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Filters that run for every request, before those of its route; for requests without a route too.
    pub filters: Vec<FilterEntry>,
    /// Routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Bounds.
    pub limits: Limits,
}

/// One listening address. HTTP/1.1 and HTTP/2 on the same port (by prior knowledge in cleartext, by ALPN in TLS), unless `tcp` says
/// otherwise.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Unique, if there is one; routes name it. A listener with a name has its address alone.
    pub name: Option<Arc<str>>,
    /// Port 0 lets the kernel choose.
    pub address: Address,
    /// Permissions of the file of a Unix socket; by default what the process's umask leaves.
    pub mode: Option<u32>,
    /// Cleartext without.
    pub tls: Option<ListenerTls>,
    /// Connections carry bytes instead of HTTP.
    pub tcp: Option<TcpService>,
    /// Every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Whose `x-forwarded-*` fields are believed.
    pub trusted_proxies: TrustedProxies,
}

/// What becomes of the connections of a TCP listener. No other listener has its address, port 0 included.
#[derive(Clone, Debug)]
pub struct TcpService {
    /// Name of the upstream (exists, and carries bytes without TLS).
    pub upstream: Arc<str>,
    /// The filters that a connection's bytes pass.
    pub filters: Vec<FilterEntry>,
    /// A connection on which no byte moves for that long is closed (default 1 h).
    pub idle_timeout: Duration,
}

/// Where plugins come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugins {
    /// The drop-in directory (`plugins/` beside the configuration by default); may not exist.
    pub dir: PathBuf,
    /// By name of a plugin: its file, wherever it is. Goes before `dir`; only the command line names some.
    pub files: BTreeMap<Arc<str>, PathBuf>,
    /// By name of a plugin: the SHA-256 (lower-case hex) of the only bytes that may run under it.
    pub sha256: BTreeMap<Arc<str>, Arc<str>>,
    /// Public keys of minisign. With any, a file of `dir` runs only with a signature by one of them beside it.
    pub keys: Vec<PublicKey>,
    /// Where compiled modules are kept (`sluicegate` in this user's cache directory by default); nowhere without one.
    pub cache: Option<PathBuf>,
}

/// A named group of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// Where requests go; never empty.
    pub targets: Vec<Target>,
    /// HTTP version spoken to the targets.
    pub protocol: UpstreamProtocol,
    /// Limit for establishing a connection (default 5 s).
    pub connect_timeout: Duration,
    /// Which target gets a request.
    pub balance: Balance,
    /// How targets are asked whether they are well, if they are.
    pub health: Option<HealthCheck>,
    /// When targets are left out for failing requests.
    pub ejection: Ejection,
    /// TLS towards its targets, when it is not the usual one.
    pub tls: Option<UpstreamTls>,
    /// How the names of its targets are resolved.
    pub dns: Dns,
    /// Bounds of its connections.
    pub pool: PoolLimits,
    /// Most requests under way at a time, over all workers, if there is a limit.
    pub max_requests: Option<usize>,
}

impl Upstream {
    /// Its targets, as URLs.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        self.targets.iter().map(|target| target.url(self.protocol == UpstreamProtocol::Tcp))
    }
}

/// HTTP version spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// `"http1"`
    #[default]
    Http1,
    /// `"http2"`: prior knowledge on cleartext, ALPN `h2` on TLS.
    Http2,
    /// Bytes alone: the targets are `tcp://host:port`. Only TCP listeners lead there.
    Tcp,
}

/// One filter of a chain: a plugin with its configuration. `Debug` leaves out what may hold secrets.
#[derive(Clone)]
pub struct FilterEntry {
    /// The plugin's name, `_` written as `-`.
    pub plugin: Arc<str>,
    /// Where the entry stands, for messages: `filters[1]`, `routes[0].filters[2]`.
    pub path: Arc<str>,
    /// Its configuration, as the text handed to `proxy_on_configure`: compact JSON with the environment filled in; the text
    /// itself when it is one string; empty when there is none.
    pub config: Arc<str>,
    /// Applies to these requests only.
    pub when: Option<Match>,
    /// What a fault does.
    pub on_error: OnError,
    /// Guest time a callback may take (default 100 ms).
    pub deadline: Duration,
    /// Most linear memory of an instance, bytes (default 64 MiB).
    pub memory: usize,
    /// Upstreams granted to callouts, beyond those its typed configuration names.
    pub upstreams: BTreeSet<String>,
    /// What Pause (1) from a headers callback means when the plugin's manifest does not say.
    pub pause: PauseMeaning,
    /// Environment variables of the guest.
    pub env: BTreeMap<String, String>,
    /// What it may ask of the host.
    pub capabilities: Capabilities,
    /// What its module is told of the VM that it runs in.
    pub vm: Vm,
    /// Whose ticks there are.
    pub ticks: Ticks,
}

/// What the ABI calls the VM of a filter. Its name says which entries share their state and, where it is given, their instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    /// What its shared data and queues are filed under (the plugin's name by default).
    pub id: Arc<str>,
    /// Whether that name is given: then entries of the same module share one instance on each worker.
    pub named: bool,
    /// Which of the root contexts that a module registers is meant; empty for the unnamed one.
    pub root_id: Arc<str>,
    /// Text for `proxy_on_vm_start`, as [`FilterEntry::config`] is for `proxy_on_configure`.
    pub config: Arc<str>,
}

/// Which instances of a filter are called by their timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ticks {
    /// That of each worker.
    #[default]
    Worker,
    /// One in the process: that of the first worker.
    Process,
}

impl fmt::Debug for FilterEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterEntry").field("path", &self.path).field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

/// What the value 1 from a headers callback means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PauseMeaning {
    /// StopAllIterationAndWatermark, as in Envoy.
    #[default]
    StopAll,
    /// StopIteration: body callbacks go on.
    StopIteration,
}

/// Match → chain → upstream.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique name; where it stands (`routes[3]`) when the file gives none.
    pub name: Arc<str>,
    /// The addresses of the listeners that it belongs to, as configured; empty for all that carry HTTP.
    pub listeners: Vec<Address>,
    /// Which requests.
    pub matches: Match,
    /// Filters after the global ones.
    pub filters: Vec<FilterEntry>,
    /// What it does.
    pub action: Action,
    /// Changes to requests on their way to the upstream, after the filters.
    pub request_headers: HeaderChanges,
    /// Changes to the upstream's responses, before the filters.
    pub response_headers: HeaderChanges,
    /// Who gets copies of requests.
    pub mirrors: Vec<MirrorTo>,
    /// Whether requests are sent again.
    pub retry: Option<Retry>,
    /// What is rewritten before sending.
    pub rewrite: Rewrite,
    /// Limit from the request's arrival to the response's last byte (default 15 s, as in Envoy); `None`, written `"0s"`, for none.
    pub timeout: Option<Duration>,
    /// Most bytes of a request's body, if not those of [`Limits::body_bytes`]; [`u64::MAX`] for any number.
    pub body_bytes: Option<u64>,
    /// How long a request's body may stall, if not as long as [`Limits::body_timeout`]; zero for any time.
    pub body_timeout: Option<Duration>,
    /// Protocols that a client may switch its connection to (`websocket` by default).
    pub upgrades: Vec<HeaderValue>,
    /// Which requests filters of other routes may lead here.
    pub reroute: Reroute,
}

/// A condition on a request: all parts that are present must hold.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Any of these hosts.
    pub hosts: Vec<HostMatch>,
    /// The path.
    pub path: Option<PathMatch>,
    /// Any of these methods.
    pub methods: Vec<http::Method>,
    /// All of these headers.
    pub headers: Vec<(http::HeaderName, ValueMatch)>,
    /// All of these query parameters.
    pub query: Vec<(String, ValueMatch)>,
}

/// A host pattern, lower-case, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// `api.example.com`
    Exact(String),
    /// `*.example.com`: the suffix `.example.com`, at least one label before it.
    Suffix(String),
}

/// A path pattern.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole segments: `/users` matches `/users` and `/users/7`, not `/usersx`. Without a trailing slash (but `/`).
    Prefix(String),
    /// A regular expression on the whole path.
    Regex(regex::Regex),
}

/// A condition on a header's or query parameter's value.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// Equal.
    Exact(String),
    /// Matches as a whole.
    Regex(regex::Regex),
    /// Present with any value.
    Present,
}

/// Changes to the request line before it is sent.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// The path.
    pub path: Option<PathRewrite>,
    /// The `host`.
    pub host: Option<String>,
}

/// How the path is rewritten; the query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The whole path.
    Full(String),
    /// The matched prefix only.
    Prefix(String),
}
