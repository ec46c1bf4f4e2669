//! One connection: tells the protocol, serves its requests, and ends it when it stalls, idles too long or drains.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tracing::{debug, warn};

use super::arrived::Arrived;
use super::drain::{Drain, Phase};
use super::http1::{Http1, InFlight};
use super::io::{Ahead, ClientIo, Progress};
use super::socket::{self, Socket, Stream};
use super::tls::{Secured, Termination};
use crate::address::Address;
use crate::config::Limits;
use crate::filter::exchange::{ConnectionFacts, TlsFacts};
use crate::observe::Reason;
use crate::proxy::{Client, Proxy};
use crate::upstream::LocalExecutor;

/// The HTTP library's own bound on fields; another value costs an allocation per request.
const DEFAULT_HEADER_COUNT: usize = 100;
/// The least that the HTTP library takes as the size of its buffer, bytes.
const LEAST_BUFFER: usize = 8192;
/// HTTP/2: streams that a client may reset before they were looked at, before its connection is ended (rapid reset).
const HTTP2_RESETS: usize = 20;
/// HTTP/2: protocol errors of single streams before the connection is ended (MadeYouReset).
const HTTP2_ERRORS: usize = 100;
/// HTTP/2: bytes of one request body that may be in flight, and of all of a connection.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// HTTP/2: response bytes kept per stream until the client takes them.
const HTTP2_SEND_BUFFER: usize = 256 * 1024;

/// How long a connection waits for its next request before its buffers are given back: making new ones costs little, but not nothing.
const REST_AFTER: Duration = Duration::from_secs(1);

/// Numbers connections in this process.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// The number of a new connection, unique in this process.
pub(super) fn next_id() -> u64 {
    CONNECTIONS.fetch_add(1, Ordering::Relaxed)
}

/// Serves one connection to its end.
pub(super) async fn serve(arrived: Arrived, proxy: Rc<Proxy>, drain: Drain) {
    let Arrived { stream, remote, local, configured, tls, trusted } = arrived;
    let _counted = proxy.count_connection();
    let limits = proxy.generation().config.limits.clone();
    let mut draining = drain.clone();
    let begun = tokio::select! {
        begun = begin(stream, &remote, tls.as_deref(), &proxy) => begun,
        // Nothing was asked yet, so nothing is owed.
        () = draining.wait() => return,
    };
    drop(tls);
    let Some(Begun { socket, ahead, http2, tls }) = begun else { return };
    let client = Client::new(ConnectionFacts { id: next_id(), remote, local, tls }, configured, trusted);
    let progress = Rc::<Progress>::default();
    let mut io = ClientIo::new(socket, ahead, http2, Rc::clone(&client), Rc::clone(&progress));
    let requests = limits.requests_per_connection.filter(|_| http2);
    let watch = Watch { proxy: Rc::clone(&proxy), client, progress, limits, http2, requests };
    // What serves requests is boxed, so that connections that wait for one are small.
    if http2 {
        return Box::pin(serve_http2(io, watch, proxy, drain)).await;
    }
    while let Some(mut resting) = Box::pin(serve_http1(io, &watch, &proxy, drain.clone())).await {
        if !rest(&mut resting, &watch, drain.clone()).await {
            // The client may be gone already.
            return resting.shutdown().await.unwrap_or_default();
        }
        io = resting;
    }
}

async fn serve_http2(io: ClientIo, watch: Watch, proxy: Rc<Proxy>, drain: Drain) {
    let client = Rc::clone(&watch.client);
    let mut builder = http2_builder(&watch.limits);
    if proxy.generation().config.routes.iter().any(|route| !route.upgrades.is_empty()) {
        builder.enable_connect_protocol();
    }
    let service = service_fn(move |request| proxy.handle(request, &client));
    let connection = builder.serve_connection(TokioIo::new(io), service);
    let ended = drive(pin!(connection), |connection| connection.graceful_shutdown(), &watch, drain).await;
    match &ended {
        Ended::Closed(Err(error)) if asks_for_calm(error) => {
            watch.proxy.gave_up(Reason::Http2Flood);
            let what =
                if watch.progress.flooded.get() { "frames that carry nothing" } else { "resets or endless heads" };
            warn!(remote = %watch.client.facts.remote, reason = %Reason::Http2Flood, what, "Connection ended: a flood of HTTP/2 frames.");
        }
        _ => tell(&ended, &watch),
    }
}

/// Whether a connection was ended here because its peer sent too much of what costs it nothing.
fn asks_for_calm(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_library() && cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

/// Serves requests until none comes for [`REST_AFTER`]; then the connection is given back, without any buffer. `None`: it has ended.
async fn serve_http1(io: ClientIo, watch: &Watch, proxy: &Rc<Proxy>, drain: Drain) -> Option<ClientIo> {
    let (asked, proxy, in_flight) = (Rc::clone(&watch.client), Rc::clone(proxy), InFlight::default());
    let service = service_fn(move |request| in_flight.begin(proxy.handle(request, &asked)));
    let connection = http1_builder(&watch.limits).serve_connection(TokioIo::new(io), service);
    let mut connection = Http1::new(connection, &watch.client);
    let ended = drive(Pin::new(&mut connection), Http1::wind_down, watch, drain).await;
    if let Some(tunnel) = watch.client.take_tunnel() {
        let (io, early) = connection.into_parts();
        // Boxed, so that connections that stay HTTP are small.
        Box::pin(tunnel.run(io.into_inner().into_tunnel(), early)).await;
        return None;
    }
    tell(&ended, watch);
    if !matches!(ended, Ended::Resting) {
        return None;
    }
    debug!(remote = %watch.client.facts.remote, "Connection rests.");
    // What was read and not used can only be the empty lines that may stand before a request.
    Some(connection.into_parts().0.into_inner())
}

/// Waits for the next request. False: none comes, or none is waited for any more.
async fn rest(io: &mut ClientIo, watch: &Watch, drain: Drain) -> bool {
    let since = watch.client.idle_since().unwrap_or_else(Instant::now);
    let until = tokio::time::Instant::from_std(since) + watch.limits.idle_timeout;
    tokio::select! {
        biased;
        more = io.rest() => more,
        () = drain.ends_idle() => false,
        () = tokio::time::sleep_until(until) => false,
    }
}

fn tell(ended: &Ended, watch: &Watch) {
    let Ended::Closed(Err(error)) = ended else { return };
    let remote = &watch.client.facts.remote;
    debug!(%error, %remote, "Connection ended.");
    if error.is_parse() {
        watch.proxy.refused_bytes(error, remote);
    }
}

/// A connection whose protocol is known.
struct Begun {
    socket: Socket,
    ahead: Ahead,
    http2: bool,
    tls: Option<TlsFacts>,
}

/// Establishes TLS, if the listener has it, and waits for the first bytes. `None`: there is nothing to serve.
async fn begin(stream: Stream, remote: &Address, tls: Option<&Termination>, proxy: &Proxy) -> Option<Begun> {
    let timeout = proxy.generation().config.limits.header_timeout;
    let stream = socket::corked(stream);
    let (mut socket, agreed, tls) = match tls {
        None => (Socket::Left(stream), None, None),
        // Boxed, so that connections without TLS stay small.
        Some(tls) => match Box::pin(tls.accept(stream, timeout)).await {
            Ok(Secured { stream, facts, http2 }) => (Socket::Right(Box::new(stream)), Some(http2), Some(facts)),
            Err(refused) => {
                refused.tell(proxy, remote);
                return None;
            }
        },
    };
    match tokio::time::timeout(timeout, Ahead::read(&mut socket)).await {
        // What was agreed on with TLS is not up to the first bytes any more.
        Ok(Ok(Some((ahead, http2)))) => Some(Begun { socket, ahead, http2: agreed.unwrap_or(http2), tls }),
        Ok(Ok(None)) | Err(_) => None,
        Ok(Err(error)) => {
            lost(&error, remote);
            None
        }
    }
}

pub(super) fn lost(error: &io::Error, remote: &Address) {
    debug!(%error, %remote, "Connection lost.");
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Timeouts are ours: one timer per connection that nothing re-arms per request.
    builder
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(LEAST_BUFFER));
    if limits.header_count != DEFAULT_HEADER_COUNT {
        builder.max_headers(limits.header_count);
    }
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_RESETS)
        .max_local_error_reset_streams(HTTP2_ERRORS)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .keep_alive_interval(limits.idle_timeout);
    builder
}

/// What ends a connection besides its peer.
struct Watch {
    proxy: Rc<Proxy>,
    client: Rc<Client>,
    progress: Rc<Progress>,
    /// Those of the configuration by which it was accepted; of that, nothing else is kept.
    limits: Limits,
    http2: bool,
    /// Requests after which it is wound down; HTTP/1 says so in the last answer.
    requests: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// No request for too long.
    Idle,
    /// A head that does not arrive, or an answer that is not taken.
    Stalled,
}

impl Watch {
    /// How often to look. Timers fire up to a quarter late; in return, requests arm none.
    fn interval(&self) -> Duration {
        let limits = &self.limits;
        (limits.header_timeout.min(limits.idle_timeout) / 4).max(Duration::from_millis(10))
    }
    /// Since when nothing is asked for, and nothing on its way to the client: what the HTTP library has it may still be sending.
    fn idle_since(&self) -> Option<Instant> {
        let answered = self.client.idle_since().filter(|_| self.progress.blocked_since.get().is_none())?;
        Some(self.progress.sent.get().map_or(answered, |sent| sent.max(answered)))
    }
    fn verdict(&self, now: Instant) -> Verdict {
        let limits = &self.limits;
        let passed =
            |since: Option<Instant>, limit: Duration| since.is_some_and(|since| now.duration_since(since) >= limit);
        let idle = if self.client.is_new() { limits.header_timeout } else { limits.idle_timeout };
        if passed(self.progress.head_since.get(), limits.header_timeout)
            || passed(self.progress.blocked_since.get(), limits.idle_timeout)
        {
            Verdict::Stalled
        } else if passed(self.idle_since(), idle) {
            Verdict::Idle
        } else {
            Verdict::Fine
        }
    }
    /// Whether the connection is to be wound down when that phase begins.
    fn ends_in(&self, phase: Phase) -> bool {
        let idle = self.client.idle_since().is_some();
        match phase {
            Phase::Serving => false,
            Phase::Shedding => idle,
            // Winding down is how an answer whose head is not sent yet gets to say that it is the last.
            Phase::Leaving => !self.http2 && !idle,
            Phase::Draining => true,
        }
    }
    /// Whether nothing is under way, neither here nor in the HTTP library: every request that was read has been answered, the client has
    /// taken all of that, and for a while nothing has come.
    fn rests(&self, now: Instant) -> bool {
        self.progress.between.get().is_some_and(|heads| self.client.has_answered(heads))
            && self.progress.blocked_since.get().is_none()
            && self.client.idle_since().is_some_and(|since| now.duration_since(since) >= REST_AFTER)
    }
}

/// Why a connection is not driven any more.
enum Ended {
    Closed(hyper::Result<()>),
    /// It waits for its next request, and an HTTP library is not needed for that.
    Resting,
}

/// Runs a connection to its end, or until it rests. `wind_down` lets it end with its running requests.
async fn drive<C>(mut connection: Pin<&mut C>, wind_down: impl Fn(Pin<&mut C>), watch: &Watch, drain: Drain) -> Ended
where
    C: Future<Output = hyper::Result<()>>,
{
    // A connection that is here while memory is short, or shortly before the end, has a request on its way, which is answered.
    let begun = match drain.phase() {
        Phase::Draining => Phase::Serving,
        phase => phase,
    };
    let mut told = pin!(drain.clone().other_than(begun));
    // Requests are taken up while the connection is polled, so that this needs no waking.
    let spent = || match watch.client.is_spent(watch.requests) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    };
    let mut timer = pin!(tokio::time::sleep(watch.interval()));
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return Ended::Closed(ended),
            phase = told.as_mut(), if !ending => {
                if watch.ends_in(phase) {
                    ending = true;
                    wind_down(connection.as_mut());
                } else {
                    told.set(drain.clone().other_than(phase));
                }
            }
            () = poll_fn(|_| spent()), if !ending => {
                ending = true;
                wind_down(connection.as_mut());
            }
            () = timer.as_mut() => {
                let now = Instant::now();
                match watch.verdict(now) {
                    Verdict::Fine if !ending && watch.rests(now) => return Ended::Resting,
                    Verdict::Fine => {}
                    Verdict::Idle if !ending => {
                        ending = true;
                        wind_down(connection.as_mut());
                    }
                    // Dropping it closes the socket.
                    verdict => {
                        if verdict == Verdict::Stalled && watch.progress.head_since.get().is_some() {
                            watch.proxy.gave_up(Reason::HeaderTimeout);
                            debug!(remote = %watch.client.facts.remote, "Connection ended: a request's head takes too long.");
                        }
                        return Ended::Closed(Ok(()));
                    }
                }
                timer.as_mut().reset(tokio::time::Instant::now() + watch.interval());
            }
        }
    }
}
