//! What would happen to one request: which route takes it and why no other, which filters run, and what follows. Nothing is sent.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use serde_json::{Value, json};

use super::entrance::{entrance, name_of};
use super::generation::{Builder, Generation, Origin};
use super::show::action;
use super::{StartError, short};
use crate::address::Address;
use crate::config::{Action, Config, FilterEntry, Listener, Route, Upstream};
use crate::proxy::{self, Asked, BadRequest, Normal, ProxyError};
use crate::route::{RequestView, path, refuse::Refusal};
use crate::wasm::{Engine, FilterSpec};

/// A request to be explained.
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its URL; without a host, that of its listener is taken.
    pub url: Uri,
    /// Its headers; a `host` among them goes before the URL's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Name or address of the listener that it comes to; without, what scheme and port of the URL tell.
    pub listener: Option<String>,
}

/// What would happen to it.
pub struct Explanation {
    /// What was not clear about the question.
    pub notes: Vec<String>,
    /// Method, host, path and query as routing sees them.
    pub request: Value,
    /// Why it is answered before routing: status and reason.
    pub refused: Option<(u16, String)>,
    /// Every route, in the order of the file.
    pub routes: Vec<Verdict>,
    /// Every filter that the request meets, in order.
    pub filters: Vec<Step>,
    /// What follows when the filters let it through.
    pub then: Value,
}

/// Whether a route takes the request.
pub struct Verdict {
    /// Its name.
    pub route: String,
    /// It does.
    pub taken: bool,
    /// Why, or why not.
    pub because: String,
}

/// One filter of the chain.
pub struct Step {
    /// Where it stands: `routes[0].filters[2]`.
    pub path: String,
    /// The plugin.
    pub plugin: String,
    /// The part of its digest that people compare.
    pub digest: String,
    /// Why it does not run for this request.
    pub skipped: Option<String>,
    /// Its configuration, without secrets.
    pub config: Value,
}

impl Explanation {
    /// The route that takes the request.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.routes.iter().find(|verdict| verdict.taken).map(|verdict| verdict.route.as_str())
    }

    /// For `-o json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let verdict =
            |Verdict { route, taken, because }: &Verdict| json!({ "route": route, "taken": taken, "because": because });
        let step = |step: &Step| {
            json!({
                "path": step.path,
                "use": step.plugin,
                "digest": step.digest,
                "runs": step.skipped.is_none(),
                "because": step.skipped,
                "config": step.config,
            })
        };
        let refused = self.refused.as_ref().map(|(status, reason)| json!({ "status": status, "reason": reason }));
        json!({
            "notes": self.notes,
            "request": self.request,
            "refused": refused,
            "route": self.route(),
            "routes": self.routes.iter().map(verdict).collect::<Vec<_>>(),
            "filters": self.filters.iter().map(step).collect::<Vec<_>>(),
            "then": self.then,
        })
    }
}

/// Loads the configuration at `path` as [`super::check`] does, and explains what it makes of a request.
///
/// # Errors
/// The configuration is not valid, or has no such listener for HTTP.
pub fn explain(path: &Path, question: &Question) -> Result<Explanation, StartError> {
    let engine = Engine::new().map_err(anyhow::Error::from)?;
    let mut builder = Builder::new(Origin::File(path.to_owned()), engine, Arc::default(), Arc::default())?;
    let generation = builder.build(None)?;
    let (listener, note) = entrance(&generation.config, question.listener.as_deref(), &question.url)?;
    let notes = note.into_iter().chain(lower_case(&question.method, &generation.config)).collect();
    Ok(Explanation { notes, ..of(&generation, listener, question) })
}

fn of(generation: &Generation, listener: &Listener, question: &Question) -> Explanation {
    let parts = head(listener, question);
    let checked = proxy::checked(&parts, &generation.config.limits);
    let authority = match checked {
        Ok(authority) => authority,
        Err(error) => return refused(&parts, &error),
    };
    let normal = match Normal::new(&parts, &authority) {
        Ok(normal) => normal,
        Err(error) => return refused(&parts, &error.into()),
    };
    let asked = Exchange {
        generation,
        shown: generation.shown(),
        listener,
        secure: is_secure(listener, &question.url),
        parts: &parts,
        authority: authority.to_str().unwrap_or_default(),
        view: normal.view(&parts, &listener.address),
        path: &normal.path,
    };
    asked.explain()
}

/// Methods are told apart by case (RFC 9110 §9.1), which nobody thinks of who writes `get`.
fn lower_case(method: &Method, config: &Config) -> Option<String> {
    let upper = method.as_str().to_ascii_uppercase();
    let known = config.routes.iter().any(|route| route.matches.methods.contains(method));
    let note =
        || format!("the method \"{method}\" is none that a route names, as case counts; did you mean \"{upper}\"?");
    (upper != method.as_str() && !known).then(note)
}

/// The request's head as a client would send it.
fn head(listener: &Listener, question: &Question) -> Parts {
    let mut parts = Request::new(()).into_parts().0;
    parts.method.clone_from(&question.method);
    // A client sends the path and the query; of a URL without either, the root.
    parts.uri = question.url.path_and_query().map_or_else(|| Uri::from_static("/"), |target| Uri::from(target.clone()));
    for (name, value) in &question.headers {
        parts.headers.append(name.clone(), value.clone());
    }
    if !parts.headers.contains_key(header::HOST) {
        let host = question.url.authority().map_or_else(|| host_of(&listener.address), ToString::to_string);
        if let Ok(host) = HeaderValue::try_from(host) {
            parts.headers.insert(header::HOST, host);
        }
    }
    parts
}

/// How clients name an address whose port the kernel may choose.
fn host_of(address: &Address) -> String {
    // At a Unix socket any name will do, and clients mostly send this one.
    let Some(address) = address.network() else { return "localhost".to_owned() };
    match address {
        SocketAddr::V6(address) if address.port() == 0 => format!("[{}]", address.ip()),
        SocketAddr::V4(address) if address.port() == 0 => address.ip().to_string(),
        _ => address.to_string(),
    }
}

fn is_secure(listener: &Listener, url: &Uri) -> bool {
    match url.scheme() {
        Some(scheme) => *scheme == Scheme::HTTPS,
        None => listener.tls.is_some(),
    }
}

fn refused(parts: &Parts, error: &ProxyError) -> Explanation {
    let detail = match error {
        ProxyError::BadRequest(BadRequest::InvalidPath) => path::normalise(parts.uri.path()).err(),
        _ => None,
    };
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    Explanation {
        notes: Vec::new(),
        request: json!({ "method": parts.method.as_str(), "target": parts.uri.to_string() }),
        refused: Some((error.status().as_u16(), format!("{error}{detail}"))),
        routes: Vec::new(),
        filters: Vec::new(),
        then: Value::Null,
    }
}

/// A request that gets as far as routing.
struct Exchange<'a> {
    generation: &'a Generation,
    /// The configuration without secrets.
    shown: Value,
    listener: &'a Listener,
    secure: bool,
    parts: &'a Parts,
    authority: &'a str,
    view: RequestView<'a>,
    /// The normalised path, with the parameters of its segments.
    path: &'a str,
}

impl Exchange<'_> {
    fn explain(&self) -> Explanation {
        let config = &self.generation.config;
        let taken = self.generation.router.find(&self.view);
        let verdicts = config.routes.iter().enumerate().map(|(index, route)| self.verdict(index, route, taken));
        let global = config.filters.iter().zip(&self.generation.global).zip(list(&self.shown["filters"]));
        let mut filters: Vec<Step> = global.map(|(filter, shown)| self.step(filter, shown)).collect();
        if let Some((index, route)) = taken.and_then(|index| Some((index, config.routes.get(index)?))) {
            let specs = self.generation.routes.get(index).into_iter().flatten();
            let own = route.filters.iter().zip(specs).zip(list(&self.shown["routes"][index]["filters"]));
            filters.extend(own.map(|(filter, shown)| self.step(filter, shown)));
        }
        Explanation {
            notes: Vec::new(),
            request: json!({
                "method": self.view.method.as_str(),
                "host": self.view.host,
                "path": self.path,
                "query": self.view.query,
                "listener": name_of(self.listener),
            }),
            refused: None,
            routes: verdicts.collect(),
            filters,
            then: taken.map_or_else(|| json!({ "status": 404 }), |index| self.then(index)),
        }
    }

    fn verdict(&self, index: usize, route: &Route, taken: Option<usize>) -> Verdict {
        let shown = &self.shown["routes"][index]["match"];
        let elsewhere = !route.listeners.is_empty() && !route.listeners.contains(&self.listener.address);
        let because = match route.matches.refusal(&self.view) {
            _ if elsewhere => {
                let listeners = &self.shown["routes"][index]["listeners"];
                format!("listener {:?} is none of {listeners}", name_of(self.listener))
            }
            Some(refusal) => self.words(&refusal, shown),
            None if taken == Some(index) => "takes the request".to_owned(),
            None => match taken.and_then(|taken| self.generation.config.routes.get(taken)) {
                Some(first) => {
                    let host = Some(self.view.host);
                    let why = first.matches.rank(host).reason_before(&route.matches.rank(host));
                    format!("would take it, but \"{}\" goes before: {why}", first.name)
                }
                None => "is not reached".to_owned(),
            },
        };
        Verdict { route: route.name.to_string(), taken: taken == Some(index), because }
    }

    fn step(&self, (entry, spec): (&FilterEntry, &Arc<FilterSpec>), shown: &Value) -> Step {
        let refusal = entry.when.as_ref().and_then(|when| when.refusal(&self.view));
        Step {
            path: entry.path.to_string(),
            plugin: entry.plugin.to_string(),
            digest: short(&spec.plugin.digest).to_owned(),
            skipped: refusal.map(|refusal| self.words(&refusal, &shown["when"])),
            config: shown["config"].clone(),
        }
    }

    /// Why a condition does not hold. What it asks for is told as the file has it; values of headers and parameters are not.
    fn words(&self, refusal: &Refusal<'_>, shown: &Value) -> String {
        let RequestView { host, path, method, .. } = self.view;
        match refusal {
            Refusal::Host => {
                let hosts: Vec<&Value> = shown.get("host").into_iter().chain(list(&shown["hosts"])).collect();
                format!("host {host:?} is none of {}", json!(hosts))
            }
            Refusal::Path => format!("path {path:?} does not match {}", shown["path"]),
            Refusal::Method => format!("method {method} is none of {}", shown["methods"]),
            Refusal::Header(name, lack) => format!("header {:?} {lack}", name.as_str()),
            Refusal::Query(name, lack) => format!("query parameter {name:?} {lack}"),
        }
    }

    /// What a route does with the request.
    fn then(&self, index: usize) -> Value {
        let (shown, Some(route)) = (&self.shown["routes"][index], self.generation.config.routes.get(index)) else {
            return Value::Null;
        };
        if *self.view.method == Method::TRACE && !proxy::takes_trace(route) {
            return json!({ "status": 405 });
        }
        let mut then = match &route.action {
            Action::Forward(_) => self.forward(shown, route),
            Action::Redirect(redirect) => {
                let asked =
                    Asked { secure: self.secure, authority: self.authority, path: self.path, query: self.view.query };
                let location = proxy::location(redirect, route, &asked);
                json!({ "redirect": { "status": redirect.status.as_u16(), "location": location } })
            }
            Action::Respond(_) => action(shown),
        };
        then["timeout"] = shown["timeout"].clone();
        then
    }

    fn forward(&self, shown: &Value, route: &Route) -> Value {
        let Action::Forward(shares) = &route.action else { return Value::Null };
        let total: u64 = shares.iter().map(|share| u64::from(share.weight)).sum();
        let share = |share: &crate::config::action::Weighted| {
            let upstream = self.generation.config.upstreams.get(&*share.upstream);
            let targets: Vec<String> = upstream.into_iter().flat_map(Upstream::urls).collect();
            json!({ "upstream": &*share.upstream, "percent": percent(share.weight.into(), total), "targets": targets })
        };
        let mut then = json!({ "upstreams": shares.iter().map(share).collect::<Vec<_>>() });
        // A path that was filled in is not told.
        if !shown["rewrite"]["path"].to_string().contains("${") {
            then["target"] = match proxy::upstream_target(&self.parts.uri, Some(self.path), route) {
                Ok(target) => target.to_string().into(),
                Err(error) => format!("none: {error}").into(),
            };
        }
        then["host"] = shown["rewrite"].get("host").cloned().unwrap_or_else(|| self.authority.into());
        for key in ["rewrite", "request_headers", "response_headers", "retry", "mirrors"] {
            let changes = shown.get(key).filter(|value| is_something(value));
            if let Some(changes) = changes {
                then[key] = changes.clone();
            }
        }
        then
    }
}

/// A share of the whole, in percent with at most one decimal.
fn percent(part: u64, whole: u64) -> Value {
    let tenths = (part * 1000 + whole / 2) / whole.max(1);
    if tenths.is_multiple_of(10) { json!(tenths / 10) } else { json!(tenths as f64 / 10.0) }
}

/// Not an empty list of changes.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => members.values().any(is_something),
        _ => true,
    }
}

fn list(value: &Value) -> std::slice::Iter<'_, Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}
