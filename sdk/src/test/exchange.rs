//! One exchange through the filter: request, upstream, response, end.
//!
//! A head that is held does not hold back body callbacks (StopIteration, what our manifest asks for), and a filter is called only
//! for what its manifest lists; trailers are not in it. Other hosts know no manifest and call for everything. After every callback everything that is due is delivered, so answers come between two pieces of a
//! body; what is delayed comes when the exchange cannot go on without it.

use std::rc::Rc;

use bytes::Bytes;

use super::harness::Harness;
use super::message::{Fields, Message, Received, TestReply};
use super::outcome::Outcome;
use super::world::{Exchange, Side};
use crate::engine::{Action, Engine, Stream};
use crate::filter::Filter;
use crate::host::Direction;
use crate::reply::Reply;

/// How much of a body the host holds for a filter, bytes.
const BODY_LIMIT: usize = 1 << 20;
/// When an exchange that does not go on is given up, nanoseconds.
const TIMEOUT: u64 = 300_000_000_000;

/// How one direction ended.
enum Ended {
    /// The message went on.
    Passed(Fields, Bytes),
    /// The filter, or its host, answered.
    Reply(Reply),
    /// The filter broke.
    Fault,
}

/// One exchange that is running.
struct Run<'a, F: Filter> {
    harness: &'a Harness<F>,
    stream: Rc<Stream>,
    id: u32,
    deadline: u64,
}

/// Sends one request.
pub(super) fn run<F: Filter>(harness: &Harness<F>, message: Message, reply: &TestReply) -> Outcome {
    harness.enter();
    harness.settle();
    let id = harness.streams.get() + 1;
    harness.streams.set(id);
    let started = Marks::new(harness);
    let run = Run { harness, stream: harness.engine.stream(id), id, deadline: harness.world.borrow().now + TIMEOUT };
    harness.world.borrow_mut().streams.insert(id, Exchange::default());
    run.describe(&message);
    let (received, response, details) = match run.half(Direction::Request, message) {
        Ended::Passed(fields, body) => (Some(Received::new("", &fields, body)), Some(reply.message()), String::new()),
        Ended::Reply(reply) => {
            let details = reply.parts().2.to_owned();
            (None, Some(local(&reply)), details)
        }
        Ended::Fault => (None, None, String::new()),
    };
    let ended = response.map(|response| {
        run.exchange(|exchange| exchange.reply = None);
        run.half(Direction::Response, response)
    });
    let (fields, body, details) = match ended {
        Some(Ended::Passed(fields, body)) => (fields, body, details),
        Some(Ended::Reply(reply)) => {
            let message = local(&reply);
            (message.fields, message.chunks.concat().into(), reply.parts().2.to_owned())
        }
        Some(Ended::Fault) | None => (vec![(":status".to_owned(), b"503".to_vec())], Bytes::new(), "fault".to_owned()),
    };
    run.finish(&fields, &body, &details);
    started.outcome(harness, id, received, &Received::new("", &fields, body), details)
}

/// A local reply as a message.
fn local(reply: &Reply) -> Message {
    let (headers, body, _) = reply.parts();
    let mut reply = TestReply::new(reply.status()).body(body.clone());
    for (name, value) in headers {
        reply = reply.header(name, value);
    }
    reply.message()
}

impl<F: Filter> Run<'_, F> {
    /// Takes one message through the filter.
    fn half(&self, direction: Direction, message: Message) -> Ended {
        let callbacks = Engine::<F>::callbacks();
        let everything = !self.harness.world.borrow().extensions;
        let (head, body) = match direction {
            Direction::Request => (callbacks.request || everything, callbacks.request_body || everything),
            Direction::Response => (callbacks.response || everything, callbacks.response_body || everything),
        };
        let empty = message.chunks.is_empty() && !message.trailers;
        self.side(direction, |side| *side = Side { fields: message.fields, held: true, empty, ..Side::default() });
        let mut passed = Vec::new();
        let mut paused = false;
        if head {
            let action = self.call(|| self.harness.engine.headers(&self.stream, direction, empty));
            if let Some(ended) = self.after(direction, action, &mut paused, &mut passed) {
                return ended;
            }
        } else {
            self.release(direction, &mut passed);
        }
        let mut chunks = message.chunks;
        if message.trailers {
            // The end comes with the trailers, not with the last piece.
            chunks.push(Bytes::new());
        }
        let last = chunks.len().saturating_sub(1);
        for (index, chunk) in chunks.into_iter().enumerate() {
            let size = self.side(direction, |side| {
                let buffer = side.buffer.get_or_insert_default();
                buffer.extend_from_slice(&chunk);
                buffer.len()
            });
            if size > BODY_LIMIT {
                let status = if direction == Direction::Request { 413 } else { 502 };
                return Ended::Reply(Reply::new(status));
            }
            let end = index == last;
            if head && body {
                let trailers = everything && message.trailers && end;
                let action = self.call(|| match trailers {
                    true => self.stream.trailers(direction),
                    false => self.stream.body(direction, size, end),
                });
                if let Some(ended) = self.after(direction, action, &mut paused, &mut passed) {
                    return ended;
                }
            } else if !paused {
                self.release(direction, &mut passed);
            }
        }
        self.wait(direction, paused, passed)
    }

    /// Waits until the filter lets go.
    fn wait(&self, direction: Direction, mut paused: bool, mut passed: Vec<u8>) -> Ended {
        while paused {
            if !self.harness.step(self.deadline) {
                self.harness
                    .world
                    .borrow_mut()
                    .logs
                    .push("error: the filter holds the exchange and waits for nothing".to_owned());
                return Ended::Reply(Reply::new(504));
            }
            if let Some(ended) = self.after(direction, Action::Pause, &mut paused, &mut passed) {
                return ended;
            }
        }
        self.release(direction, &mut passed);
        let extensions = self.harness.world.borrow().extensions;
        let mut fields = self.side(direction, |side| std::mem::take(&mut side.fields));
        if extensions {
            // This host keeps the length right; others leave it as it is.
            for (_, value) in fields.iter_mut().filter(|(name, _)| name == "content-length") {
                *value = passed.len().to_string().into_bytes();
            }
        }
        self.side(direction, |side| side.fields.clone_from(&fields));
        Ended::Passed(fields, passed.into())
    }

    /// What a callback left behind.
    fn after(&self, direction: Direction, action: Action, paused: &mut bool, passed: &mut Vec<u8>) -> Option<Ended> {
        *paused = action == Action::Pause;
        if !*paused {
            self.release(direction, passed);
        }
        self.harness.settle();
        if let Some(ended) = self.ended() {
            return Some(ended);
        }
        if self.side(direction, |side| std::mem::take(&mut side.resumed)) {
            *paused = false;
            self.release(direction, passed);
        }
        None
    }

    fn ended(&self) -> Option<Ended> {
        self.exchange(|exchange| match (&exchange.fault, &exchange.reply) {
            (Some(_), _) => Some(Ended::Fault),
            (None, Some(reply)) => Some(Ended::Reply(reply.clone())),
            (None, None) => None,
        })
    }

    /// The head and what is held of the body go on.
    fn release(&self, direction: Direction, passed: &mut Vec<u8>) {
        self.side(direction, |side| {
            side.held = false;
            passed.extend(side.buffer.take().unwrap_or_default());
            passed.extend(side.given.take().unwrap_or_default());
        });
    }

    fn call(&self, callback: impl FnOnce() -> Action) -> Action {
        self.harness.world.borrow_mut().effective = self.id;
        callback()
    }

    fn exchange<T>(&self, read: impl FnOnce(&mut Exchange) -> T) -> T {
        read(self.harness.world.borrow_mut().streams.entry(self.id).or_default())
    }

    fn side<T>(&self, direction: Direction, read: impl FnOnce(&mut Side) -> T) -> T {
        self.exchange(|exchange| read(&mut exchange.sides[direction as usize]))
    }

    /// Properties that are known from the start.
    fn describe(&self, message: &Message) {
        let size: usize = message.chunks.iter().map(Bytes::len).sum();
        self.set_property(&["request", "id"], format!("test-{}", self.id).as_bytes());
        self.set_property(&["request", "size"], &size.to_le_bytes());
    }

    fn set_property(&self, path: &[&str], value: &[u8]) {
        self.exchange(|exchange| exchange.properties.insert(path.join("\0"), value.to_vec()));
    }

    /// The end: the response is on its way, the filter looks back, the stream is gone.
    fn finish(&self, fields: &Fields, body: &Bytes, details: &str) {
        self.side(Direction::Response, |side| {
            side.fields.clone_from(fields);
            side.held = false;
        });
        let started = self.deadline - TIMEOUT;
        let duration = self.harness.world.borrow().now - started;
        self.set_property(&["request", "duration"], &duration.to_le_bytes());
        self.set_property(&["response", "size"], &body.len().to_le_bytes());
        self.set_property(&["response", "code_details"], details.as_bytes());
        if Engine::<F>::callbacks().done {
            self.harness.world.borrow_mut().effective = self.id;
            self.harness.engine.done(&self.stream);
        }
        self.stream.end();
    }
}

/// Where an exchange starts in what the harness collects.
struct Marks {
    logs: usize,
    printed: usize,
    made: usize,
}

impl Marks {
    fn new<F: Filter>(harness: &Harness<F>) -> Self {
        let world = harness.world.borrow();
        Self { logs: world.logs.len(), printed: world.printed.len(), made: world.made.len() }
    }

    fn outcome<F: Filter>(
        &self,
        harness: &Harness<F>,
        id: u32,
        received: Option<Received>,
        response: &Received,
        details: String,
    ) -> Outcome {
        let mut world = harness.world.borrow_mut();
        let exchange = world.streams.remove(&id).unwrap_or_default();
        let status = response.header(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        let headers = response.headers.iter().filter(|(name, _)| !name.starts_with(':')).cloned().collect();
        let label = |(key, value): &(String, String)| format!("{key}={value}");
        let metrics = world.metrics.iter().map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(label).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            (format!("{}{labels}", metric.name), metric.value)
        });
        Outcome {
            status,
            headers,
            body: response.body.clone(),
            received,
            calls: world.made[self.made..].to_vec(),
            logs: world.logs[self.logs..].to_vec(),
            printed: world.printed[self.printed..].to_vec(),
            metrics: metrics.collect(),
            consumer: exchange.properties.get("consumer").map(|name| String::from_utf8_lossy(name).into_owned()),
            fault: exchange.fault,
            route_cleared: exchange.route_cleared,
            details,
        }
    }
}
