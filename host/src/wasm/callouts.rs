//! Callouts of guests: tokens, grants, the bound, and their answers to the root context. An HTTP call has one answer; so
//! has a unary gRPC call, a message or the status of its failure; a gRPC stream has events up to its close.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use wasmtime::Store;

use super::exports::Exports;
use super::host_state::HostState;
use super::hostcalls::Status;
use super::limits::CALLOUTS;
use super::roots::Root;
use crate::filter::{Callout, CalloutRefused, CalloutReply, Callouts, GrpcCall, GrpcEvent, GrpcStream, Name};

/// gRPC's INTERNAL: a unary call that succeeds without a message.
const INTERNAL: u32 = 13;
/// gRPC's RESOURCE_EXHAUSTED: messages that the upstream does not take.
const RESOURCE_EXHAUSTED: u32 = 8;

/// A call that is open.
pub(super) enum Call {
    Http,
    Unary { _open: Box<dyn GrpcStream> },
    Stream(Box<dyn GrpcStream>),
}

/// The kinds of calls; a token carries its kind in its two lowest bits, as in Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http = 0,
    Unary = 1,
    Stream = 2,
}

/// Number of bits of a token that are its kind.
const KIND_BITS: u32 = 2;

/// What comes back from a call, readable by the guest while it is told.
#[derive(Debug)]
pub(super) enum Incoming {
    Http(CalloutReply),
    Grpc(GrpcEvent),
}

/// The open calls of one instance.
#[derive(Default)]
pub(super) struct Calls {
    /// With the root contexts that they belong to.
    open: BTreeMap<u32, (Rc<Root>, Call)>,
    /// The number given last, and whether numbers have come round.
    last: u32,
    again: bool,
}

impl Calls {
    /// A token that no open call has; `None` when there are too many open ones.
    fn issue(&mut self, kind: Kind) -> Option<u32> {
        if self.open.len() >= CALLOUTS {
            return None;
        }
        loop {
            self.last = (self.last + 1) & (u32::MAX >> KIND_BITS);
            self.again |= self.last == 0;
            let token = self.last << KIND_BITS | kind as u32;
            if self.last > 0 && !self.open.contains_key(&token) {
                return Some(token);
            }
        }
    }
    /// An open gRPC call of a root context for its guest to act on. `None` when it has ended, which the guest may not know yet.
    ///
    /// # Errors
    /// The token is of another kind, was never given, or is that of another root context.
    pub(super) fn grpc(&mut self, root: &Rc<Root>, token: u32) -> Result<Option<&mut Call>, Status> {
        let kind = token & ((1 << KIND_BITS) - 1);
        if kind != Kind::Unary as u32 && kind != Kind::Stream as u32 {
            return Err(Status::BadArgument);
        }
        let number = token >> KIND_BITS;
        if number == 0 || (number > self.last && !self.again) {
            return Err(Status::NotFound);
        }
        match self.open.get_mut(&token) {
            Some((owner, _)) if !Rc::ptr_eq(owner, root) => Err(Status::NotFound),
            open => Ok(open.map(|(_, call)| call)),
        }
    }
    /// The root context that an open call belongs to.
    pub(super) fn root(&self, token: u32) -> Option<Rc<Root>> {
        self.open.get(&token).map(|(root, _)| Rc::clone(root))
    }
    /// Forgets a call; its events end, and an open gRPC call is reset.
    pub(super) fn remove(&mut self, token: u32) {
        self.open.remove(&token);
    }
}

/// Starts a call; the token is the guest's name for it.
pub(super) fn start(host: &mut HostState, call: Callout) -> Result<u32, Status> {
    granted(host, &call.upstream).map_err(|()| Status::BadArgument)?;
    let root = Rc::clone(host.effective.root());
    let filter = &*root.spec.name;
    if [Name::Method, Name::Path, Name::Authority].iter().any(|name| call.headers.get(name).is_none()) {
        tracing::warn!(filter, "A filter's call has no :method, :path or :authority.");
        return Err(Status::BadArgument);
    }
    let token = issue(host, Kind::Http)?;
    let running = host.running.clone();
    let done = move |reply: CalloutReply| {
        if let Some(running) = running.upgrade() {
            running.answer(token, Incoming::Http(reply));
        }
    };
    match root.callouts.start(call, Box::new(done)) {
        Ok(()) => {
            host.calls.open.insert(token, (root, Call::Http));
            Ok(token)
        }
        Err(CalloutRefused::TooMany) => Err(Status::InternalFailure),
        Err(refused) => {
            tracing::warn!(filter, %refused, "A filter's call was refused.");
            Err(Status::BadArgument)
        }
    }
}

/// Opens a gRPC call. With a message it is a unary one: that message is sent, and one answer comes.
pub(super) fn open_grpc(host: &mut HostState, call: GrpcCall, message: Option<&[u8]>) -> Result<u32, Status> {
    granted(host, &call.upstream).map_err(|()| Status::ParseFailure)?;
    let root = Rc::clone(host.effective.root());
    let token = issue(host, if message.is_some() { Kind::Unary } else { Kind::Stream })?;
    let running = host.running.clone();
    let tell = move |event| {
        if let Some(running) = running.upgrade() {
            running.answer(token, Incoming::Grpc(event));
        }
    };
    let events: Box<dyn FnMut(GrpcEvent)> = if message.is_some() { unary(tell) } else { Box::new(tell) };
    let stream = root.callouts.open_grpc(call, events).and_then(|mut stream| match message {
        None => Ok(Call::Stream(stream)),
        Some(message) if stream.send(message) => {
            stream.close();
            Ok(Call::Unary { _open: stream })
        }
        Some(_) => Err(CalloutRefused::BadRequest("the message is too large".to_owned())),
    });
    match stream {
        Ok(call) => {
            host.calls.open.insert(token, (root, call));
            Ok(token)
        }
        Err(CalloutRefused::TooMany) => Err(Status::InternalFailure),
        Err(refused) => {
            tracing::warn!(filter = &*root.spec.name, %refused, "A filter's gRPC call was refused.");
            let unknown = refused == CalloutRefused::UnknownUpstream;
            Err(if unknown { Status::ParseFailure } else { Status::InternalFailure })
        }
    }
}

/// Ends a gRPC stream whose upstream does not take what the guest sends; told when the callback that runs has returned.
pub(super) fn overrun(host: &mut HostState, token: u32) {
    if host.log.may_warn() {
        tracing::warn!(
            filter = &*host.spec().name,
            "A filter sends faster over gRPC than its upstream reads; the stream was ended."
        );
    }
    if let Some(running) = host.running.upgrade() {
        let close = GrpcEvent::Close(RESOURCE_EXHAUSTED, "the upstream does not take the messages".to_owned());
        running.answer(token, Incoming::Grpc(close));
    }
}

/// Least privilege: a filter calls what its entry grants.
fn granted(host: &mut HostState, upstream: &str) -> Result<(), ()> {
    if host.spec().upstreams.contains(upstream) {
        return Ok(());
    }
    if host.log.may_warn() {
        let upstream = super::log::printable(upstream.as_bytes(), 64).into_owned();
        tracing::warn!(filter = &*host.spec().name, upstream, "A filter calls an upstream that it was not granted.");
    }
    Err(())
}

fn issue(host: &mut HostState, kind: Kind) -> Result<u32, Status> {
    // While it does not live, the root context could not be told the answer.
    if !host.effective.root().lives.get() {
        return Err(Status::InternalFailure);
    }
    host.calls.issue(kind).ok_or(Status::InternalFailure)
}

/// The events of a unary call, as its one answer: the message, or a close that says why there is none.
fn unary(tell: impl Fn(GrpcEvent) + 'static) -> Box<dyn FnMut(GrpcEvent)> {
    let mut answer: Option<Bytes> = None;
    Box::new(move |event| match event {
        GrpcEvent::InitialMetadata(_) | GrpcEvent::TrailingMetadata(_) => {}
        GrpcEvent::Message(message) => answer = Some(message),
        GrpcEvent::Close(0, _) => tell(match answer.take() {
            Some(message) => GrpcEvent::Message(message),
            None => GrpcEvent::Close(INTERNAL, "the upstream sent no message".to_owned()),
        }),
        GrpcEvent::Close(..) => tell(event),
    })
}

impl Incoming {
    /// The callback that tells it.
    pub(super) fn callback(&self) -> &'static str {
        match self {
            Self::Http(_) => "proxy_on_http_call_response",
            Self::Grpc(GrpcEvent::InitialMetadata(_)) => "proxy_on_grpc_receive_initial_metadata",
            Self::Grpc(GrpcEvent::Message(_)) => "proxy_on_grpc_receive",
            Self::Grpc(GrpcEvent::TrailingMetadata(_)) => "proxy_on_grpc_receive_trailing_metadata",
            Self::Grpc(GrpcEvent::Close(..)) => "proxy_on_grpc_close",
        }
    }
}

/// Tells a root context, which is named by its id, what came back. Nothing is told of a call that it has cancelled.
pub(super) fn deliver(
    exports: &Exports,
    store: &mut Store<HostState>,
    (root, token): (u32, u32),
    incoming: Incoming,
) -> wasmtime::Result<()> {
    let host = store.data_mut();
    let last = match (&incoming, host.calls.open.get(&token)) {
        (_, None) => return Ok(()),
        (Incoming::Http(_) | Incoming::Grpc(GrpcEvent::Close(..)), _) | (_, Some((_, Call::Unary { .. }))) => true,
        _ => false,
    };
    if last {
        host.calls.remove(token);
    }
    let (callback, size) = match &incoming {
        Incoming::Http(reply) => {
            let sizes = (count(reply.headers.len()), count(reply.body.len()), count(reply.trailers.len()));
            host.answer = Some(incoming);
            if let Some(response) = &exports.http_call_response {
                response.call(&mut *store, (root, token, sizes.0, sizes.1, sizes.2))?;
            }
            store.data_mut().answer = None;
            return Ok(());
        }
        Incoming::Grpc(GrpcEvent::InitialMetadata(fields)) => (&exports.grpc_initial_metadata, count(fields.len())),
        Incoming::Grpc(GrpcEvent::Message(message)) => (&exports.grpc_receive, count(message.len())),
        Incoming::Grpc(GrpcEvent::TrailingMetadata(fields)) => (&exports.grpc_trailing_metadata, count(fields.len())),
        Incoming::Grpc(GrpcEvent::Close(status, _)) => (&exports.grpc_close, *status),
    };
    host.answer = Some(incoming);
    if let Some(callback) = callback {
        callback.call(&mut *store, (root, token, size))?;
    }
    store.data_mut().answer = None;
    Ok(())
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Callouts of a canary: accepted like others, so that a filter that fetches something when it starts does so, and
/// never answered.
pub(super) struct Unanswered;

impl Callouts for Unanswered {
    fn start(&self, _call: Callout, _done: Box<dyn FnOnce(CalloutReply)>) -> Result<(), CalloutRefused> {
        Ok(())
    }
    fn open_grpc(
        &self,
        _call: GrpcCall,
        _events: Box<dyn FnMut(GrpcEvent)>,
    ) -> Result<Box<dyn GrpcStream>, CalloutRefused> {
        Ok(Box::new(Self))
    }
}

impl GrpcStream for Unanswered {
    fn send(&self, _message: &[u8]) -> bool {
        true
    }
    fn close(&mut self) {}
}
