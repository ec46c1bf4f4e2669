//! What a route does: `upstream`, `upstreams`, `redirect`, `respond`; what it changes: `request_headers`, `response_headers`; `retry`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use jsonc_parser::ast::Value;

use super::routes::{path_rewrite, plain_host};
use super::{UpstreamNames, all, matches, word};
use crate::config::action::{Action, HeaderChanges, MirrorTo, Redirect, Respond, Retry, RetryOn, Weighted};
use crate::config::fields::{Fields, is_note};
use crate::config::node::{Member, Node};
use crate::config::{Match, PathRewrite};

/// Largest weight: their sum over all upstreams of a route stays far from overflow.
const WEIGHT: u64 = 1_000_000;
/// Most bytes of an answer in the configuration.
const BODY_BYTES: usize = 64 << 10;
/// Pause before the second try, as Envoy's.
const BACKOFF: Duration = Duration::from_millis(25);
/// Longest pause and try that make sense.
const LONGEST_TRY: Duration = Duration::from_secs(3600);

/// The one thing that a route does. `matches` is `None` when its condition is faulty.
pub(super) fn action(fields: &mut Fields<'_>, upstreams: &UpstreamNames, matches: Option<&Match>) -> Option<Action> {
    let (kind, node) = fields.one_of(&["upstream", "upstreams", "redirect", "respond"])?;
    match kind {
        "upstream" => Some(Action::to(&upstreams.resolve(&node)?)),
        "upstreams" => weighted(&node, upstreams).map(Action::Forward),
        "redirect" => redirect(&node, matches).map(Action::Redirect),
        _ => respond(&node).map(Action::Respond),
    }
}

/// `{"users-v1": 90, "users-v2": 10}`
fn weighted(node: &Node<'_>, upstreams: &UpstreamNames) -> Option<Vec<Weighted>> {
    let share = |member: &Member<'_>| {
        let upstream = upstreams.resolve_key(member);
        let weight = member.node.integer(0..=WEIGHT).and_then(|weight| u32::try_from(weight).ok());
        Some(Weighted { upstream: upstream?, weight: weight? })
    };
    let members = node.members()?;
    let checked: Vec<_> = members.iter().filter(|member| !is_note(&member.key)).map(share).collect();
    let shares = checked.into_iter().collect::<Option<Vec<_>>>()?;
    if shares.iter().all(|share| share.weight == 0) {
        node.problem("one upstream at least must have a weight above 0");
        return None;
    }
    Some(shares)
}

fn redirect(node: &Node<'_>, matches: Option<&Match>) -> Option<Redirect> {
    let mut fields = Fields::of(node)?;
    let status = fields.optional("status").map_or(Some(StatusCode::FOUND), |node| {
        let status = node.integer(0..=u64::MAX)?;
        let known = u16::try_from(status).ok().filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308));
        if known.is_none() {
            node.problem(format!("expected 301, 302, 303, 307 or 308, found {status}"));
        }
        StatusCode::from_u16(known?).ok()
    });
    let scheme = fields
        .optional("scheme")
        .map_or(Some(None), |node| word(&node, &[("http", "http"), ("https", "https")]).map(Some));
    let host = fields.optional("host").map_or(Some(None), |node| plain_host(&node).map(Some));
    let port = fields
        .optional("port")
        .map_or(Some(None), |node| node.integer(1..=u64::from(u16::MAX)).map(|port| u16::try_from(port).ok()));
    let path: Option<Option<PathRewrite>> =
        fields.optional("path").map_or(Some(None), |node| path_rewrite(&node, matches).map(Some));
    fields.finish();
    let redirect = Redirect { status: status?, scheme: scheme?, host: host?, port: port?, path: path? };
    let changes = redirect.scheme.is_some() || redirect.host.is_some() || redirect.port.is_some();
    if !changes && redirect.path.is_none() {
        node.problem("leads back to itself: give a scheme, host, port or path");
        return None;
    }
    Some(redirect)
}

fn respond(node: &Node<'_>) -> Option<Respond> {
    let mut fields = Fields::of(node)?;
    let status = fields
        .optional("status")
        .map_or(Some(StatusCode::OK), |node| StatusCode::from_u16(u16::try_from(node.integer(200..=599)?).ok()?).ok());
    let headers = fields.optional("headers").map_or_else(|| Some(Vec::new()), |node| headers(&node));
    let body = fields.optional("body").map_or_else(|| Some(Arc::default()), |node| body(&node));
    fields.finish();
    Some(Respond { status: status?, headers: headers?, body: body? })
}

fn body(node: &Node<'_>) -> Option<Arc<str>> {
    let text = node.text()?;
    if text.value.len() > BODY_BYTES {
        node.problem(format!("has {} bytes, more than {BODY_BYTES}", text.value.len()));
        return None;
    }
    Some(text.value.into())
}

/// `request_headers`, `response_headers`.
pub(super) fn changes(node: &Node<'_>) -> Option<HeaderChanges> {
    let mut fields = Fields::of(node)?;
    let set = fields.optional("set").map_or_else(|| Some(Vec::new()), |node| headers(&node));
    let add = fields.optional("add").map_or_else(|| Some(Vec::new()), |node| headers(&node));
    let remove = fields.optional("remove").map_or_else(|| Some(Vec::new()), |node| all(&node.elements()?, removed));
    fields.finish();
    Some(HeaderChanges { set: set?, add: add?, remove: remove? })
}

fn headers(node: &Node<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let field = |member: &Member<'_>| {
        let name = matches::header_name(member).filter(|name| {
            let ours = is_ours(name);
            if ours {
                let message = format!("{name} is written by the gateway");
                member.node.problem_at(member.key_span, &member.node.path, message, None);
            }
            !ours
        });
        let value = member.node.parsed("a header's value", |text| HeaderValue::from_str(text).ok());
        Some((name?, value?))
    };
    let members = node.members()?;
    let checked: Vec<_> = members.iter().filter(|member| !is_note(&member.key)).map(field).collect();
    checked.into_iter().collect()
}

fn removed(node: &Node<'_>) -> Option<HeaderName> {
    let name = node.parsed("a header's name", |text| HeaderName::from_bytes(text.as_bytes()).ok())?;
    if is_ours(&name) {
        node.problem(format!("{name} is written by the gateway"));
        return None;
    }
    Some(name)
}

/// Framing and what is about one connection only.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host" | "content-length" | "transfer-encoding" | "connection" | "keep-alive" | "upgrade" | "te" | "trailer"
    ) || name.as_str().starts_with("proxy-")
}

/// `[{"upstream": "shadow", "percent": 10}]`
pub(super) fn mirror(node: &Node<'_>, upstreams: &UpstreamNames) -> Option<MirrorTo> {
    let mut fields = Fields::of(node)?;
    let upstream = fields.required("upstream").and_then(|node| upstreams.resolve(&node));
    let percent = fields.optional("percent").map_or(Some(100.0), |node| percent(&node));
    fields.finish();
    Some(MirrorTo { upstream: upstream?.into(), share: percent? / 100.0 })
}

fn percent(node: &Node<'_>) -> Option<f64> {
    let number = match node.value {
        Value::NumberLit(literal) => literal.value.parse().ok().filter(|number| (0.0..=100.0).contains(number)),
        _ => None,
    };
    if number.is_none() {
        node.problem("expected a number from 0 to 100");
    }
    number
}

pub(super) fn retry(node: &Node<'_>) -> Option<Retry> {
    let mut fields = Fields::of(node)?;
    let attempts = fields.optional("attempts").map_or(Some(1), |node| node.integer(1..=10));
    let on = fields.optional("on").map_or_else(
        || Some(RetryOn { connect: true, reset: true, ..RetryOn::default() }),
        |node| failures(&node.some_elements()?),
    );
    let per_try = fields
        .optional("per_try")
        .map_or(Some(None), |node| node.duration(Duration::from_millis(1)..=LONGEST_TRY).map(Some));
    let backoff = fields.optional("backoff").map_or(Some(BACKOFF), |node| node.duration(Duration::ZERO..=LONGEST_TRY));
    fields.finish();
    Some(Retry { attempts: u32::try_from(attempts?).ok()?, on: on?, per_try: per_try?, backoff: backoff? })
}

/// `["connect", "reset", "timeout", 503]`
fn failures(nodes: &[Node<'_>]) -> Option<RetryOn> {
    let mut on = RetryOn::default();
    let read = all(nodes, |node| {
        if matches!(node.value, Value::NumberLit(_)) {
            let status = node.integer(400..=599)?;
            on.statuses.push(StatusCode::from_u16(u16::try_from(status).ok()?).ok()?);
            return Some(());
        }
        match word(node, &[("connect", 0), ("reset", 1), ("timeout", 2)])? {
            0 => on.connect = true,
            1 => on.reset = true,
            _ => on.timeout = true,
        }
        Some(())
    });
    read.map(|_| on)
}
