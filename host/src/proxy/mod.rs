//! One request, top to bottom: check → normalise → route → filters → upstream → filters → record. Knows no sockets; how
//! connections are accepted and upstreams reached is others' business.

mod action;
mod arrival;
mod asker;
mod attempts;
mod body;
mod chain_body;
mod client;
mod error;
mod filtered;
mod forward;
mod generation;
mod grpc;
mod local;
mod methods;
mod mirror;
mod normal;
mod ongoing;
mod patience;
mod record;
mod request_id;
mod reroute;
mod routing;
mod stop;
mod stream;
pub mod tcp;
mod unread;
mod upgrade;
mod validate;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;

pub(crate) use action::{Asked, location};
use arrival::{Arrival, ClientInput};
use asker::Asker;
pub use body::ProxyBody;
pub use client::Client;
pub use error::ProxyError;
pub(crate) use forward::target as upstream_target;
use forward::{Hop, RequestHop};
pub use generation::{FilterList, Filters, RouteChain, Shares, WorkerGeneration};
pub(crate) use methods::takes_trace;
pub use mirror::Mirror;
pub(crate) use normal::{Normal, checked};
use ongoing::Ongoing;
use patience::Patience;
use record::{Counted, Recording};
pub use record::{End, Outcome, Recorder};
use request_id::RequestIds;
use routing::route;
pub use tcp::TcpService;
pub use upgrade::Tunnel;
pub use validate::BadRequest;

use crate::address::Address;
use crate::filter::chain::{Framing, Input};
use crate::filter::exchange::Facts;
use crate::filter::{Headers, LocalReply, egress};
use crate::observe::{HandshakeFailure, Reason};
use crate::state::State;
use crate::upstream::{ClientBody, Journey, RequestBody, ResponseBody};

/// How long filters may hold a request that no route takes.
const UNROUTED_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a reply may take through the filters that it passes, before it is sent without them.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the requests of one worker.
pub struct Proxy {
    generation: Rc<dyn Fn() -> Rc<WorkerGeneration>>,
    recorder: Rc<dyn Recorder>,
    ids: RequestIds,
    state: Arc<State>,
    /// The gateway is about to end: answers of HTTP/1 close their connections.
    leaving: Cell<bool>,
}

/// There is no answer: the client's stream is to be reset, or its connection closed.
#[derive(Debug, thiserror::Error)]
#[error("stream reset: {0}")]
pub struct Aborted(String);

/// A request as far as it gets without waiting.
enum Begun {
    Answered(Response<ProxyBody>),
    Direct(Ongoing, Parts, Incoming),
    Filtered(Ongoing, Facts, Headers, Incoming),
}

impl Proxy {
    /// A proxy that serves each request with the generation that is current when it arrives.
    #[must_use]
    pub fn new(
        generation: Rc<dyn Fn() -> Rc<WorkerGeneration>>,
        recorder: Rc<dyn Recorder>,
        state: Arc<State>,
    ) -> Rc<Self> {
        Rc::new(Self { generation, recorder, ids: RequestIds::new(), state, leaving: Cell::new(false) })
    }
    /// From now on clients are told to connect anew, elsewhere: the gateway is about to end.
    pub fn leave(&self) {
        self.leaving.set(true);
    }
    /// Whether the process has more memory than it may have, and takes on nothing new.
    pub(crate) fn is_over_memory(&self) -> bool {
        self.state.pressure.is_over()
    }
    /// Counts a client's connection until the answer is dropped.
    pub(crate) fn count_connection(&self) -> Counted {
        Counted::new(&self.recorder)
    }
    /// Counts a client's connection that ended before its TLS was established.
    pub(crate) fn handshake_failed(&self, reason: HandshakeFailure) {
        self.recorder.handshake_failed(reason);
    }
    /// Counts a connection that was ended before there was a whole request.
    pub(crate) fn gave_up(&self, reason: Reason) {
        self.recorder.gave_up(reason);
    }
    /// Counts and tells of bytes that are no request, and that the HTTP library has refused by itself.
    pub(crate) fn refused_bytes(&self, error: &hyper::Error, client: &Address) {
        let reason = if error.is_parse_too_large() { Reason::HeadersTooLarge } else { Reason::BadRequest };
        self.recorder.gave_up(reason);
        if let Some(left_out) = self.recorder.may_tell() {
            tracing::info!(%error, %reason, %client, left_out, "Request refused.");
        }
    }
    /// The generation that a request would be served with now.
    #[must_use]
    pub fn generation(&self) -> Rc<WorkerGeneration> {
        (self.generation)()
    }

    /// Answers one request. Dropping the future (the client went away) cancels what it waits for.
    ///
    /// What needs no waiting is done at once, so that the future holds nothing of it.
    ///
    /// # Errors
    /// A filter reset the stream.
    pub fn handle(
        &self,
        request: Request<Incoming>,
        client: &Rc<Client>,
    ) -> impl Future<Output = Result<Response<ProxyBody>, Aborted>> + use<> {
        let begun = self.begin(request, client);
        async move {
            match begun {
                Begun::Answered(response) => Ok(response),
                Begun::Direct(ongoing, parts, body) => Ok(direct(ongoing, parts, body).await),
                // Boxed, so that connections without filters stay small.
                Begun::Filtered(ongoing, facts, head, body) => {
                    Box::pin(filtered::filtered(ongoing, facts, head, body)).await
                }
            }
        }
    }

    /// Checks, normalises, routes and cleans.
    fn begin(&self, mut request: Request<Incoming>, client: &Rc<Client>) -> Begun {
        let broken = client.take_up();
        let generation = self.generation();
        let connect = stream::Connect::take(&mut request);
        let (mut parts, body) = request.into_parts();
        let mut arrival = Arrival::new(&parts, &body);
        arrival.connect = connect;
        arrival.last = self.leaving.get() || client.is_spent(generation.config.limits.requests_per_connection);
        let id = self.ids.of(&parts.headers);
        let mut recording = Recording::new(client, &self.recorder, parts.method.clone(), id);
        recording.upload.clone_from(&arrival.upload);
        if !client.trusted.contains(&client.facts.remote) {
            forward::drop_claims(&mut parts.headers);
        }
        // What two servers could read differently is refused before anything else looks at it.
        let routed = match broken {
            Some(rule) => Err(rule.into()),
            None if self.is_over_memory() => Err(ProxyError::MemoryLimit),
            None => route(&generation, &parts, &client.listener),
        };
        let taken = routed.as_ref().ok().and_then(|routed| generation.routes.get(routed.route?));
        let share = routed.as_ref().ok().and_then(|routed| routed.share);
        recording.begin(taken, taken.zip(share).and_then(|(route, share)| route.shares.get(share)));
        let routed = match routed {
            Ok(routed) => routed,
            Err(error) => return Begun::Answered(refuse(&error, &arrival, recording, Some(body))),
        };
        let taken = routed.route.and_then(|route| generation.config.routes.get(route));
        if let Some(reply) = methods::own_answer(&mut parts, taken) {
            return Begun::Answered(replied(reply, &arrival, recording, Some(body), false));
        }
        if arrival.version == Version::HTTP_2 {
            forward::join_cookies(&mut parts.headers);
        }
        if let Some(taken) = taken {
            arrival.upgrade = upgrade::asked(&parts, &arrival, &taken.upgrades);
            if arrival.upgrade.is_some() && arrival.connect.is_none() {
                client.asks_to_switch();
            }
            if arrival.connect.is_some() && arrival.upgrade.is_none() {
                return Begun::Answered(refuse(&ProxyError::NotImplemented, &arrival, recording, Some(body)));
            }
        }
        let asker = Asker::new(client, &parts.headers);
        let hop = RequestHop::new(&parts, &asker, &routed.authority, recording.id.value());
        let Asker { connection, secure, host: public_host, .. } = asker;
        let journey = connection.remote.ip().map_or_else(Journey::default, Journey::of);
        let ongoing = Ongoing {
            client: Rc::clone(client),
            connection,
            secure,
            public_host,
            journey,
            generation,
            arrival,
            routed,
            recording,
        };
        if ongoing.routed.filters.is_empty() {
            hop.apply(&mut parts.headers);
            Begun::Direct(ongoing, parts, body)
        } else {
            let facts = filtered::facts(&ongoing, &hop);
            let head = filtered::request_head(parts, hop, &ongoing);
            Begun::Filtered(ongoing, facts, head, body)
        }
    }
}

/// Without filters: the head as it is, the bodies untouched.
async fn direct(mut ongoing: Ongoing, mut parts: Parts, body: Incoming) -> Response<ProxyBody> {
    ongoing.bound_upload();
    let deadline = ongoing.deadline();
    let Some((route, chain)) = ongoing.route() else {
        return refuse(&ProxyError::NoRoute, &ongoing.arrival, ongoing.recording, Some(body));
    };
    let Some(share) = ongoing.share() else {
        let path = ongoing.routed.path.as_deref().unwrap_or_else(|| parts.uri.path());
        let reply = action::reply(route, &ongoing.asked(&ongoing.routed.authority, path, parts.uri.query()));
        let reply = reply.unwrap_or_else(|| local::error_reply(&ProxyError::NoRoute, &ongoing.recording.id));
        return replied(reply, &ongoing.arrival, ongoing.recording, Some(body), false);
    };
    if let Err(error) = ongoing.arrival.check_length() {
        return refuse(&error, &ongoing.arrival, ongoing.recording, Some(body));
    }
    let host = route.rewrite.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok());
    match forward::target(&parts.uri, ongoing.routed.path.as_deref(), route) {
        Ok(target) => parts.uri = target,
        Err(error) => {
            return refuse(&ProxyError::FilterOutput(error), &ongoing.arrival, ongoing.recording, Some(body));
        }
    }
    parts.headers.insert(header::HOST, host.unwrap_or_else(|| ongoing.routed.authority.clone()));
    forward::add_via(&mut parts.headers, ongoing.arrival.version);
    action::change(&mut parts.headers, &route.request_headers);
    ongoing.arrival.hand_on_deadline(&mut parts.headers, deadline);
    let body = match &ongoing.arrival.upload {
        Some(upload) => RequestBody::Client(ClientBody::new(body, Rc::clone(upload)), forward::clean_trailers),
        None => RequestBody::Empty,
    };
    parts.extensions.clear();
    upgrade::ask(&ongoing.arrival, &parts.headers, &mut parts.extensions);
    let upstream = Rc::clone(&share.upstream);
    let (journey, retry) = (&ongoing.journey, route.retry.as_ref());
    let request = mirror::copy(Request::from_parts(parts, body), &chain.mirrors);
    let sent = within(deadline, pin!(attempts::send(&upstream, request, retry, journey))).await;
    ongoing.recording.outcome.upstream_address = ongoing.journey.address.get();
    ongoing.recording.outcome.tries = ongoing.journey.tries.get();
    let mut response = match sent {
        Some(Ok(response)) => response,
        Some(Err(error)) => {
            return refuse(&ongoing.arrival.cause(error.into()), &ongoing.arrival, ongoing.recording, None);
        }
        None => return refuse(&ongoing.late(), &ongoing.arrival, ongoing.recording, None),
    };
    ongoing.arrival.answered();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if !upgrade::is_granted(response.headers(), ongoing.arrival.upgrade.as_ref()) {
            let error = ProxyError::BadResponse("unasked 101".to_owned());
            return refuse(&error, &ongoing.arrival, ongoing.recording, None);
        }
        let upstream = upgrade::Switched::new(&mut response);
        let mut headers = std::mem::take(response.headers_mut());
        Hop::new(&headers).clean(&mut headers, |_| false);
        forward::add_via(&mut headers, response.version());
        ongoing.change_response(&mut headers);
        ongoing.recording.outcome.upstream_latency = Some(ongoing.recording.started.elapsed());
        return upgrade::switch(ongoing, headers, upstream);
    }
    relay(response, ongoing, deadline)
}

/// Hands an upstream's response on.
fn relay(response: Response<ResponseBody>, ongoing: Ongoing, deadline: Option<Instant>) -> Response<ProxyBody> {
    let (mut parts, body) = response.into_parts();
    Hop::new(&parts.headers).clean(&mut parts.headers, |_| false);
    forward::add_via(&mut parts.headers, parts.version);
    ongoing.change_response(&mut parts.headers);
    if ongoing.arrival.last && ongoing.arrival.version != Version::HTTP_2 {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let patience = Patience::with(&parts.headers, body.size_hint().exact().is_none(), deadline, &ongoing);
    let mut recording = ongoing.recording;
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    parts.status = ongoing.arrival.told(parts.status);
    recording.outcome.status = Some(parts.status);
    recording.outcome.upstream_latency = Some(recording.started.elapsed());
    Response::from_parts(parts, ProxyBody::upstream(body, recording, patience))
}

/// Answers with an error of the gateway's own, past all filters. `body`: what was not read of the request, when it is at hand.
fn refuse(
    error: &ProxyError,
    arrival: &Arrival,
    mut recording: Box<Recording>,
    body: Option<Incoming>,
) -> Response<ProxyBody> {
    recording.refused(error);
    replied(local::error_reply(error, &recording.id), arrival, recording, body, error.closes())
}

/// Answers with a reply of the gateway's own, past all filters. `closes`: the connection is not to be trusted any more.
fn replied(
    reply: LocalReply,
    arrival: &Arrival,
    recording: Box<Recording>,
    body: Option<Incoming>,
    closes: bool,
) -> Response<ProxyBody> {
    let details = Cow::Owned(reply.details.clone());
    let (head, bytes) = local::message(reply, arrival.grpc);
    let rest = body.map(|body| -> Box<dyn Input> { Box::new(ClientInput::new(body, arrival)) });
    let at_hand = rest.is_some();
    let close = closes || unread::dispose(rest, arrival) || (!at_hand && arrival.left() != Some(0));
    answer(&head, bytes, arrival, recording, details, close)
}

/// A response made here, past all filters.
fn answer(
    head: &Headers,
    bytes: bytes::Bytes,
    arrival: &Arrival,
    mut recording: Box<Recording>,
    details: Cow<'static, str>,
    close: bool,
) -> Response<ProxyBody> {
    recording.outcome.details = details;
    let head = egress::response(head).unwrap_or_else(|_| local::internal_error());
    let framing = if bytes.is_empty() { Framing::None } else { Framing::Length(bytes.len() as u64) };
    let response = assemble(head, framing, arrival, close);
    recording.outcome.status = Some(response.status());
    let bytes = if arrival.head_only { bytes::Bytes::new() } else { bytes };
    response.map(|()| ProxyBody::full(bytes, recording))
}

/// A response's head on its way to the client; its length is the one that the framing says.
fn assemble(head: egress::ResponseHead, framing: Framing, arrival: &Arrival, close: bool) -> Response<()> {
    let mut response = Response::new(());
    let head_status = head.status;
    *response.status_mut() = arrival.told(head.status);
    *response.headers_mut() = head.headers;
    // A 204 has no body and says no length (RFC 9110 §8.6).
    if let Framing::Length(length) = framing
        && head_status != StatusCode::NO_CONTENT
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if (close || arrival.last) && arrival.version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Waits for at most the time that is left; `None` when it passed. Takes a pinned future, because futures that hold others by
/// value grow with each level, and one of a request is moved into its connection.
async fn within<F: Future>(deadline: Option<Instant>, future: Pin<&mut F>) -> Option<F::Output> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
}
