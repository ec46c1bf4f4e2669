//! The admin API: health, metrics, what runs, and a few changes, on an address of its own.
//!
//! `GET` changes nothing, so whoever may reach the address may ask; keep it on the loopback interface or a network of operators, or
//! ask for certificates of clients.
//! A browser that was lured here by a foreign name is refused (see `host.rs`). Who may change something: see `change.rs`.

mod change;
mod filters;
mod host;
mod server;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use change::{Asker, Change};
pub use server::serve;

use crate::config::Token;
use crate::listener::Termination;
use crate::observe::{self, FilterLedger, GatewayLedger};
use crate::state::State;
use crate::state::targets::{NameReport, TargetReport};

/// What the admin API shows, in parts that are alive while it looks.
pub struct Admin {
    /// For the metrics of guests and the fill of stores.
    pub state: Arc<State>,
    /// The metrics of the gateway.
    pub metrics: Arc<GatewayLedger>,
    /// The gateway itself.
    pub status: Arc<dyn Status>,
    /// What may be changed about it.
    pub control: Arc<dyn Control>,
    /// Names, besides addresses and `localhost`, by which this API may be asked for, lower-case, without a port.
    pub hosts: Vec<String>,
}

/// How the API is spoken to now, and whom it trusts.
#[derive(Default)]
pub struct Access {
    /// Cleartext without.
    pub tls: Option<Arc<Termination>>,
    /// Who knows it may change something.
    pub token: Option<Token>,
}

/// What the gateway knows of itself.
pub trait Status: Send + Sync {
    /// Whether it serves as configured.
    ///
    /// # Errors
    /// One sentence for every reason why not (starting, draining, a filter that does not run).
    fn ready(&self) -> Result<(), Vec<String>>;
    /// How this API is spoken to, as configured now.
    fn access(&self) -> Access;
    /// The generation in force: number, when it was loaded, routes, plugins with digests, how the last reload and swap ended.
    fn generation(&self) -> Value;
    /// The configuration in force, with every default and without secrets.
    fn config(&self) -> Value;
    /// The routes in force, the one that takes precedence first.
    fn routes(&self) -> Value;
    /// The ledgers of the filters in force, and of those that still drain.
    fn filters(&self) -> Vec<Arc<FilterLedger>>;
}

/// What the gateway may be told. Each call takes as long as what it does.
pub trait Control: Send + Sync {
    /// Reads everything from disk again; gives what is in force then.
    ///
    /// # Errors
    /// It is not valid, and nothing has changed; or this is no time for it.
    fn reload(&self) -> Result<Value, NotDone>;
    /// Begins to drain, and returns at once.
    fn drain(&self);
    /// Goes back to the version of a plugin that served before; gives what is in force then.
    ///
    /// # Errors
    /// There is none, or the configuration does not fit it; nothing has changed.
    fn roll_back(&self, plugin: &str) -> Result<Value, NotDone>;
}

/// Why nothing was changed.
#[derive(Debug)]
pub enum NotDone {
    /// Everything that is wrong, each with its place.
    Invalid(Vec<Value>),
    /// It does not go with how things are.
    Conflict(String),
    /// There is no such thing.
    Unknown(String),
}

type Answer = Response<Full<Bytes>>;

const JSON: &str = "application/json";
/// What can be read.
const PATHS: [&str; 8] = [
    "/livez",
    "/readyz",
    "/metrics",
    "/api/v1/filters",
    "/api/v1/generation",
    "/api/v1/upstreams",
    "/api/v1/config",
    "/api/v1/routes",
];

/// What a request leads to.
enum Asked {
    Answer(Answer),
    Change(Change),
}

impl Admin {
    /// Answers one request. Bodies of requests are not read.
    fn ask<B>(&self, request: &Request<B>, asker: Asker) -> Asked {
        let Some(change) = Change::of(request.uri().path()) else {
            return Asked::Answer(self.answer(request, asker));
        };
        if *request.method() != Method::POST {
            return Asked::Answer(wrong_method("POST"));
        }
        match change::refusal(request, asker, self.status.access().token.as_ref(), &self.hosts) {
            Some(reason) => Asked::Answer(json(StatusCode::FORBIDDEN, &json!({ "error": reason }))),
            None => Asked::Change(change),
        }
    }

    /// Answers what changes nothing.
    fn answer<B>(&self, request: &Request<B>, asker: Asker) -> Answer {
        if !asker.may_name(request, &self.hosts) {
            return json(StatusCode::MISDIRECTED_REQUEST, &json!({ "error": host::REFUSED }));
        }
        let path = request.uri().path();
        if !PATHS.contains(&path) {
            let paths: Vec<&str> = PATHS.into_iter().chain(change::PATHS).collect();
            return json(StatusCode::NOT_FOUND, &json!({ "error": "no such path", "paths": paths }));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return wrong_method("GET, HEAD");
        }
        match path {
            "/livez" => json(StatusCode::OK, &json!({ "status": "ok" })),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            "/api/v1/filters" => json(StatusCode::OK, &filters::describe(&self.status.filters())),
            "/api/v1/upstreams" => json(StatusCode::OK, &upstreams(&self.state)),
            "/api/v1/generation" => json(StatusCode::OK, &self.status.generation()),
            "/api/v1/config" => json(StatusCode::OK, &self.status.config()),
            _ => json(StatusCode::OK, &self.status.routes()),
        }
    }

    fn ready(&self) -> Answer {
        let mut reasons = self.status.ready().err().unwrap_or_default();
        reasons.extend(self.state.pressure.reason());
        match reasons.is_empty() {
            true => json(StatusCode::OK, &json!({ "status": "ready" })),
            false => json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "reasons": reasons })),
        }
    }

    fn metrics(&self) -> Answer {
        match observe::render(&self.metrics, &self.status.filters(), &self.state) {
            Ok(text) => answer(StatusCode::OK, observe::CONTENT_TYPE, text),
            Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        }
    }
}

fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": format!("only {allowed}") }));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Every target with how it is: `well` or `failing` by its health checks, `left_out` for failing requests, or `unchecked` when it has
/// no checks; and every name with its addresses.
fn upstreams(state: &State) -> Value {
    let target = |report: TargetReport| {
        let how = match (report.failing, report.ejected) {
            (true, _) => "failing",
            (false, true) => "left_out",
            (false, false) if report.checked => "well",
            (false, false) => "unchecked",
        };
        json!({ "upstream": &*report.upstream, "target": report.target, "address": report.address, "state": how })
    };
    let name = |report: NameReport| {
        json!({
            "upstream": &*report.upstream,
            "target": report.target,
            "addresses": report.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "problem": report.problem.as_deref(),
        })
    };
    json!({
        "targets": state.targets.report().into_iter().map(target).collect::<Vec<_>>(),
        "names": state.targets.names().into_iter().map(name).collect::<Vec<_>>(),
    })
}

fn json(status: StatusCode, value: &Value) -> Answer {
    answer(status, JSON, format!("{value:#}\n"))
}

fn answer(status: StatusCode, media_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests;
