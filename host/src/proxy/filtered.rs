//! A request through its filters: request chain → upstream → response chain, with local replies, interrupts and timeouts.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;

use super::arrival::{BytesInput, ClientInput, UpstreamInput};
use super::chain_body::ChainBody;
use super::forward::{Hop, RequestHop};
use super::patience::Patience;
use super::record::End;
use super::stop::Stop;
use super::{
    Aborted, Ongoing, ProxyBody, ProxyError, REPLY_TIMEOUT, action, answer, assemble, attempts, forward, local, mirror,
    reroute, unread, upgrade, within,
};
use crate::config::Route;
use crate::filter::chain::{ChainError, Framing};
use crate::filter::exchange::{Facts, Interrupt};
use crate::filter::{Chain, Direction, Headers, LocalReply, Name, egress};
use crate::observe::Reason;
use crate::upstream::{RequestBody, ResponseBody};

/// Takes a request through its filters.
pub(super) async fn filtered(
    mut ongoing: Ongoing,
    facts: Facts,
    head: Headers,
    body: Incoming,
) -> Result<Response<ProxyBody>, Aborted> {
    let chain = Chain::new(facts, Rc::clone(&ongoing.routed.filters));
    ongoing.recording.attach(&chain);
    ongoing.bound_upload();
    let body = ClientInput::new(body, &ongoing.arrival);
    chain.begin_request(head, ongoing.arrival.length, Box::new(body));

    let passed = within(ongoing.deadline(), pin!(poll_fn(|cx| chain.poll_head(Direction::Request, cx)))).await;
    let framing = match passed {
        Some(Ok(framing)) => reroute::again(&mut ongoing, &chain).map_err(Stop::Error).map(|()| framing),
        Some(Err(error)) => Err(Stop::new(Direction::Request, error)),
        None => Err(Stop::Error(ongoing.late())),
    };
    // From here on the route is the one chosen last, and so is its timeout.
    let deadline = ongoing.deadline();
    ongoing.bound_upload();
    let forwarded = match framing {
        Ok(framing) => within(deadline, pin!(forward(&mut ongoing, &chain, framing))).await,
        Err(stop) => Some(Err(stop)),
    };
    let response = match forwarded.unwrap_or_else(|| Err(Stop::Error(ongoing.late()))) {
        Ok(response) => response,
        Err(stop) => return reply(ongoing, &chain, stop).await,
    };
    respond(ongoing, &chain, response, deadline).await
}

/// What has left the chain, to the upstream.
async fn forward(ongoing: &mut Ongoing, chain: &Rc<Chain>, framing: Framing) -> Result<Response<ResponseBody>, Stop> {
    let Some((route, _)) = ongoing.route() else { return Err(Stop::Error(ProxyError::NoRoute)) };
    let Some(share) = ongoing.share() else { return Err(answered_by(route, ongoing, chain)) };
    let (upstream, retry) = (Rc::clone(&share.upstream), route.retry.clone());
    ongoing.arrival.check_length().map_err(Stop::Error)?;

    let failure = Rc::new(RefCell::new(None));
    let request =
        outgoing(ongoing, chain, framing, &failure).map_err(|error| Stop::Error(ProxyError::FilterOutput(error)))?;
    keep_target(chain, request.uri());
    let request = match ongoing.route() {
        Some((_, route)) => mirror::copy(request, &route.mirrors),
        None => request,
    };

    let asked = Instant::now();
    let sent = {
        let mut sending = pin!(attempts::send(&upstream, request, retry.as_ref(), &ongoing.journey));
        // A filter may still answer while the upstream is waited for, from a callout or the body.
        poll_fn(|cx| match chain.poll_interrupt(cx) {
            Poll::Ready(interrupt) => Poll::Ready(Err(Stop::from(interrupt))),
            Poll::Pending => sending.as_mut().poll(cx).map(Ok),
        })
        .await
    };
    let mut progress = chain.exchange().progress.borrow_mut();
    progress.upstream_address = ongoing.journey.address.get();
    ongoing.recording.outcome.upstream_address = ongoing.journey.address.get();
    ongoing.recording.outcome.tries = ongoing.journey.tries.get();
    let response = match sent? {
        Ok(response) => response,
        // When the chain broke the body off, its reason counts.
        Err(error) => {
            return Err(match failure.take() {
                Some(cause) => Stop::new(Direction::Request, cause),
                None => Stop::Error(error.into()),
            });
        }
    };
    ongoing.arrival.answered();
    let upgrade = ongoing.arrival.upgrade.as_ref();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade::is_granted(response.headers(), upgrade) {
        return Err(Stop::Error(ProxyError::BadResponse("unasked 101".to_owned())));
    }
    progress.backend_latency = Some(asked.elapsed());
    progress.details = Some("via_upstream".to_owned());
    ongoing.recording.outcome.upstream_latency = progress.backend_latency;
    Ok(response)
}

/// Keeps what the upstream is asked for, where that is not what the client asked for.
fn keep_target(chain: &Chain, target: &http::Uri) {
    let target = target.path_and_query().map_or("/", |target| target.as_str()).as_bytes();
    let (exchange, is_original) = (chain.exchange(), |path: &HeaderValue| path.as_bytes() == target);
    let mut progress = exchange.progress.borrow_mut();
    let same = match (&progress.original_path, exchange.headers(Direction::Request)) {
        (Some(original), _) => is_original(original),
        (None, head) => head.is_some_and(|head| head.get(&Name::Path).is_some_and(is_original)),
    };
    if !same {
        progress.upstream_path = Some(target.into());
    }
}

/// The answer of a route that sends its requests nowhere, to the request as its filters have left it.
fn answered_by(route: &Route, ongoing: &Ongoing, chain: &Chain) -> Stop {
    let head = chain.exchange().headers(Direction::Request).map(|head| egress::request(&head));
    let head = match head {
        Some(Ok(head)) => head,
        Some(Err(error)) => return Stop::Error(ProxyError::FilterOutput(error.to_string())),
        None => return Stop::Error(ProxyError::NoRoute),
    };
    let normal = match crate::route::path::normalise(head.path.path()) {
        Ok(normal) => normal,
        Err(error) => return Stop::Error(ProxyError::FilterOutput(error.to_string())),
    };
    let authority = HeaderValue::from_str(head.authority.as_str()).unwrap_or_else(|_| ongoing.routed.authority.clone());
    let reply = action::reply(route, &ongoing.asked(&authority, &normal, head.path.query()));
    reply.map_or(Stop::Error(ProxyError::NoRoute), Stop::Route)
}

/// The response's side: through the chain, and to the client.
async fn respond(
    mut ongoing: Ongoing,
    chain: &Rc<Chain>,
    mut response: Response<ResponseBody>,
    deadline: Option<Instant>,
) -> Result<Response<ProxyBody>, Aborted> {
    let switched =
        (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| upgrade::Switched::new(&mut response));
    let (parts, body) = response.into_parts();
    let hop = Hop::new(&parts.headers);
    let declared = parts.headers.get(header::CONTENT_LENGTH).cloned();
    let mut head = Headers::with_capacity(parts.headers.len() + 2);
    head.append(Name::Status, HeaderValue::from(parts.status.as_u16()));
    head.extend_from_map_if(parts.headers, |name| !hop.ends(name));
    // After what ends here is gone: an upstream cannot nominate away what the route sets.
    ongoing.change_response_list(&mut head);
    let length = if body.is_end_stream() { None } else { body.size_hint().exact() };
    chain.begin_response(head, length, Box::new(UpstreamInput(body)));

    let framing = within(deadline, pin!(poll_fn(|cx| chain.poll_head(Direction::Response, cx)))).await;
    // A filter may have made another answer of it; the upstream's connection is closed then.
    if let (Some(Ok(_)), Some(upstream)) = (&framing, switched)
        && let Some(mut headers) =
            chain.exchange().headers(Direction::Response).and_then(|head| egress::switching(&head))
    {
        forward::add_via(&mut headers, parts.version);
        return Ok(upgrade::switch(ongoing, headers, upstream));
    }
    let stop = match framing {
        Some(Ok(framing)) => match leaving(chain) {
            Ok(mut head) => {
                forward::add_via(&mut head.headers, parts.version);
                let mut response = assemble(head, framing, &ongoing.arrival, false);
                // Without a body, the length is that of what was not sent.
                if let Some(declared) = declared.filter(|_| ongoing.arrival.head_only && framing == Framing::None) {
                    response.headers_mut().insert(header::CONTENT_LENGTH, declared);
                }
                return Ok(send(ongoing, chain, response, framing, deadline));
            }
            Err(error) => Stop::Error(ProxyError::FilterOutput(error.to_string())),
        },
        Some(Err(error)) => Stop::new(Direction::Response, error),
        None => Stop::Error(ongoing.late()),
    };
    // A reply to a response replaces it and passes no further filter.
    let reply = match stop {
        Stop::Reply(_, reply) if reply.fault => local::identified(reply, &ongoing.recording.id),
        Stop::Reply(_, reply) | Stop::Route(reply) => reply,
        Stop::Error(error) => {
            let error = ongoing.arrival.cause(error);
            ongoing.recording.refused(&error);
            local::error_reply(&error, &ongoing.recording.id)
        }
        Stop::Reset(reason) => return Err(abort(&mut ongoing, reason)),
    };
    Ok(answer_with(ongoing, chain, reply, false))
}

/// Answers a request that goes no further: the reply runs back through the filters that saw the request.
async fn reply(mut ongoing: Ongoing, chain: &Rc<Chain>, stop: Stop) -> Result<Response<ProxyBody>, Aborted> {
    let (from, reply, closes) = match stop {
        Stop::Reply(stage, reply) if reply.fault => {
            (Some(stage), local::identified(reply, &ongoing.recording.id), false)
        }
        Stop::Reply(stage, reply) => (Some(stage), reply, false),
        Stop::Route(reply) => (None, reply, false),
        Stop::Error(error) => {
            let error = ongoing.arrival.cause(error);
            ongoing.recording.refused(&error);
            (None, local::error_reply(&error, &ongoing.recording.id), error.closes())
        }
        Stop::Reset(reason) => return Err(abort(&mut ongoing, reason)),
    };
    let rest = chain.take_input(Direction::Request);
    let at_hand = rest.is_some();
    let close = closes || unread::dispose(rest, &ongoing.arrival) || (!at_hand && ongoing.arrival.left() != Some(0));
    note(&mut ongoing, chain, &reply);
    let (head, bytes) = local::message(reply.clone(), ongoing.arrival.grpc);
    chain.begin_reply(from, head, Box::new(BytesInput(bytes)));
    let framing =
        within(Some(Instant::now() + REPLY_TIMEOUT), pin!(poll_fn(|cx| chain.poll_head(Direction::Response, cx))))
            .await;
    match framing {
        Some(Ok(framing)) => match leaving(chain) {
            Ok(head) => {
                let response = assemble(head, framing, &ongoing.arrival, close);
                Ok(send(ongoing, chain, response, framing, None))
            }
            Err(error) => {
                tracing::warn!(%error, "A filter made an invalid reply.");
                let error = ProxyError::FilterOutput(error.to_string());
                let reply = local::error_reply(&error, &ongoing.recording.id);
                Ok(answer_with(ongoing, chain, reply, close))
            }
        },
        Some(Err(ChainError::Interrupted(Interrupt::Reset(reason)))) => Err(abort(&mut ongoing, reason)),
        Some(Err(ChainError::Interrupted(Interrupt::Reply(_, replacement)))) => {
            Ok(answer_with(ongoing, chain, replacement, close))
        }
        // What the filters do not let through is sent past them.
        Some(Err(_)) | None => Ok(answer_with(ongoing, chain, reply, close)),
    }
}

/// Sends what leaves the chain.
fn send(
    mut ongoing: Ongoing,
    chain: &Rc<Chain>,
    response: Response<()>,
    framing: Framing,
    deadline: Option<Instant>,
) -> Response<ProxyBody> {
    ongoing.recording.outcome.status = Some(response.status());
    let bodiless = ongoing.arrival.head_only || response.status() == StatusCode::NO_CONTENT;
    let framing = if bodiless { Framing::None } else { framing };
    let patience = Patience::with(response.headers(), framing == Framing::Streamed, deadline, &ongoing);
    let body = ProxyBody::chain(Rc::clone(chain), framing, ongoing.recording, patience);
    response.map(|()| body)
}

/// Sends a reply past all filters.
fn answer_with(mut ongoing: Ongoing, chain: &Rc<Chain>, reply: LocalReply, close: bool) -> Response<ProxyBody> {
    note(&mut ongoing, chain, &reply);
    let details = reply.details.clone();
    let (head, bytes) = local::message(reply, ongoing.arrival.grpc);
    let close = close || ongoing.arrival.left() != Some(0);
    answer(&head, bytes, &ongoing.arrival, ongoing.recording, details.into(), close)
}

/// Keeps who replied and why.
fn note(ongoing: &mut Ongoing, chain: &Chain, reply: &LocalReply) {
    ongoing.recording.outcome.details = reply.details.clone().into();
    if reply.fault {
        ongoing.recording.outcome.reason = Some(Reason::FilterFault);
    }
    chain.exchange().progress.borrow_mut().details = Some(reply.details.clone());
}

fn abort(ongoing: &mut Ongoing, reason: String) -> Aborted {
    ongoing.recording.outcome.details = reason.clone().into();
    ongoing.recording.outcome.reason = Some(Reason::FilterReset);
    ongoing.recording.finish(End::Reset);
    Aborted(reason)
}

fn leaving(chain: &Chain) -> Result<egress::ResponseHead, egress::Illegal> {
    match chain.exchange().headers(Direction::Response) {
        Some(head) => egress::response(&head),
        None => Err(egress::Illegal::Missing(":status")),
    }
}

/// What filters may know of the request from the start.
pub(super) fn facts(ongoing: &Ongoing, hop: &RequestHop) -> Facts {
    let request_id = hop.id().and_then(|id| id.to_str().ok()).unwrap_or_default();
    let (route, upstream) = match ongoing.route() {
        Some((_, route)) => (Rc::clone(&route.name), ongoing.share().map(|share| Rc::clone(&share.name))),
        None => (Rc::from(""), None),
    };
    let upstream = upstream.unwrap_or_else(|| Rc::from(""));
    Facts {
        connection: Rc::clone(&ongoing.connection),
        request_id: request_id.into(),
        route,
        upstream,
        protocol: ongoing.arrival.protocol(),
        time: SystemTime::now(),
        started: ongoing.recording.started,
        buffer_limit: ongoing.generation.config.limits.buffer_bytes,
    }
}

/// The filters' view of the request: pseudo headers in Envoy's order, then the fields. `host` is `:authority`.
pub(super) fn request_head(parts: Parts, hop: RequestHop, ongoing: &Ongoing) -> Headers {
    let path = match &ongoing.routed.path {
        Some(path) => forward::with_path(&parts.uri, path).ok(),
        None => None,
    };
    let path = path.as_ref().unwrap_or(&parts.uri).path_and_query().map_or("/", |path| path.as_str());
    let path = HeaderValue::from_str(path).unwrap_or_else(|_| HeaderValue::from_static("/"));
    let method = HeaderValue::from_str(parts.method.as_str()).unwrap_or_else(|_| HeaderValue::from_static("GET"));
    let secure = ongoing.secure;
    let mut head = Headers::with_capacity(parts.headers.len() + 10);
    head.append(Name::Authority, ongoing.routed.authority.clone());
    head.append(Name::Path, path);
    head.append(Name::Method, method);
    head.append(Name::Scheme, HeaderValue::from_static(if secure { "https" } else { "http" }));
    hop.list(parts.headers, &mut head);
    if let Some(protocol) = &ongoing.arrival.upgrade {
        head.append(Name::Header(header::UPGRADE), protocol.clone());
    }
    head
}

/// The request as it leaves the chain, for the upstream.
fn outgoing(
    ongoing: &Ongoing,
    chain: &Rc<Chain>,
    framing: Framing,
    failure: &Rc<RefCell<Option<ChainError>>>,
) -> Result<Request<RequestBody>, String> {
    let head = match chain.exchange().headers(Direction::Request) {
        Some(head) => egress::request(&head).map_err(|error| error.to_string())?,
        None => return Err("there is no head".to_owned()),
    };
    let (route, _) = ongoing.route().ok_or("there is no route")?;
    let mut request = Request::new(RequestBody::Empty);
    let uri = http::Uri::from(head.path);
    let normal = crate::route::path::normalise(uri.path()).map_err(|error| error.to_string())?;
    *request.uri_mut() = forward::target(&uri, Some(&normal), route)?;
    *request.method_mut() = head.method;
    *request.headers_mut() = head.headers;
    let host = route.rewrite.host.as_deref().unwrap_or(head.authority.as_str());
    let host = HeaderValue::from_str(host).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    forward::add_via(request.headers_mut(), ongoing.arrival.version);
    action::change(request.headers_mut(), &route.request_headers);
    ongoing.arrival.hand_on_deadline(request.headers_mut(), ongoing.deadline());
    if let Some(switch) = upgrade::switch_of(&ongoing.arrival, request.headers()) {
        request.extensions_mut().insert(switch);
    }
    *request.version_mut() = Version::HTTP_11;
    let length = match framing {
        Framing::None => matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH).then_some(0),
        Framing::Length(length) => Some(length),
        Framing::Streamed => None,
    };
    if let Some(length) = length {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if framing != Framing::None {
        let body = ChainBody { chain: Rc::clone(chain), left: length, failure: Rc::clone(failure) };
        *request.body_mut() = RequestBody::Stream(Box::pin(body));
    }
    Ok(request)
}
