//! The chain: runs the filters of one exchange over both of its messages.
//!
//! ```text
//! client ──▶ [head | body | trailers] ──▶ stage 1 ──▶ … ──▶ stage n ──▶ upstream
//! client ◀── [head | body | trailers] ◀── stage 1 ◀── … ◀── stage n ◀── upstream
//! ```
//! A *stage* is one filter in one direction. Both directions are the same code; they differ in the order of the stages and
//! in where the message comes from ([`Input`]). Messages are **pulled**: the proxy polls the chain, the last stage polls the
//! one before it, the first polls the input. What is not polled is not read, so back-pressure needs no code.
//! Nothing waits inside a filter: a stage that holds is woken through the [`Exchange`] and looked at by the next poll.
//! The chain sends nothing itself, knows no clock but for the ledger, and has no timeouts: those are the proxy's.
//!
//! # Head
//! Contexts are made with the first callback of the stream. The headers callback decides:
//! - *Continue*: the head goes to the next stage.
//! - *StopIteration*: the head is held and body callbacks go on. A body or trailers callback that continues, or a resume,
//!   releases it. The end alone releases nothing, nor does the lack of a callback: a filter that waits for a callout is
//!   never overtaken. Without a body to come, or without a body callback, this is the same as the next one.
//! - *StopAll…*: nothing more is called on this filter until it is resumed. With *…AndBuffer* the body is read meanwhile,
//!   up to the limit; then it arrives as one chunk. With *…AndWatermark* nothing is read.
//!
//! A stage may change the head from its headers callback to the release; reading works to the end of the stream.
//! A resume inside the very callback that pauses counts; an older one does not.
//!
//! # Content length
//! A head without a length leaves at once ([`Framing::Streamed`]). With a length, and a body callback somewhere in the chain,
//! it waits for the first body bytes that leave the last stage, or for the end: an untouched body keeps its length, one that
//! is wholly known gets the right one, one that was changed with more to come, or is followed by trailers, leaves without.
//! What leaves after a head with a length is counted: a wrong sum is [`ChainError::LengthChanged`], never a broken
//! message. A filter that streams its edits makes the head leave at once without a length.
//!
//! # Body
//! A chunk is appended to what the stage holds and the callback is told the size of that and whether it is the end. The end
//! comes with the last chunk when it is known then, else in a call without new bytes. With trailers to come no body callback is
//! told the end, except that of a filter without a trailers callback: it would wait for ever, or be passed by.
//! - *Continue*: what is held goes on as one piece.
//! - *StopAndBuffer*: it stays; held bytes beyond the limit are [`ChainError::TooLarge`].
//! - *StopAndWatermark*: it stays; at the limit nothing more is read.
//! - *StopNoBuffer*: the chunk is dropped; what was held before stays.
//!
//! Held bytes can be read and changed from the body callback until they go on. A resume lets them go on without another
//! call. What a filter changes is seen by the next one only. A message without a body can be given one while its head is
//! held; later stages are called with it.
//!
//! # Trailers
//! *Continue* releases what is held of the body, then the trailers; *Stop* holds both. Trailers made by the last body callback
//! are sent, and the stages after it are called with them.
//!
//! # Replies, resets, faults
//! A local reply is recorded when a filter makes it and acted on when its callback has returned, whatever the action: the
//! next look at the message gives [`ChainError::Interrupted`] and what was held of it is dropped. [`Chain::begin_reply`]
//! then runs the reply as a response through the filters that saw the request, from the replying one back to the first; once
//! response callbacks have begun it passes no filter at all. After the response's head has left a reply becomes a reset.
//!
//! A faulted filter is gone from the stream, in both directions. With [`OnError::Open`](super::OnError::Open) what it held
//! goes on as it is; with `Closed` the stream is answered 503, or reset when the response's head has left. A fault between
//! callbacks is noticed where it matters: by a stage that holds, or at the filter's next callback. A filter with nothing left
//! to do does not take its stream down.
//!
//! # End
//! [`Chain::finish`] ends every live context once, in chain order. A filter whose only interest is the end gets its context then.

mod members;
mod pipeline;
mod stage;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;

use self::members::Members;
use self::pipeline::Pipeline;
use super::exchange::{Exchange, Facts, Interrupt};
use super::{Direction, FilterSource, Headers, Name};

/// What a message is made of, in order: one head (given at the start), data, perhaps trailers, the end.
#[derive(Debug)]
pub enum Frame {
    /// Body bytes.
    Data(Bytes),
    /// The trailers; nothing follows but the end.
    Trailers(Headers),
}

/// Where the bytes of a message come from before the chain: a client's request body, an upstream's response body, a
/// local reply's body.
pub trait Input {
    /// The next frame, `None` at the end. Polled only while the chain wants more.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>>;
    /// Whether the end has been reached, so that no frame will follow (known early when a length was declared).
    fn is_end(&self) -> bool;
}

/// The peer that sends a message failed; the exchange cannot complete.
#[derive(Debug)]
pub struct InputError(pub String);

/// Why the chain gives no further output in a direction.
#[derive(Debug)]
pub enum ChainError {
    /// A filter or the gateway replied or reset; see [`Interrupt`].
    Interrupted(Interrupt),
    /// A stage that buffers passed the limit: 413 (request) or 502 (response), or a reset after the head.
    TooLarge,
    /// The sender failed.
    Input(InputError),
    /// The body's length changed after a head with a length had left.
    LengthChanged,
}

/// How the body that leaves the chain is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body: the head ends the message.
    None,
    /// Exactly that many bytes.
    Length(u64),
    /// Chunked, or by HTTP/2 frames.
    Streamed,
}

/// The chain of one exchange.
pub struct Chain {
    members: Rc<Members>,
    request: RefCell<Option<Pipeline>>,
    response: RefCell<Option<Pipeline>>,
}

impl Chain {
    /// Begins an exchange through `filters`. Contexts are created with their first callback.
    #[must_use]
    pub fn new(facts: Facts, filters: Rc<[Rc<dyn FilterSource>]>) -> Rc<Self> {
        let exchange = Exchange::new(facts, filters.len());
        Rc::new(Self {
            members: Rc::new(Members::new(exchange, filters)),
            request: RefCell::default(),
            response: RefCell::default(),
        })
    }
    /// The exchange.
    #[must_use]
    pub fn exchange(&self) -> &Rc<Exchange> {
        &self.members.exchange
    }
    /// Starts the request. `length`: the declared content-length, `None` when streamed or absent.
    pub fn begin_request(&self, head: Headers, length: Option<u64>, body: Box<dyn Input>) {
        self.begin(Direction::Request, 0..self.members.len(), head, length, body);
    }
    /// Starts the response from the upstream: filters run n..1.
    pub fn begin_response(&self, head: Headers, length: Option<u64>, body: Box<dyn Input>) {
        self.begin(Direction::Response, (0..self.members.len()).rev(), head, length, body);
    }
    /// Starts the response from a local reply of stage `from` (or of the gateway: the last stage that saw the request): it runs
    /// from that stage back to the first, or past all filters when they have been called with a response already. The
    /// request, and any response under way, are dropped. The body's length is the head's `content-length`.
    pub fn begin_reply(&self, from: Option<usize>, head: Headers, body: Box<dyn Input>) {
        self.request.take();
        self.members.exchange.message(Direction::Request).close();
        *self.members.exchange.interrupt.borrow_mut() = None;
        let stages = if self.response.take().is_some() { Vec::new() } else { self.members.witnesses(from) };
        let length = head.get(&Name::Header(CONTENT_LENGTH)).and_then(|value| value.to_str().ok()?.parse().ok());
        self.begin(Direction::Response, stages.into_iter(), head, length, body);
    }
    /// The head of `direction` has left the chain: how its body will be framed. Head fields are read from the exchange.
    /// An interrupt that is given here has been acted on: it is not given again.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn poll_head(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<Result<Framing, ChainError>> {
        let head = self.poll(direction, cx, Pipeline::poll_head);
        match &head {
            Poll::Ready(Ok(_)) if direction == Direction::Response => self.members.answered.set(true),
            Poll::Ready(Err(ChainError::Interrupted(_))) => self.settle(),
            _ => {}
        }
        head
    }
    /// The next frame out of the chain, `None` at the end. Call after [`Chain::poll_head`] was ready. An interrupt that is
    /// given for the request is also given by [`Chain::poll_interrupt`], as the two are often polled by different tasks.
    pub fn poll_frame(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ChainError>>> {
        let frame = self.poll(direction, cx, Pipeline::poll_frame).map(Result::transpose);
        if direction == Direction::Response && matches!(frame, Poll::Ready(Some(Err(ChainError::Interrupted(_))))) {
            self.settle();
        }
        frame
    }
    /// Whether every frame of `direction` has been given.
    #[must_use]
    pub fn is_end(&self, direction: Direction) -> bool {
        self.pipeline(direction).borrow().as_ref().is_some_and(Pipeline::is_end)
    }
    /// Resolves when a filter interrupts the exchange while the proxy waits for something else (the upstream's head).
    pub fn poll_interrupt(&self, cx: &mut Context<'_>) -> Poll<Interrupt> {
        match self.members.interrupt() {
            Some(interrupt) => {
                self.settle();
                Poll::Ready(interrupt)
            }
            None => {
                self.members.exchange.register(cx.waker());
                Poll::Pending
            }
        }
    }
    /// Takes back what was not read of a message, for draining; the message ends for the chain.
    pub fn take_input(&self, direction: Direction) -> Option<Box<dyn Input>> {
        self.pipeline(direction).take().map(Pipeline::into_input)
    }
    /// The stream is over, whatever its end: done, log and delete for every filter whose context exists, exactly once, in
    /// chain order. Later calls do nothing; dropping the chain does the same.
    pub fn finish(&self) {
        for direction in [Direction::Request, Direction::Response] {
            self.pipeline(direction).take();
            self.members.exchange.message(direction).close();
        }
        self.members.finish();
    }

    fn pipeline(&self, direction: Direction) -> &RefCell<Option<Pipeline>> {
        direction.pick(&self.request, &self.response)
    }
    fn begin(
        &self,
        direction: Direction,
        stages: impl Iterator<Item = usize>,
        head: Headers,
        length: Option<u64>,
        body: Box<dyn Input>,
    ) {
        self.members.exchange.message(direction).begin(head, body.is_end());
        let pipeline = Pipeline::new(Rc::clone(&self.members), direction, stages, length, body);
        *self.pipeline(direction).borrow_mut() = Some(pipeline);
    }
    /// Polls a message; after an error there is no more of it.
    fn poll<T>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Pipeline, &mut Context<'_>) -> Poll<Result<T, ChainError>>,
    ) -> Poll<Result<T, ChainError>> {
        self.members.begin_turn();
        let mut pipeline = self.pipeline(direction).borrow_mut();
        let Some(pipeline) = pipeline.as_mut().filter(|pipeline| !pipeline.failed) else {
            return Poll::Ready(Err(ChainError::Interrupted(self.members.dropped())));
        };
        let polled = poll(pipeline, cx);
        match &polled {
            // Events reach a message that waits for its input, too.
            Poll::Pending => self.members.exchange.register(cx.waker()),
            Poll::Ready(Err(_)) => {
                pipeline.failed = true;
                self.members.exchange.message(direction).close();
            }
            Poll::Ready(Ok(_)) => {}
        }
        polled
    }
    /// The interrupt has been given to the proxy.
    fn settle(&self) {
        *self.members.exchange.interrupt.borrow_mut() = None;
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.finish();
    }
}
