//! What a route does by itself: redirects, answers, and its changes to heads.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::{Ongoing, forward};
use crate::config::action::{Action, HeaderChanges, Redirect};
use crate::config::{self, Route};
use crate::filter::{Headers, LocalReply, Name};

/// A request as it came out of the filters, as far as a redirection repeats it.
pub(crate) struct Asked<'a> {
    pub(crate) secure: bool,
    /// Host and port.
    pub(crate) authority: &'a str,
    /// The normalised path.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// The answer of a route that sends its requests nowhere.
pub(super) fn reply(route: &Route, asked: &Asked<'_>) -> Option<LocalReply> {
    match &route.action {
        Action::Forward(_) => None,
        Action::Redirect(redirect) => {
            let mut reply = LocalReply::text(redirect.status.as_u16(), "", "gateway: redirect");
            // What cannot be written in a field came from a filter; the answer then leads nowhere rather than anywhere.
            if let Ok(location) = HeaderValue::try_from(location(redirect, route, asked)) {
                reply.headers.append(Name::Header(header::LOCATION), location);
            }
            Some(reply)
        }
        Action::Respond(respond) => {
            let mut headers = Headers::with_capacity(respond.headers.len());
            for (name, value) in &respond.headers {
                headers.append(Name::Header(name.clone()), value.clone());
            }
            Some(LocalReply {
                status: respond.status.as_u16(),
                headers,
                body: Bytes::copy_from_slice(respond.body.as_bytes()),
                details: "gateway: direct response".to_owned(),
                ..LocalReply::default()
            })
        }
    }
}

/// Where a redirection leads: an absolute URL (RFC 9110 §10.2.2).
pub(crate) fn location(redirect: &Redirect, route: &Route, asked: &Asked<'_>) -> String {
    let scheme = redirect.scheme.unwrap_or(if asked.secure { "https" } else { "http" });
    let (host, port) = split_port(asked.authority);
    let host = redirect.host.as_deref().unwrap_or(host);
    // A scheme has a port of its own; otherwise the client's is the one that is known to lead here.
    let port = redirect.port.or_else(|| if redirect.scheme.is_some() { None } else { port });
    let default = if scheme == "https" { 443 } else { 80 };
    let port = port.filter(|port| *port != default).map(|port| format!(":{port}")).unwrap_or_default();
    let path = redirect.path.as_ref().and_then(|rewrite| forward::rewrite(asked.path, rewrite, route));
    let path = path.as_deref().unwrap_or(asked.path);
    let query = asked.query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{path}{query}")
}

/// An IPv6 address has colons of its own, in brackets.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

impl Ongoing {
    /// Changes the head of an upstream's response, past all filters.
    pub(super) fn change_response(&self, headers: &mut HeaderMap) {
        if let Some((route, _)) = self.route() {
            change(headers, &route.response_headers);
        }
        if let Some(cookie) = self.session() {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    /// The same for filters to see.
    pub(super) fn change_response_list(&self, head: &mut Headers) {
        if let Some((route, _)) = self.route() {
            change_list(head, &route.response_headers);
        }
        if let Some(cookie) = self.session() {
            head.append(Name::Header(header::SET_COOKIE), cookie);
        }
    }
}

/// Changes a head for filters as the route says.
fn change_list(head: &mut Headers, changes: &HeaderChanges) {
    let config::HeaderChanges { set, add, remove } = changes;
    for (name, value) in set {
        head.set(Name::Header(name.clone()), value.clone());
    }
    for (name, value) in add {
        head.append(Name::Header(name.clone()), value.clone());
    }
    for name in remove {
        head.remove(&Name::Header(name.clone()));
    }
}

/// Changes a head as the route says.
pub(super) fn change(headers: &mut HeaderMap, changes: &HeaderChanges) {
    let config::HeaderChanges { set, add, remove } = changes;
    for (name, value) in set {
        headers.insert(name.clone(), value.clone());
    }
    for (name, value) in add {
        headers.append(name.clone(), value.clone());
    }
    for name in remove {
        headers.remove(name);
    }
}
