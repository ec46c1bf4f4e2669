//! Methods that may be about the gateway itself: `OPTIONS *`, `TRACE`, and both with a `max-forwards` that has run out
//! (RFC 9110 §7.6.2, §9.3.7, §9.3.8).

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::config::Route;
use crate::filter::{LocalReply, Name};

/// The methods of the server as a whole.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Whether a route takes TRACE: it tells a client all that filters and the gateway have added to its request, so that a route has to
/// name it.
pub(crate) fn takes_trace(route: &Route) -> bool {
    route.matches.methods.contains(&Method::TRACE)
}

/// The answer to a request that goes no further than the gateway. One that does has a forward less.
pub(super) fn own_answer(parts: &mut Parts, route: Option<&Route>) -> Option<LocalReply> {
    match parts.method {
        Method::OPTIONS if is_asterisk(parts) || ends_here(&mut parts.headers) => {
            Some(reply(204, "", "gateway: methods of the server"))
        }
        Method::TRACE if route.is_some_and(|route| !takes_trace(route)) || ends_here(&mut parts.headers) => {
            Some(reply(405, "method not allowed\n", "gateway: TRACE is not offered"))
        }
        _ => None,
    }
}

/// Whether a request is about the server as a whole.
pub(super) fn is_asterisk(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.uri.path_and_query().is_some_and(|target| target.as_str() == "*")
}

/// Counts a forward. What is no number is not understood, and stays.
fn ends_here(headers: &mut HeaderMap) -> bool {
    let left = headers.get(header::MAX_FORWARDS).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    match left {
        None => false,
        Some(0) => true,
        Some(left) => {
            headers.insert(header::MAX_FORWARDS, HeaderValue::from(left - 1));
            false
        }
    }
}

fn reply(status: u16, text: &'static str, details: &'static str) -> LocalReply {
    let mut reply = LocalReply::text(status, text, details);
    reply.headers.append(Name::Header(header::ALLOW), ALLOWED);
    reply
}
