//! A stream context as the chain drives it.

use std::rc::Rc;

use super::host_state::{Effective, Stream};
use super::running::Running;
use crate::config::PauseMeaning;
use crate::filter::{BodyAction, Direction, Exchange, Fault, FaultKind, Filter, HeadersAction, Stage, TrailersAction};

/// One filter serving one stream.
pub(super) struct StreamContext {
    running: Rc<Running>,
    stream: Rc<Stream>,
    pause: PauseMeaning,
    /// The guest has been told that the stream is over.
    finished: bool,
}

impl StreamContext {
    pub(super) fn new(running: Rc<Running>, stream: Rc<Stream>, pause: PauseMeaning) -> Self {
        Self { running, stream, pause, finished: false }
    }
    fn exchange(&self) -> Option<&Rc<Exchange>> {
        self.stream.stage().map(Stage::exchange)
    }
    fn effective(&self) -> Effective {
        Effective::Stream(Rc::clone(&self.stream))
    }
    /// What the callback answered, unless it reported a fault.
    fn answer<A>(&self, action: Option<A>, callback: &str) -> Result<A, Fault> {
        if let Some(fault) = &*self.stream.reported.borrow() {
            return Err(fault.clone());
        }
        action.ok_or_else(|| Fault {
            kind: FaultKind::Abi,
            detail: Rc::from(format!("{callback} answered an action that does not exist")),
        })
    }
}

impl Filter for StreamContext {
    fn on_headers(&mut self, direction: Direction, end_of_stream: bool) -> Result<HeadersAction, Fault> {
        let fields = self.exchange().and_then(|exchange| Some(exchange.headers(direction)?.len())).unwrap_or(0);
        let (id, callback) = (self.stream.id, direction.pick("proxy_on_request_headers", "proxy_on_response_headers"));
        let action =
            self.running.call(self.effective(), callback, |exports, store| match exports.headers(direction) {
                Some(headers) => headers.call(store, id, u32::try_from(fields).unwrap_or(u32::MAX), end_of_stream),
                None => Ok(0),
            })?;
        let action = match action {
            // ContinueAndEndStream (2) goes on, as in Envoy.
            0 | 2 => Some(HeadersAction::Continue),
            1 => Some(match self.pause {
                PauseMeaning::StopAll => HeadersAction::StopAllAndWatermark,
                PauseMeaning::StopIteration => HeadersAction::StopIteration,
            }),
            3 => Some(HeadersAction::StopAllAndBuffer),
            4 => Some(HeadersAction::StopAllAndWatermark),
            _ => None,
        };
        self.answer(action, callback)
    }
    fn on_body(&mut self, direction: Direction, size: usize, end_of_stream: bool) -> Result<BodyAction, Fault> {
        let (id, callback) = (self.stream.id, direction.pick("proxy_on_request_body", "proxy_on_response_body"));
        let action = self.running.call(self.effective(), callback, |exports, store| match exports.body(direction) {
            Some(body) => body.call(store, (id, u32::try_from(size).unwrap_or(u32::MAX), end_of_stream.into())),
            None => Ok(0),
        })?;
        let action = match action {
            0 => Some(BodyAction::Continue),
            1 => Some(BodyAction::StopAndBuffer),
            2 => Some(BodyAction::StopAndWatermark),
            3 => Some(BodyAction::StopNoBuffer),
            _ => None,
        };
        self.answer(action, callback)
    }
    fn on_trailers(&mut self, direction: Direction) -> Result<TrailersAction, Fault> {
        let fields = self.exchange().and_then(|exchange| Some(exchange.trailers(direction)?.len())).unwrap_or(0);
        let (id, callback) =
            (self.stream.id, direction.pick("proxy_on_request_trailers", "proxy_on_response_trailers"));
        let action =
            self.running.call(self.effective(), callback, |exports, store| match exports.trailers(direction) {
                Some(trailers) => trailers.call(store, (id, u32::try_from(fields).unwrap_or(u32::MAX))),
                None => Ok(0),
            })?;
        let action = match action {
            0 => Some(TrailersAction::Continue),
            1 => Some(TrailersAction::Stop),
            _ => None,
        };
        self.answer(action, callback)
    }
    fn finish(mut self: Box<Self>) {
        self.finished = true;
        self.running.finish(&self.stream);
    }
    fn fault(&self) -> Option<Fault> {
        self.stream.reported.borrow().clone().or_else(|| self.running.fault())
    }
}

impl Drop for StreamContext {
    /// Dropped without being finished (it reported a fault and the instance lives): the guest still learns that the
    /// stream is over, later, because whoever drops us may be in the middle of anything.
    fn drop(&mut self) {
        if !self.finished {
            self.running.finish_later(Rc::clone(&self.stream));
        }
    }
}
