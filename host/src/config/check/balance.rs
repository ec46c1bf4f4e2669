//! How an upstream's requests are spread: `balance`, `health`, `eject`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::uri::PathAndQuery;
use jsonc_parser::ast::Value;

use super::{suggest, word};
use crate::config::balance::{Balance, Ejection, HashKey, HealthCheck, Probe, StickyCookie};
use crate::config::fields::Fields;
use crate::config::node::Node;

/// Pause between two probes, as Kubernetes' and Envoy's examples have it.
const INTERVAL: Duration = Duration::from_secs(5);
/// Limit of a probe.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Durations that make sense here.
const DURATIONS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
/// How long a session's cookie may last.
const COOKIE_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3600);
/// The least that a secret must have: fewer bytes can be guessed.
const SECRET_BYTES: usize = 16;
/// Answers in a row.
const COUNTS: RangeInclusive<u64> = 1..=100;

/// `"round_robin"`, `"least_request"`, `{"hash": "ip"}`, `{"hash": {"header": "x-user"}}`, `{"hash": {"cookie": "sid"}}`,
/// `{"cookie": {"name": "gw"}}`
pub(super) fn balance(node: &Node<'_>) -> Option<Balance> {
    let form = "\"round_robin\", \"least_request\", {\"hash\": …} or {\"cookie\": …}";
    if matches!(node.value, Value::StringLit(_)) {
        let text = node.text()?;
        return match &*text.value {
            "round_robin" => Some(Balance::RoundRobin),
            "least_request" => Some(Balance::LeastRequest),
            _ => {
                let suggestion = suggest(&text, ["round_robin", "least_request"]);
                node.problem_suggesting(format!("expected {form}, found {}", text.shown), suggestion);
                None
            }
        };
    }
    if !matches!(node.value, Value::Object(_)) {
        return node.expected(form);
    }
    let mut fields = Fields::of(node)?;
    let kind = fields.one_of(&["hash", "cookie"]);
    fields.finish();
    match kind? {
        ("hash", node) => hash(&node).map(Balance::Hash),
        (_, node) => cookie(&node).map(Balance::Cookie),
    }
}

fn cookie(node: &Node<'_>) -> Option<StickyCookie> {
    let mut fields = Fields::of(node)?;
    let name = fields.required("name").and_then(|node| cookie_name(&node));
    let ttl = fields.optional("ttl").map_or(Some(None), |node| node.duration(COOKIE_TTL).map(Some));
    let path = fields.optional("path").map_or_else(
        || Some("/".to_owned()),
        |node| {
            let legal =
                |text: &str| text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
            node.parsed("a path such as \"/\"", |text| legal(text).then(|| text.to_owned()))
        },
    );
    let secret = fields.optional("secret").map_or_else(|| Some(Arc::default()), |node| secret(&node));
    fields.finish();
    Some(StickyCookie { name: name?, ttl: ttl?, path: path?, secret: secret? })
}

fn secret(node: &Node<'_>) -> Option<Arc<str>> {
    let text = node.text()?;
    if text.value.len() < SECRET_BYTES {
        node.problem(format!("a secret has {SECRET_BYTES} characters at least"));
        return None;
    }
    Some(text.value.into())
}

fn cookie_name(node: &Node<'_>) -> Option<String> {
    let token =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"=;,\"".contains(&byte));
    node.parsed("a cookie's name", |text| token(text).then(|| text.to_owned()))
}

fn hash(node: &Node<'_>) -> Option<HashKey> {
    if matches!(node.value, Value::StringLit(_)) {
        return word(node, &[("ip", ())]).map(|()| HashKey::Ip);
    }
    let mut fields = Fields::of(node)?;
    let kind = fields.one_of(&["header", "cookie"]);
    fields.finish();
    match kind? {
        ("header", node) => {
            node.parsed("a header's name", |text| HeaderName::from_bytes(text.as_bytes()).ok()).map(HashKey::Header)
        }
        (_, node) => cookie_name(&node).map(HashKey::Cookie),
    }
}

pub(super) fn health(node: &Node<'_>) -> Option<HealthCheck> {
    let mut fields = Fields::of(node)?;
    let kind = fields.one_of(&["path", "connect", "grpc"]);
    let host = fields.optional("host").map_or(Some(None), |node| super::routes::host(&node).map(Some));
    let statuses = fields.optional("statuses").map_or(Some(200..=299), |node| statuses(&node));
    let interval = fields.optional("interval").map_or(Some(INTERVAL), |node| node.duration(DURATIONS));
    let timeout = fields.optional("timeout").map_or(Some(TIMEOUT), |node| node.duration(DURATIONS));
    let healthy = fields.optional("healthy").map_or(Some(2), |node| node.integer(COUNTS));
    let unhealthy = fields.optional("unhealthy").map_or(Some(3), |node| node.integer(COUNTS));
    fields.finish();
    let probe = match kind? {
        ("path", node) => Probe::Http { path: path(&node)?, host: host?, statuses: statuses? },
        ("connect", node) if node.boolean()? => Probe::Connect,
        ("connect", node) => {
            node.problem("only true is possible");
            return None;
        }
        (_, node) => Probe::Grpc { service: node.text()?.value.into_owned() },
    };
    Some(HealthCheck {
        probe,
        interval: interval?,
        timeout: timeout?,
        healthy: u32::try_from(healthy?).ok()?,
        unhealthy: u32::try_from(unhealthy?).ok()?,
    })
}

fn path(node: &Node<'_>) -> Option<String> {
    node.parsed("a path such as \"/healthz\"", |text| {
        (text.starts_with('/') && PathAndQuery::try_from(text).is_ok()).then(|| text.to_owned())
    })
}

/// `"200-399"`, or one status.
fn statuses(node: &Node<'_>) -> Option<RangeInclusive<u16>> {
    if matches!(node.value, Value::NumberLit(_)) {
        let status = u16::try_from(node.integer(100..=599)?).ok()?;
        return Some(status..=status);
    }
    node.parsed("statuses such as \"200-399\"", |text| {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        (100 <= first && first <= last && last <= 599).then_some(first..=last)
    })
}

/// Given at all, it counts answers of 500 and above too.
pub(super) fn ejection(node: &Node<'_>) -> Option<Ejection> {
    let default = Ejection::default();
    let mut fields = Fields::of(node)?;
    let failures = fields.optional("failures").map_or(Some(u64::from(default.failures)), |node| node.integer(1..=1000));
    let time = fields.optional("time").map_or(Some(default.time), |node| node.duration(DURATIONS));
    let most = fields.optional("most_percent").map_or(Some(u64::from(default.most)), |node| node.integer(0..=100));
    let statuses = fields.optional("statuses").map_or(Some(true), |node| node.boolean());
    fields.finish();
    Some(Ejection {
        failures: u32::try_from(failures?).ok()?,
        time: time?,
        most: u32::try_from(most?).ok()?,
        statuses: statuses?,
    })
}
