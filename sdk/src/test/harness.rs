//! The harness: a configured filter and the requests that a test sends it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::message::{Call, CallReply, Fields, Message, TestReply, pieces, to_json, with_length};
use super::outcome::Outcome;
use super::world::{ROOT, World};
use super::{exchange, host};
use crate::config::Json;
use crate::engine::Engine;
use crate::error::Fault;
use crate::filter::Filter;

/// A filter under test, and its host.
pub struct Harness<F: Filter> {
    pub(super) engine: Rc<Engine<F>>,
    pub(super) world: Rc<RefCell<World>>,
    pub(super) streams: Cell<u32>,
}

impl<F: Filter> fmt::Debug for Harness<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").finish_non_exhaustive()
    }
}

impl<F: Filter> Harness<F> {
    /// Configures a filter.
    ///
    /// # Errors
    /// What the gateway would say when it refuses the configuration.
    #[allow(clippy::needless_pass_by_value, reason = "it is mostly called with json!(…)")]
    pub fn new(config: Json) -> Result<Self, Fault> {
        Self::from_bytes(config.to_string().as_bytes())
    }

    /// Configures a filter with a text as it stands.
    ///
    /// # Errors
    /// What the gateway would say when it refuses the configuration.
    pub fn from_bytes(config: &[u8]) -> Result<Self, Fault> {
        let harness = Self { engine: Engine::new(ROOT), world: Rc::default(), streams: Cell::new(ROOT) };
        host::enter(&harness.world);
        harness.engine.configure(config)?;
        Ok(harness)
    }

    /// Plays an upstream that the filter calls.
    #[must_use]
    pub fn upstream(self, name: &str, handler: impl Fn(&Call) -> CallReply + 'static) -> Self {
        self.world.borrow_mut().upstreams.insert(name.to_owned(), Rc::new(handler));
        self
    }

    /// Says where clients are.
    #[must_use]
    pub fn client_ip(self, ip: &str) -> Self {
        let address = if ip.contains(':') { format!("[{ip}]:40000") } else { format!("{ip}:40000") };
        self.property(&["source", "address"], address.as_bytes())
    }

    /// Sets a property of every exchange.
    #[must_use]
    pub fn property(self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.world.borrow_mut().properties.insert(path.join("\0"), value.as_ref().to_vec());
        self
    }

    /// Makes the host one that knows nothing of Sluicegate.
    #[must_use]
    pub fn without_extensions(self) -> Self {
        self.world.borrow_mut().extensions = false;
        host::forget();
        self
    }

    /// A GET request; it is sent by [`TestRequest::send`].
    pub fn get(&self, path: &str) -> TestRequest<'_, F> {
        self.request("GET", path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> TestRequest<'_, F> {
        self.request("POST", path)
    }

    /// A PUT request.
    pub fn put(&self, path: &str) -> TestRequest<'_, F> {
        self.request("PUT", path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: &str) -> TestRequest<'_, F> {
        self.request("DELETE", path)
    }

    /// An OPTIONS request.
    pub fn options(&self, path: &str) -> TestRequest<'_, F> {
        self.request("OPTIONS", path)
    }

    /// A request.
    pub fn request(&self, method: &str, path: &str) -> TestRequest<'_, F> {
        let pseudo = [(":method", method), (":path", path), (":authority", "gateway.test"), (":scheme", "http")];
        TestRequest {
            harness: self,
            fields: pseudo.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
            body: Bytes::new(),
            pieces: 0,
            trailers: false,
            reply: TestReply::new(200),
        }
    }

    /// Lets time pass: timers run, delayed answers come.
    pub fn advance(&self, time: Duration) {
        self.enter();
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let until = self.world.borrow().now.saturating_add(nanos);
        self.run_until(until);
    }

    /// All callouts to an upstream so far.
    #[must_use]
    pub fn calls(&self, upstream: &str) -> Vec<Call> {
        self.world.borrow().made.iter().filter(|call| call.upstream == upstream).cloned().collect()
    }

    /// All log lines so far, each as `level: text`.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        self.world.borrow().logs.clone()
    }

    /// The value of a metric; see [`Outcome::metric`].
    #[must_use]
    pub fn metric(&self, name: &str) -> i64 {
        self.world.borrow().metric(name)
    }

    /// The JSON Schema of the filter's configuration.
    #[must_use]
    pub fn schema() -> Json {
        let schema = <F::Config as crate::config::Config>::SCHEMA.to_json();
        serde_json::from_str(&schema).unwrap_or(Json::Null)
    }

    pub(super) fn enter(&self) {
        host::enter(&self.world);
        self.world.borrow_mut().started = true;
    }
}

/// A request that a test is about to send.
#[must_use = "a request does nothing before it is sent"]
pub struct TestRequest<'a, F: Filter> {
    pub(super) harness: &'a Harness<F>,
    pub(super) fields: Fields,
    body: Bytes,
    pieces: usize,
    trailers: bool,
    pub(super) reply: TestReply,
}

impl<F: Filter> TestRequest<'_, F> {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = name.to_ascii_lowercase();
        // There is one authority, and tests call it host.
        let name = if name == "host" { ":authority".to_owned() } else { name };
        if name.starts_with(':') {
            self.fields.retain(|(field, _)| *field != name);
        }
        self.fields.push((name, value.as_ref().to_vec()));
        self
    }

    /// Adds `authorization: Bearer …`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to JSON, and `content-type`.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.header("content-type", "application/json").body(to_json(value))
    }

    /// Sends the body in this many pieces, and its end after them.
    pub const fn chunked(mut self, pieces: usize) -> Self {
        self.pieces = pieces;
        self
    }

    /// Sends trailers after the body.
    pub const fn trailers(mut self) -> Self {
        self.trailers = true;
        self
    }

    /// What the upstream answers; an empty 200 otherwise.
    pub fn upstream_reply(mut self, reply: TestReply) -> Self {
        self.reply = reply;
        self
    }

    /// Sends it, and waits for the end of the exchange. Time passes only if the filter waits for it.
    #[must_use]
    pub fn send(mut self) -> Outcome {
        with_length(&mut self.fields, &self.body);
        let message = Message { fields: self.fields, chunks: pieces(&self.body, self.pieces), trailers: self.trailers };
        exchange::run(self.harness, message, &self.reply)
    }
}
