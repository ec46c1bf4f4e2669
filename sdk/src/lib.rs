//! Write gateway filters in Rust: one trait, typed configuration, `async` without a runtime, tests with `cargo test`.
//!
//! The result is a plain Proxy-Wasm 0.2.1 module. It runs in Sluicegate and in any other host; what Sluicegate adds (see
//! `HOST.md`) has a substitute elsewhere.
//!
//! ```
//! use sluicegate_sdk::prelude::*;
//!
//! /// Lets only active tokens pass.
//! #[derive(Config)]
//! struct TokenAuth {
//!     /// Who knows the tokens (RFC 7662).
//!     idp: Upstream,
//! }
//!
//! #[derive(Deserialize)]
//! struct Who {
//!     active: bool,
//!     sub: String,
//! }
//!
//! #[filter]
//! impl Filter for TokenAuth {
//!     async fn request(&self, req: &mut Request) -> Result {
//!         let token = req.bearer().or_reply(401, "a bearer token is missing")?;
//!         let who: Who = self.idp.post("/introspect").form(&[("token", &token)]).await?.json()?;
//!         ensure!(who.active, 401, "the token is not active");
//!         req.headers().set("x-user", &who.sub);
//!         Ok(())
//!     }
//! }
//!
//! # fn main() {
//! let gateway = sluicegate_sdk::test::Harness::<TokenAuth>::new(json!({ "idp": "idp" })).unwrap()
//!     .upstream("idp", |_| sluicegate_sdk::test::CallReply::json(200, json!({ "active": true, "sub": "ada" })));
//! let out = gateway.get("/").bearer("t1").send();
//! assert_eq!(out.upstream_request().unwrap().header("x-user"), Some("ada"));
//! assert_eq!(gateway.get("/").send().status(), 401);
//! # }
//! ```
//!
//! What a phase function returns decides: `Ok(())` lets the message pass, [`Error::Reply`] answers the client, and any other
//! error is a fault, which the gateway handles by the filter's `on_error`. Awaiting holds the message; the body is read only if
//! the function asks for it.
//!
//! In Envoy, a filter that awaits a body needs `allow_on_headers_stop_iteration: true` in its plugin configuration.

pub mod config;
mod end;
mod engine;
#[cfg(target_arch = "wasm32")]
mod entry;
mod error;
mod extension;
mod filter;
mod headers;
mod host;
mod join;
mod log;
mod metrics;
mod pairs;
pub mod prelude;
mod property;
mod query;
mod reply;
mod request;
mod response;
mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod test;
mod time;
mod upstream;

pub use bytes::Bytes;
pub use config::{Config, Json, Secret};
pub use end::End;
pub use error::{Error, Fault, OrReply, Result};
pub use filter::Filter;
pub use headers::{HeaderIter, HeaderValue, Headers};
pub use join::{join, join_all};
pub use log::{Level, print_line};
pub use metrics::{CounterMetric, GaugeMetric, HistogramMetric};
pub use property::{Property, PropertyPaths};
pub use reply::Reply;
pub use request::{Chunk, Request};
pub use response::Response;
pub use state::{Counter, Decision, Kv, Window};
pub use time::{now, sleep};
pub use upstream::{CallBuilder, CallResponse, Upstream};

/// The raw ABI, for what this crate does not cover.
#[cfg(target_arch = "wasm32")]
pub use proxy_wasm as raw;

/// Turns an `impl Filter for …` block into a plugin; see [`Filter`] for the functions it takes.
///
/// The host is told which of them exist, and whether they read a body: the macro looks for `req.body()`, `req.json()`,
/// `req.chunk()`, `req.write()`, `req.set_body()` and `req.set_json()` in the function itself (by whatever name its parameter has).
/// A body that is read elsewhere is named: `#[filter(request_body)]`, `#[filter(response_body)]`.
pub use sluicegate_sdk_macros::filter;

/// Derives [`trait@Config`] for a struct with named fields, a unit struct, or an enum.
///
/// Doc comments become descriptions in the schema. Unknown fields are errors. A field of type `Option` may be missing.
///
/// - `#[config(default)]`: `Default::default()`; `#[config(default = 30)]`: any expression; a string literal is read as it would be
///   in the configuration (`default = "30s"`)
/// - `#[config(min = 1, max = 100)]`: bounds of a number
/// - `#[config(rename = "type")]`: another name
///
/// Variants of an enum are written in snake case: `ClientIp` as `"client_ip"`, one with a value as `{"header": value}`.
pub use sluicegate_sdk_macros::Config;

/// For the macros; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::config::period;
    #[cfg(target_arch = "wasm32")]
    pub use crate::entry::register;
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::filter::in_use;
    pub use crate::filter::{Callbacks, Phase};
    pub use crate::log::log_at;
    pub use crate::metrics::{counter, gauge, histogram};
}
