//! One message on its way through its stages: where its head is, how its body leaves, what is counted. The stages
//! themselves are in `stage.rs`.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::members::Members;
use super::stage::{End, Hold, Piece, StageRun};
use super::{ChainError, Frame, Framing, Input};
use crate::filter::exchange::Message;
use crate::filter::{Callbacks, Direction, HeadersAction, Phase};

/// One direction of a chain.
pub(super) struct Pipeline {
    pub(super) members: Rc<Members>,
    pub(super) direction: Direction,
    input: Box<dyn Input>,
    /// In the order in which the message meets them.
    pub(super) stages: Vec<StageRun>,
    /// How many stages have released the head: where it is now.
    pub(super) head: usize,
    /// The stage that holds the head has been called with it.
    called: bool,
    /// The body's length as declared, or as given by a filter.
    length: Option<u64>,
    /// How the head left, once it has.
    framing: Option<Framing>,
    /// What came out of the last stage while the framing was decided.
    first: Option<Piece>,
    /// Body bytes that have left.
    sent: u64,
    /// Every frame has been given.
    done: bool,
    /// An error has been given: there is no more of this message.
    pub(super) failed: bool,
}

impl Pipeline {
    pub(super) fn new(
        members: Rc<Members>,
        direction: Direction,
        stages: impl Iterator<Item = usize>,
        length: Option<u64>,
        input: Box<dyn Input>,
    ) -> Self {
        let stages = stages.map(StageRun::new).collect();
        Self {
            members,
            direction,
            input,
            stages,
            head: 0,
            called: false,
            length,
            framing: None,
            first: None,
            sent: 0,
            done: false,
            failed: false,
        }
    }
    pub(super) fn is_end(&self) -> bool {
        self.done
    }
    pub(super) fn into_input(self) -> Box<dyn Input> {
        self.input
    }
    pub(super) fn message(&self) -> &Message {
        self.members.exchange.message(self.direction)
    }
    /// Looks at what callbacks and events have left behind.
    pub(super) fn check(&self) -> Result<(), ChainError> {
        self.members.interrupt().map_or(Ok(()), |interrupt| Err(ChainError::Interrupted(interrupt)))
    }

    /// Moves the head along until it has left the last stage and its framing is known.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Framing, ChainError>> {
        if let Some(framing) = self.framing {
            return Poll::Ready(Ok(framing));
        }
        self.check()?;
        while self.head < self.stages.len() {
            if self.called {
                ready!(self.step(self.head, cx))?;
            } else {
                self.call_head()?;
            }
        }
        let framing = ready!(self.poll_framing(cx))?;
        self.framing = Some(framing);
        self.done = framing == Framing::None;
        Poll::Ready(Ok(framing))
    }
    /// The next frame that leaves the last stage.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, ChainError>> {
        ready!(self.poll_head(cx))?;
        self.check()?;
        if self.done {
            return Poll::Ready(Ok(None));
        }
        let piece = match self.first.take() {
            Some(piece) => piece,
            None => ready!(self.poll_output(cx))?,
        };
        self.count(&piece)?;
        Poll::Ready(Ok(match piece {
            Piece::Data { bytes, .. } => Some(Frame::Data(bytes)),
            Piece::End(End::Trailers) => self.message().trailers.borrow().clone().map(Frame::Trailers),
            Piece::End(End::Plain) => None,
        }))
    }

    /// Calls the stage at which the head has arrived.
    fn call_head(&mut self) -> Result<(), ChainError> {
        let (place, direction) = (self.head, self.direction);
        let index = self.stages[place].filter;
        if direction == Direction::Request {
            self.members.witness(index);
        }
        let callbacks = self.members.callbacks(index);
        if !callbacks.headers(direction) {
            self.release_head();
            return Ok(());
        }
        let message = self.message();
        let bodiless = message.bodiless.get();
        message.head_at.set(Some(index));
        message.stages.borrow_mut()[index].resumed = false;
        let phase = direction.pick(Phase::RequestHeaders, Phase::ResponseHeaders);
        let action = self.members.call(index, phase, |filter| filter.on_headers(direction, bodiless));
        self.check()?;
        self.called = true;
        match action {
            None | Some(HeadersAction::Continue) => self.release(place),
            // Nothing of the body is to be heard, so there is no reason to read it.
            Some(HeadersAction::StopIteration) if bodiless || !callbacks.body(direction) => self.hold(place, Hold::All),
            Some(HeadersAction::StopIteration) => self.hold(place, Hold::Head),
            Some(HeadersAction::StopAllAndBuffer) if !bodiless => self.hold(place, Hold::AllBuffer),
            Some(HeadersAction::StopAllAndBuffer | HeadersAction::StopAllAndWatermark) => self.hold(place, Hold::All),
        }
        Ok(())
    }
    /// The head goes on to the next stage, with the body that the filter has given it.
    pub(super) fn release_head(&mut self) {
        let stage = &mut self.stages[self.head];
        let message = self.members.exchange.message(self.direction);
        message.head_at.set(None);
        self.head += 1;
        self.called = false;
        let Some(body) = message.given.take().filter(|body| !body.is_empty()) else { return };
        message.bodiless.set(false);
        self.length = Some(size(&body));
        stage.give(body);
    }
    /// The head has passed every stage: decides how the body will be framed, waiting for its beginning if it must.
    fn poll_framing(&mut self, cx: &mut Context<'_>) -> Poll<Result<Framing, ChainError>> {
        if self.message().bodiless.get() {
            return Poll::Ready(Ok(Framing::None));
        }
        let direction = self.direction;
        let any = |test: fn(&Callbacks, Direction) -> bool| {
            self.stages.iter().any(|stage| test(&self.members.callbacks(stage.filter), direction))
        };
        let Some(length) = self.length.filter(|_| !any(Callbacks::streams)) else {
            return Poll::Ready(Ok(Framing::Streamed));
        };
        if !any(Callbacks::body) {
            return Poll::Ready(Ok(Framing::Length(length)));
        }
        let piece = ready!(self.poll_output(cx))?;
        let message = self.message();
        let framing = match &piece {
            // Where a length is written, HTTP/1.1 has no place for trailers.
            _ if message.trailers.borrow().is_some() => Framing::Streamed,
            _ if !message.edited.get() => Framing::Length(length),
            Piece::Data { bytes, last: true } => Framing::Length(size(bytes)),
            Piece::Data { .. } => Framing::Streamed,
            Piece::End(_) => Framing::Length(0),
        };
        self.first = Some(piece);
        Poll::Ready(Ok(framing))
    }
    /// What comes out of the last stage.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, ChainError>> {
        match self.stages.len().checked_sub(1) {
            Some(last) => self.poll_stage(last, cx),
            None => self.poll_input(cx),
        }
    }
    /// What goes into the first stage.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, ChainError>> {
        // The time that reading takes is no filter's.
        self.members.begin_turn();
        while !self.input.is_end() {
            match ready!(self.input.poll_frame(cx)) {
                None => break,
                Some(Err(error)) => return Poll::Ready(Err(ChainError::Input(error))),
                Some(Ok(Frame::Data(bytes))) if bytes.is_empty() => {}
                Some(Ok(Frame::Data(bytes))) => {
                    return Poll::Ready(Ok(Piece::Data { bytes, last: self.input.is_end() }));
                }
                Some(Ok(Frame::Trailers(trailers))) if trailers.is_empty() => break,
                Some(Ok(Frame::Trailers(trailers))) => {
                    *self.message().trailers.borrow_mut() = Some(trailers);
                    return Poll::Ready(Ok(Piece::End(End::Trailers)));
                }
            }
        }
        Poll::Ready(Ok(Piece::End(End::Plain)))
    }
    /// Counts what leaves against the length that left with the head.
    fn count(&mut self, piece: &Piece) -> Result<(), ChainError> {
        if let Piece::Data { bytes, .. } = piece {
            self.sent += size(bytes);
        }
        self.done = !matches!(piece, Piece::Data { last: false, .. });
        match self.framing {
            Some(Framing::Length(length)) if self.sent > length => Err(ChainError::LengthChanged),
            Some(Framing::Length(length)) if self.done && self.sent < length => Err(ChainError::LengthChanged),
            _ => Ok(()),
        }
    }
}

/// Lengths of messages are `u64`; that of a buffer always fits.
fn size(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
