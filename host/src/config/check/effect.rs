//! Keys that have no effect where they stand: refused where whoever wrote them must have meant something else, otherwise warned
//! about.

use http::Method;
use jsonc_parser::ast::Value;

use crate::config::action::Action;
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::{FilterEntry, Limits, Listener, Route};

/// What is about sending a request, and where the same is said on a route that sends none: to redirect, to respond.
const SENDING: [(&str, Option<&str>, Option<&str>); 5] = [
    ("request_headers", None, None),
    ("response_headers", None, Some("respond.headers")),
    ("mirrors", None, None),
    ("retry", None, None),
    ("rewrite", Some("redirect.path"), None),
];

/// Refuses what has no effect on a route that does this.
pub(super) fn refuse_in_route(fields: &mut Fields<'_>, action: &Action) {
    match action {
        Action::Forward(_) => {}
        Action::Redirect(_) => refuse_sending(fields, "redirects", |(_, redirect, _)| *redirect),
        Action::Respond(_) => refuse_sending(fields, "responds by itself", |(_, _, respond)| *respond),
    }
}

fn refuse_sending(
    fields: &mut Fields<'_>,
    does: &str,
    instead: impl Fn(&(&str, Option<&'static str>, Option<&'static str>)) -> Option<&'static str>,
) {
    let message = format!("has no effect: this route {does}, and sends nothing to an upstream");
    for row in &SENDING {
        // An object of nothing asks for the default number of tries.
        if fields.optional(row.0).is_some_and(|node| row.0 == "retry" || !is_empty(&node)) {
            fields.key_problem(row.0, message.clone(), instead(row).map(str::to_owned));
        }
    }
    if fields.optional("upgrades").is_some_and(|node| !is_empty(&node)) {
        fields.key_warning("upgrades", message);
    }
}

/// Warns of what has no effect on a route that is right. `global`: the filters before its own.
pub(super) fn warn_of_route(node: &Node<'_>, route: &Route, global: &[FilterEntry]) {
    let Some(mut fields) = Fields::of(node) else { return };
    let forwards = matches!(route.action, Action::Forward(_));
    // Filters may wait for callouts, so that a limit makes sense where there are some.
    let at_once = !forwards && route.filters.is_empty() && global.is_empty();
    for key in ["timeout", "body_bytes", "body_timeout"] {
        if at_once && fields.optional(key).is_some() {
            let message = "has no effect: this route answers at once, without an upstream or filters to wait for";
            fields.key_warning(key, message.to_owned());
        }
    }
    let methods = &route.matches.methods;
    if route.retry.is_some() && !methods.is_empty() && !methods.iter().any(Method::is_idempotent) {
        let message = "has no effect: only requests of idempotent methods are sent again, and this route takes none";
        fields.key_warning("retry", message.to_owned());
    }
}

/// Warns of what has no effect for the connections that come in. `fields`: the whole configuration; `node`: its listeners.
pub(super) fn warn_of_listeners(fields: &mut Fields<'_>, node: &Node<'_>, listeners: &[Listener], limits: &Limits) {
    for (node, listener) in node.elements().unwrap_or_default().iter().zip(listeners) {
        let counted = limits.connections_per_client.is_some();
        let Some(fields) = Fields::of(node).filter(|_| listener.tcp.is_some() && !counted) else { continue };
        if !listener.trusted_proxies.is_empty() {
            let message = "has no effect: bytes carry no \"x-forwarded-for\"; a load balancer tells the client with \"proxy_protocol\"";
            fields.key_warning("trusted_proxies", message.to_owned());
        }
    }
    if listeners.iter().all(|listener| listener.tcp.is_some()) {
        for key in ["filters", "routes"] {
            if fields.optional(key).is_some_and(|node| !is_empty(&node)) {
                fields.key_warning(
                    key,
                    "has no effect: every listener is for TCP, so that there are no requests".to_owned(),
                );
            }
        }
    }
}

/// Warns of a configuration without routes and filters: nothing in it answers a request. `fields`: the whole configuration, `root`.
pub(super) fn warn_of_no_routes(root: &Node<'_>, fields: &mut Fields<'_>, listeners: &[Listener]) {
    if listeners.iter().any(|listener| listener.tcp.is_some()) {
        return;
    }
    let message = "0 routes: every request is answered 404";
    match fields.optional("routes") {
        Some(routes) => routes.warning(message),
        None => root.warning(message),
    }
}

/// Whether a value asks for nothing: lists and objects of nothing.
fn is_empty(node: &Node<'_>) -> bool {
    nothing(node.value)
}

fn nothing(value: &Value<'_>) -> bool {
    match value {
        Value::Array(array) => array.elements.is_empty(),
        Value::Object(object) => object.properties.iter().all(|property| nothing(&property.value)),
        _ => false,
    }
}
