//! The chain: runs the filters of one exchange over both of its messages.
//!
//! (Behaviour documentation goes here.)

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::exchange::{Exchange, Facts, Interrupt};
use super::{Direction, FilterSource, Headers};

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
    exchange: Rc<Exchange>,
}

impl Chain {
    /// Begins an exchange through `filters`. Contexts are created with their first callback.
    #[must_use]
    pub fn new(facts: Facts, filters: Rc<[Rc<dyn FilterSource>]>) -> Rc<Self> {
        Rc::new(Self { exchange: Exchange::new(facts, filters.len()) })
    }
    /// The exchange.
    #[must_use]
    pub fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }
    /// Starts the request. `length`: the declared content-length, `None` when streamed or absent.
    pub fn begin_request(&self, _head: Headers, _length: Option<u64>, _body: Box<dyn Input>) {}
    /// Starts the response from the upstream: filters run n..1.
    pub fn begin_response(&self, _head: Headers, _length: Option<u64>, _body: Box<dyn Input>) {}
    /// Starts the response from a local reply of stage `from` (or of the gateway: the last stage that saw the request): it runs
    /// from that stage back to the first.
    pub fn begin_reply(&self, _from: Option<usize>, _head: Headers, _body: Box<dyn Input>) {}
    /// The head of `direction` has left the chain: how its body will be framed. Head fields are read from the exchange.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn poll_head(&self, _direction: Direction, _cx: &mut Context<'_>) -> Poll<Result<Framing, ChainError>> {
        Poll::Pending
    }
    /// The next frame out of the chain, `None` at the end. Call after [`Chain::poll_head`] was ready.
    pub fn poll_frame(&self, _direction: Direction, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ChainError>>> {
        Poll::Pending
    }
    /// Resolves when a filter interrupts the exchange while the proxy waits for something else (the upstream's head).
    pub fn poll_interrupt(&self, _cx: &mut Context<'_>) -> Poll<Interrupt> {
        Poll::Pending
    }
    /// The stream is over, whatever its end: done, log and delete for every filter whose context exists, exactly once, in
    /// chain order. Later calls do nothing; dropping the chain does the same.
    pub fn finish(&self) {}
}
