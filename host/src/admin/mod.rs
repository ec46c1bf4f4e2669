//! The admin API: health, metrics and what runs, read-only, on an address of its own.
//!
//! It changes nothing, so whoever may reach the address may ask; keep it on the loopback interface or a network of operators.
//! A browser that was lured here by a foreign name is refused (see `host.rs`).

mod filters;
mod host;
mod server;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

pub use server::serve;

use crate::observe::{self, FilterLedger, GatewayLedger};
use crate::state::State;
use crate::state::targets::TargetReport;

/// What the admin API shows, in parts that are alive while it looks.
pub struct Admin {
    /// For the metrics of guests and the fill of stores.
    pub state: Arc<State>,
    /// The metrics of the gateway.
    pub metrics: Arc<GatewayLedger>,
    /// The gateway itself.
    pub status: Arc<dyn Status>,
    /// Names, besides addresses and `localhost`, by which this API may be asked for, lower-case, without a port.
    pub hosts: Vec<String>,
}

/// What the gateway knows of itself.
pub trait Status: Send + Sync {
    /// Whether it serves as configured.
    ///
    /// # Errors
    /// One sentence for every reason why not (starting, draining, a filter that does not run).
    fn ready(&self) -> Result<(), Vec<String>>;
    /// The generation in force: number, when it was loaded, routes, plugins with digests, how the last reload and swap ended.
    fn generation(&self) -> Value;
    /// The ledgers of the filters in force, and of those that still drain.
    fn filters(&self) -> Vec<Arc<FilterLedger>>;
}

type Answer = Response<Full<Bytes>>;

const JSON: &str = "application/json";
const PATHS: [&str; 6] =
    ["/livez", "/readyz", "/metrics", "/api/v1/filters", "/api/v1/generation", "/api/v1/upstreams"];

impl Admin {
    /// Answers one request. Bodies of requests are not read.
    fn answer<B>(&self, request: &Request<B>) -> Answer {
        if !host::is_allowed(request, &self.hosts) {
            let detail = "the host header must carry an address, localhost, or a configured name";
            return json(StatusCode::MISDIRECTED_REQUEST, &json!({ "error": detail }));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "only GET and HEAD" }));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/livez" => json(StatusCode::OK, &json!({ "status": "ok" })),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            "/api/v1/filters" => json(StatusCode::OK, &filters::describe(&self.status.filters())),
            "/api/v1/upstreams" => json(StatusCode::OK, &upstreams(&self.state)),
            "/api/v1/generation" => json(StatusCode::OK, &self.status.generation()),
            _ => json(StatusCode::NOT_FOUND, &json!({ "error": "no such path", "paths": PATHS })),
        }
    }

    fn ready(&self) -> Answer {
        match self.status.ready() {
            Ok(()) => json(StatusCode::OK, &json!({ "status": "ready" })),
            Err(reasons) => {
                json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "reasons": reasons }))
            }
        }
    }

    fn metrics(&self) -> Answer {
        match observe::render(&self.metrics, &self.status.filters(), &self.state) {
            Ok(text) => answer(StatusCode::OK, observe::CONTENT_TYPE, text),
            Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        }
    }
}

/// Every target with how it is: `well`, `failing` its health checks, or `left_out` for failing requests.
fn upstreams(state: &State) -> Value {
    let target = |report: TargetReport| {
        let how = match (report.failing, report.ejected) {
            (true, _) => "failing",
            (false, true) => "left_out",
            (false, false) => "well",
        };
        json!({ "upstream": &*report.upstream, "target": report.target, "state": how })
    };
    json!({ "targets": state.targets.report().into_iter().map(target).collect::<Vec<_>>() })
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
