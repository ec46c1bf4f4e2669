//! Callouts of guests: tokens, grants, the bound, and one answer to the root context for every accepted call.

use super::host_state::HostState;
use super::hostcalls::Status;
use super::limits::CALLOUTS;
use crate::filter::{Callout, CalloutRefused, CalloutReply, Callouts, Name};

/// Starts a call; the token is the guest's name for it.
pub(super) fn start(host: &mut HostState, call: Callout) -> Result<u32, Status> {
    let filter = host.spec.name.clone();
    if !host.spec.upstreams.contains(&call.upstream) {
        if host.log.may_warn() {
            let upstream = super::log::printable(call.upstream.as_bytes(), 64).into_owned();
            tracing::warn!(filter = &*filter, upstream, "A filter calls an upstream that it was not granted.");
        }
        return Err(Status::BadArgument);
    }
    if [Name::Method, Name::Path, Name::Authority].iter().any(|name| call.headers.get(name).is_none()) {
        tracing::warn!(filter = &*filter, "A filter's call has no :method, :path or :authority.");
        return Err(Status::BadArgument);
    }
    // Before it exists, the root context could not be told the answer.
    if host.calls.len() >= CALLOUTS || !host.root_created {
        return Err(Status::InternalFailure);
    }
    host.next_call = host.next_call.checked_add(1).ok_or(Status::InternalFailure)?;
    let token = host.next_call;
    let running = host.running.clone();
    let done = move |reply: CalloutReply| {
        if let Some(running) = running.upgrade() {
            running.answer(token, reply);
        }
    };
    match host.callouts.start(call, Box::new(done)) {
        Ok(()) => {
            host.calls.insert(token);
            Ok(token)
        }
        Err(CalloutRefused::TooMany) => Err(Status::InternalFailure),
        Err(refused @ (CalloutRefused::UnknownUpstream | CalloutRefused::BadRequest(_))) => {
            tracing::warn!(filter = &*filter, ?refused, "A filter's call was refused.");
            Err(Status::BadArgument)
        }
    }
}

/// Callouts of a canary: accepted like others, so that a filter that fetches something when it starts does so, and
/// never answered.
pub(super) struct Unanswered;

impl Callouts for Unanswered {
    fn start(&self, _call: Callout, _done: Box<dyn FnOnce(CalloutReply)>) -> Result<(), CalloutRefused> {
        Ok(())
    }
}
