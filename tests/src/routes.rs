//! The routing cases: configurations with requests, each with the route that it must take and what must come of it.
//!
//! `tests/conformance/routes/NAME.json` has `routes` (as in the configuration; each has a name), maybe `listeners` (names), and `rows`.
//! A row has `ask` (a method, unless it is GET, and a target), `host`, `headers` (a value or several), `listener`, and what is expected: `route` (none: no
//! upstream is reached), `status`, `target`, `seen` (fields that the upstream gets), `answer` (fields that the client gets; null: none)
//! and `text`. With `shares` the request is sent as often as their sum, and each upstream gets its number.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::origin::{self, Origin, Seen};
use crate::raw::exchange;
use crate::{Gateway, Site};

/// The host of rows that name none.
const HOST: &str = "gateway.test";
/// Tells the upstream which route was taken.
const ROUTE: &str = "x-route";
/// What a row may have; anything else is a slip of the pen.
const KEYS: [&str; 11] =
    ["ask", "host", "headers", "listener", "route", "status", "target", "seen", "answer", "text", "shares"];

/// One gateway and the upstreams of its configuration, by name.
struct Bench {
    gateway: Gateway,
    /// The names of its listeners, in order.
    listeners: Vec<String>,
    upstreams: BTreeMap<String, Origin>,
}

/// What the client got.
struct Answer {
    status: u64,
    head: String,
    body: String,
}

/// Runs the rows of a file through one gateway: how many there are, and what is wrong with which.
///
/// # Panics
/// The file is not written well.
pub async fn run(file: &Path) -> (usize, Vec<String>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let file = file.file_stem().unwrap_or_default().to_string_lossy();
    let case: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let bench = Bench::start(&case).await;
    let rows = case["rows"].as_array().unwrap_or_else(|| panic!("{file}: no rows"));
    let mut wrong = Vec::new();
    for row in rows {
        let keys = row.as_object().unwrap_or_else(|| panic!("{file}: {row} is no row")).keys();
        keys.for_each(|key| assert!(KEYS.contains(&key.as_str()), "{file}: {row} has a {key:?}"));
        let problems = if row["shares"].is_null() { bench.row(row).await } else { bench.shares(row).await };
        wrong.extend(problems.into_iter().map(|problem| format!("{file}: {row}\n    {problem}")));
    }
    (rows.len(), wrong)
}

impl Bench {
    async fn start(case: &Value) -> Self {
        let mut routes = case["routes"].as_array().expect("a case has routes").clone();
        let mut upstreams = BTreeMap::new();
        for route in &mut routes {
            let one = route["upstream"].as_str().map(str::to_owned);
            let many = route["upstreams"].as_object().into_iter().flat_map(Map::keys).cloned();
            let names: Vec<String> = one.into_iter().chain(many).collect();
            if !names.is_empty() {
                route["request_headers"]["set"][ROUTE] = route["name"].clone();
            }
            for name in names {
                if !upstreams.contains_key(&name) {
                    upstreams.insert(name.clone(), upstream().await);
                }
            }
        }
        let targets: Value =
            upstreams.iter().map(|(name, origin)| (name.clone(), json!({ "targets": [origin.url()] }))).collect();
        // One worker: shares are kept by each.
        let mut config = json!({ "limits": { "workers": 1 }, "upstreams": targets, "routes": routes });
        let names = case["listeners"].as_array().into_iter().flatten();
        let listeners: Vec<String> = names.filter_map(Value::as_str).map(str::to_owned).collect();
        // A listener with a name has its address alone, and the kernel chooses the port.
        let listener =
            |(number, name): (usize, &String)| json!({ "name": name, "address": format!("127.0.0.{}:0", number + 1) });
        if !listeners.is_empty() {
            config["listeners"] = listeners.iter().enumerate().map(listener).collect();
        }
        Self { gateway: Site::new(&config).start().await, listeners, upstreams }
    }
    /// Sends the request of a row; what is wrong with what came of it.
    async fn row(&self, row: &Value) -> Vec<String> {
        let before: Vec<usize> = self.upstreams.values().map(Origin::count).collect();
        let answer = self.send(row).await;
        let reached: Vec<Seen> = self
            .upstreams
            .values()
            .zip(before)
            .flat_map(|(origin, before)| origin.requests().split_off(before))
            .collect();
        let mut wrong = Wrong::default();
        wrong.compare("status", &json!(answer.status), &row.get("status").cloned().unwrap_or_else(|| json!(200)));
        let routes: Vec<String> = reached.iter().map(|seen| seen.header(ROUTE)).collect();
        let expected: Vec<&Value> = row.get("route").into_iter().collect();
        wrong.compare("routes", &json!(routes), &json!(expected));
        for (name, value) in row["answer"].as_object().into_iter().flatten() {
            wrong.compare(name, &answer.field(name), value);
        }
        if let Some(text) = row.get("text") {
            wrong.compare("text", &json!(answer.body), text);
        }
        if let Some(seen) = reached.first() {
            if let Some(target) = row.get("target") {
                wrong.compare("target", &json!(seen.target), target);
            }
            for (name, value) in row["seen"].as_object().into_iter().flatten() {
                let field = if seen.has(name) { json!(seen.header(name)) } else { Value::Null };
                wrong.compare(name, &field, value);
            }
        }
        wrong.0
    }
    /// Sends a request until all shares must be full.
    async fn shares(&self, row: &Value) -> Vec<String> {
        let counts = || -> Vec<usize> { self.upstreams.values().map(Origin::count).collect() };
        let before = counts();
        let shares = row["shares"].as_object().expect("shares are by name");
        for _ in 0..shares.values().filter_map(Value::as_u64).sum() {
            self.send(row).await;
        }
        let mut wrong = Wrong::default();
        for ((name, before), after) in self.upstreams.keys().zip(before).zip(counts()) {
            wrong.compare(name, &json!(after - before), &shares.get(name).cloned().unwrap_or_else(|| json!(0)));
        }
        wrong.0
    }
    async fn send(&self, row: &Value) -> Answer {
        let ask = row["ask"].as_str().expect("a row asks");
        let (method, target) = ask.split_once(' ').unwrap_or(("GET", ask));
        let host = row["host"].as_str().unwrap_or(HOST);
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        for (name, value) in row["headers"].as_object().into_iter().flatten() {
            for value in value.as_array().unwrap_or(&vec![value.clone()]) {
                head += &format!("{name}: {}\r\n", value.as_str().expect("a field's value"));
            }
        }
        let named = row["listener"].as_str();
        let place = named.map_or(Some(0), |named| self.listeners.iter().position(|name| name == named));
        let address = self.gateway.addresses()[place.expect("the case has the listener")];
        let bytes = exchange(address, head + "\r\n").await;
        Answer::parse(&String::from_utf8_lossy(&bytes))
    }
}

/// An upstream whose answers have fields to change.
async fn upstream() -> Origin {
    let fields =
        [("server", "origin"), ("vary", "accept"), ("x-internal", "secret"), ("x-two", "one"), ("x-two", "two")];
    Origin::start(move |_| async move { origin::with(origin::answer(200, "origin"), &fields) }).await
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }
    /// All fields of a name, joined; null when there is none.
    fn field(&self, name: &str) -> Value {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let values: Vec<&str> =
            fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect();
        if values.is_empty() { Value::Null } else { json!(values.join(", ")) }
    }
}

/// What is not as expected.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn compare(&mut self, what: &str, found: &Value, expected: &Value) {
        if found != expected {
            self.0.push(format!("{what} is {found}, not {expected}"));
        }
    }
}
