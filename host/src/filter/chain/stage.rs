//! One stage of a message: what it holds, when its filter is called with body and trailers, and what goes on.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use super::ChainError;
use super::pipeline::Pipeline;
use crate::filter::{BodyAction, Phase, TrailersAction};

/// What goes from one stage to the next.
pub(super) enum Piece {
    /// Body bytes, never none; `last`: the plain end follows at once.
    Data { bytes: Bytes, last: bool },
    /// The body is over.
    End(End),
}

/// What comes after the body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing.
    Plain,
    /// The trailers, which are in the exchange.
    Trailers,
}

/// What a stage keeps back, and whether its filter hears more meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing.
    No,
    /// The head; body callbacks go on.
    Head,
    /// Everything; nothing is read.
    All,
    /// Everything; the body is read ahead up to the limit, without callbacks.
    AllBuffer,
    /// The body, up to the limit.
    Buffer,
    /// The body; at the limit nothing more is read.
    Watermark,
    /// Nothing, or the end: the filter took the bytes.
    Taken,
}

/// One filter's place on the way of one message.
pub(super) struct StageRun {
    /// Its index in the chain.
    pub(super) filter: usize,
    hold: Hold,
    /// Read ahead while everything was held; its filter has not been called with it.
    ahead: BytesMut,
    ahead_end: Option<End>,
    /// The end that its filter has been called with.
    end: Option<End>,
    /// Released, not yet pulled by the next stage.
    out: Bytes,
    out_end: Option<End>,
}

impl StageRun {
    pub(super) fn new(filter: usize) -> Self {
        Self {
            filter,
            hold: Hold::No,
            ahead: BytesMut::new(),
            ahead_end: None,
            end: None,
            out: Bytes::new(),
            out_end: None,
        }
    }
    /// A message without a body leaves this stage with one.
    pub(super) fn give(&mut self, body: Bytes) {
        self.out = body;
        self.out_end = Some(End::Plain);
    }
    fn take_out(&mut self) -> Option<Piece> {
        if !self.out.is_empty() {
            return Some(Piece::Data { bytes: std::mem::take(&mut self.out), last: self.out_end == Some(End::Plain) });
        }
        self.out_end.map(Piece::End)
    }
    fn take_ahead(&mut self) -> Option<Piece> {
        if self.ahead.is_empty() {
            return self.ahead_end.take().map(Piece::End);
        }
        let last = self.ahead_end == Some(End::Plain);
        Some(Piece::Data { bytes: std::mem::take(&mut self.ahead).freeze(), last })
    }
    fn put_ahead(&mut self, piece: Piece) {
        match piece {
            Piece::Data { bytes, last } => {
                self.ahead.extend_from_slice(&bytes);
                self.ahead_end = last.then_some(End::Plain);
            }
            Piece::End(end) => self.ahead_end = Some(end),
        }
    }
}

impl Pipeline {
    /// What comes out of the stage at `place`.
    pub(super) fn poll_stage(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<Result<Piece, ChainError>> {
        loop {
            if let Some(piece) = self.stages[place].take_out() {
                return Poll::Ready(Ok(piece));
            }
            ready!(self.step(place, cx))?;
        }
    }
    /// One event at a stage: it releases what it holds, or takes in one piece of what comes to it. Pending: it holds, or the
    /// piece is not there yet.
    pub(super) fn step(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<Result<(), ChainError>> {
        if self.stages[place].hold != Hold::No {
            let lost = self.members.lost(self.stages[place].filter);
            self.check()?;
            if self.take_resumed(place) || lost {
                self.release(place);
                return Poll::Ready(Ok(()));
            }
            if !self.reads_on(place)? {
                return Poll::Pending;
            }
        }
        let piece = ready!(self.pull(place, cx))?;
        if self.stages[place].hold == Hold::AllBuffer {
            self.stages[place].put_ahead(piece);
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.feed(place, piece))
    }
    pub(super) fn hold(&mut self, place: usize, hold: Hold) {
        self.stages[place].hold = hold;
    }
    /// Everything that a stage holds goes on.
    pub(super) fn release(&mut self, place: usize) {
        let stage = &mut self.stages[place];
        let message = self.members.exchange.message(self.direction);
        stage.hold = Hold::No;
        {
            let state = &mut message.stages.borrow_mut()[stage.filter];
            state.open = false;
            stage.out = std::mem::take(&mut state.buffer).freeze();
        }
        if stage.end.is_some() {
            message.trailers_at.set(None);
            // A filter may have made trailers where there were none, or removed the last of them.
            let mut trailers = message.trailers.borrow_mut();
            *trailers = trailers.take().filter(|trailers| !trailers.is_empty());
            stage.out_end = Some(if trailers.is_some() { End::Trailers } else { End::Plain });
        }
        if self.head == place {
            self.release_head();
        }
    }

    fn take_resumed(&self, place: usize) -> bool {
        std::mem::take(&mut self.message().stages.borrow_mut()[self.stages[place].filter].resumed)
    }
    /// Whether a stage that holds takes in more.
    fn reads_on(&self, place: usize) -> Result<bool, ChainError> {
        let stage = &self.stages[place];
        let limit = self.members.exchange.facts.buffer_limit;
        let held = self.message().stages.borrow()[stage.filter].buffer.len();
        let over = match stage.hold {
            Hold::Buffer => held > limit,
            Hold::AllBuffer => stage.ahead.len() > limit,
            _ => false,
        };
        if over {
            return Err(ChainError::TooLarge);
        }
        let full = match stage.hold {
            Hold::All => true,
            Hold::AllBuffer => stage.ahead_end.is_some(),
            Hold::Watermark => held >= limit,
            _ => false,
        };
        Ok(!full && stage.end.is_none())
    }
    /// The next piece that comes to a stage.
    fn pull(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<Result<Piece, ChainError>> {
        let stage = &mut self.stages[place];
        if stage.hold != Hold::AllBuffer
            && let Some(piece) = stage.take_ahead()
        {
            return Poll::Ready(Ok(piece));
        }
        match place.checked_sub(1) {
            Some(before) => self.poll_stage(before, cx),
            None => self.poll_input(cx),
        }
    }
    /// A piece has come to a stage: its filter is called with it, or it goes on at once.
    fn feed(&mut self, place: usize, piece: Piece) -> Result<(), ChainError> {
        let stage = &mut self.stages[place];
        let callbacks = self.members.callbacks(stage.filter);
        let (body, trailers) = (callbacks.body(self.direction), callbacks.trailers(self.direction));
        match piece {
            Piece::Data { bytes, last } if body => {
                stage.end = last.then_some(End::Plain);
                self.call_body(place, bytes)
            }
            Piece::Data { bytes, last } => {
                stage.out = bytes;
                stage.out_end = last.then_some(End::Plain);
                Ok(())
            }
            Piece::End(end) => {
                stage.end = Some(end);
                match end {
                    End::Trailers if trailers => self.call_trailers(place),
                    _ if body => self.call_body(place, Bytes::new()),
                    _ => {
                        stage.out_end = Some(end);
                        Ok(())
                    }
                }
            }
        }
    }
    /// Calls a filter with a further chunk, which may be empty at the end.
    fn call_body(&mut self, place: usize, chunk: Bytes) -> Result<(), ChainError> {
        let (index, direction) = (self.stages[place].filter, self.direction);
        let end = self.stages[place].end.is_some();
        let message = self.message();
        let before;
        let size = {
            let state = &mut message.stages.borrow_mut()[index];
            (state.open, state.resumed) = (true, false);
            before = state.buffer.len();
            append(&mut state.buffer, chunk);
            state.buffer.len()
        };
        if end {
            message.trailers_at.set(Some(index));
        }
        let phase = direction.pick(Phase::RequestBody, Phase::ResponseBody);
        let action = self.members.call(index, phase, |filter| filter.on_body(direction, size, end));
        self.check()?;
        match action {
            None | Some(BodyAction::Continue) => self.release(place),
            Some(BodyAction::StopAndBuffer) => self.hold(place, Hold::Buffer),
            Some(BodyAction::StopAndWatermark) => self.hold(place, Hold::Watermark),
            Some(BodyAction::StopNoBuffer) => {
                self.hold(place, Hold::Taken);
                let message = self.message();
                let buffer = &mut message.stages.borrow_mut()[index].buffer;
                if buffer.len() > before {
                    buffer.truncate(before);
                    message.edited.set(true);
                }
            }
        }
        Ok(())
    }
    /// Calls a filter with the trailers.
    fn call_trailers(&mut self, place: usize) -> Result<(), ChainError> {
        let (index, direction) = (self.stages[place].filter, self.direction);
        let message = self.message();
        message.trailers_at.set(Some(index));
        message.stages.borrow_mut()[index].resumed = false;
        let phase = direction.pick(Phase::RequestTrailers, Phase::ResponseTrailers);
        let action = self.members.call(index, phase, |filter| filter.on_trailers(direction));
        self.check()?;
        match action {
            None | Some(TrailersAction::Continue) => self.release(place),
            Some(TrailersAction::Stop) => self.hold(place, Hold::All),
        }
        Ok(())
    }
}

/// Appends a chunk, without copying it where it is the first and nobody else has it.
fn append(buffer: &mut BytesMut, chunk: Bytes) {
    if buffer.is_empty() {
        *buffer = chunk.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    } else {
        buffer.extend_from_slice(&chunk);
    }
}
