//! Switching protocols: an HTTP/1.1 request may turn its connection into a tunnel to the upstream (RFC 9110 §7.8), an HTTP/2 request its
//! stream (RFC 8441), as WebSockets do.
//!
//! An extended CONNECT of HTTP/2 is the GET with `upgrade` that HTTP/1.1 has for it, from its arrival to its answer: routes and filters see
//! no other, and a 101 where the upstream agrees.
//!
//! Heads pass the filters like any others. What flows afterwards is no HTTP and passes no filter; it ends when both sides have closed,
//! when nothing has flowed for too long, or at the end of a drain.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::record::{End, Recording};
use super::stream::Stream;
use super::{Ongoing, ProxyBody, arrival::Arrival};
use crate::observe::Reason;
use crate::upstream::{InUse, ResponseBody, Switch};

/// Bytes that each direction holds while its reader is slow.
const BUFFER: usize = 16 << 10;

/// The protocol that a request asks for, when its route offers it and the request has no body.
pub(super) fn asked(parts: &Parts, arrival: &Arrival, offered: &[HeaderValue]) -> Option<HeaderValue> {
    let asked = match &arrival.connect {
        Some(connect) => &connect.protocol,
        None => upgrade(parts, arrival)?,
    };
    offered.iter().find(|offered| same(asked, offered)).cloned()
}

/// What the upstream is asked for beside a request with these fields.
pub(super) fn switch_of(arrival: &Arrival, headers: &HeaderMap) -> Option<Switch> {
    let protocol = arrival.upgrade.clone()?;
    Some(if arrival.connect.is_some() { Switch::of_connect(protocol) } else { Switch::of_upgrade(protocol, headers) })
}

/// Says so beside a request.
pub(super) fn ask(arrival: &Arrival, headers: &HeaderMap, extensions: &mut Extensions) {
    if let Some(switch) = switch_of(arrival, headers) {
        extensions.insert(switch);
    }
}

/// Writes into a head that this connection changes its protocol.
fn mark(headers: &mut HeaderMap, protocol: &HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol.clone());
}

/// Whether an upstream's 101 answers what was asked for.
pub(super) fn is_granted(headers: &HeaderMap, asked: Option<&HeaderValue>) -> bool {
    asked.zip(only(headers)).is_some_and(|(asked, granted)| same(asked, granted))
}

/// The answer to the client. The tunnel begins when its connection has sent it.
pub(super) fn switch(mut ongoing: Ongoing, mut headers: HeaderMap, upstream: Switched) -> Response<ProxyBody> {
    let status = match &ongoing.arrival.connect {
        Some(_) => StatusCode::OK,
        None => StatusCode::SWITCHING_PROTOCOLS,
    };
    ongoing.recording.outcome.status = Some(status);
    let idle = ongoing.generation.config.limits.tunnel_timeout;
    let tunnel = Tunnel { upstream, recording: ongoing.recording, idle };
    match ongoing.arrival.connect {
        Some(connect) => {
            tokio::task::spawn_local(tunnel.run_on_stream(connect.stream));
        }
        None => {
            if let Some(protocol) = &ongoing.arrival.upgrade {
                mark(&mut headers, protocol);
            }
            ongoing.client.begin_tunnel(tunnel);
        }
    }
    let mut response = Response::new(ProxyBody::none());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Two connections whose bytes are handed on as they come.
pub struct Tunnel {
    upstream: Switched,
    recording: Box<Recording>,
    idle: Duration,
}

/// An upstream's side of a tunnel.
pub(super) struct Switched {
    connection: OnUpgrade,
    /// Counts it as a request under way.
    _in_use: Option<InUse>,
}

impl Switched {
    /// Of a response that has switched protocols.
    pub(super) fn new(response: &mut Response<ResponseBody>) -> Self {
        let in_use = response.body_mut().take_in_use();
        Self { connection: hyper::upgrade::on(response), _in_use: in_use }
    }
}

impl Tunnel {
    /// The same for a stream of an HTTP/2 connection, when the answer has been sent.
    async fn run_on_stream(mut self, stream: OnUpgrade) {
        match stream.await {
            Ok(stream) => self.run(Stream::new(stream), Bytes::new()).await,
            // The client did not wait for the answer.
            Err(_) => self.recording.finish(End::ClientGone),
        }
    }
    /// Hands on what comes from either side until both have closed. `early`: what the client sent right behind its request.
    pub(crate) async fn run(mut self, client: impl AsyncRead + AsyncWrite, early: Bytes) {
        let Switched { connection, _in_use } = self.upstream;
        let upstream = match connection.await {
            Ok(upstream) => Stream::new(upstream),
            Err(error) => {
                self.recording.broken_off(Reason::UpstreamReset, &error);
                return self.recording.finish(End::Broken);
            }
        };
        let (from_client, to_client) = tokio::io::split(client);
        let (from_upstream, to_upstream) = tokio::io::split(upstream);
        let flowed = Cell::new(Instant::now());
        let sent = Rc::<Cell<u64>>::default();
        let received = Cell::new(0);
        self.recording.received = Some(Rc::clone(&sent));
        let end = tokio::select! {
            // An end is handed on, and the other direction may go on; a connection that breaks ends both.
            both = async { tokio::try_join!(
                pump(from_client, to_upstream, &early, &sent, &flowed),
                pump(from_upstream, to_client, &[], &received, &flowed),
            ) } => if both.is_ok() { End::Complete } else { End::Broken },
            () = idle(&flowed, self.idle) => End::Timeout,
        };
        self.recording.outcome.response_bytes = received.get();
        if end == End::Timeout {
            self.recording.broken_off(Reason::TunnelIdle, &"nothing has flowed for too long");
        }
        self.recording.finish(end);
    }
}

/// One direction, to its end, which is handed on.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    early: &[u8],
    count: &Cell<u64>,
    flowed: &Cell<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let add = |bytes: usize| {
        count.set(count.get().saturating_add(bytes as u64));
        flowed.set(Instant::now());
    };
    to.write_all(early).await?;
    add(early.len());
    let outcome = loop {
        match from.read(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(read) => {
                to.write_all(&buffer[..read]).await?;
                to.flush().await?;
                add(read);
            }
            Err(error) => break Err(error),
        }
    };
    outcome.and(to.shutdown().await)
}

/// Ready when nothing has flowed for that long.
async fn idle(flowed: &Cell<Instant>, limit: Duration) {
    loop {
        let left = limit.saturating_sub(flowed.get().elapsed());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// The protocol that an HTTP/1.1 request names.
fn upgrade<'a>(parts: &'a Parts, arrival: &Arrival) -> Option<&'a HeaderValue> {
    let legal = parts.version == Version::HTTP_11 && parts.method == Method::GET && arrival.received.is_none();
    if legal && names_upgrade(&parts.headers) { only(&parts.headers) } else { None }
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

/// The one protocol that a head names. With several to choose from, servers could differ in which they take.
fn only(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(header::UPGRADE).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether two names are of the same protocol.
pub(super) fn same(one: &HeaderValue, other: &HeaderValue) -> bool {
    one.as_bytes().eq_ignore_ascii_case(other.as_bytes())
}
