//! Scripted upstreams.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::body::{self, Body};
use crate::client::joined;
use crate::wait::eventually;

/// A request as it reached an origin.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: String,
    /// The version that it came with.
    pub version: Version,
    /// Its header; over HTTP/2 `host` is the authority.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

impl Seen {
    /// All fields of a name, joined by `, `; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }
    /// Whether there is a field of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }
    /// Its body, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The request as JSON: method, target, headers, body, trailers.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let fields = |map: &HeaderMap| -> Value {
            map.keys().map(|name| (name.to_string(), json!(joined(map, name.as_str())))).collect()
        };
        json!({
            "method": self.method.as_str(),
            "target": self.target,
            "headers": fields(&self.headers),
            "body": self.text(),
            "trailers": self.trailers.as_ref().map(fields),
        })
    }
}

#[derive(Default)]
struct Record {
    requests: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

/// An upstream that reads whole requests, remembers them, and answers as told.
pub struct Origin {
    address: SocketAddr,
    http2: bool,
    record: Arc<Record>,
    accepting: AbortHandle,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Origin {
    /// One that answers each request with `answer`.
    pub async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = http::Response<Body>> + Send + 'static,
    {
        Self::serve(false, answer).await
    }
    /// The same over HTTP/2 with prior knowledge.
    pub async fn start_http2<F, A>(answer: F) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = http::Response<Body>> + Send + 'static,
    {
        Self::serve(true, answer).await
    }
    /// One that answers 200 with the request as JSON.
    pub async fn echo() -> Self {
        Self::start(|seen| async move { json_answer(&seen.to_json()) }).await
    }
    /// One that answers 200 with a text.
    pub async fn text(text: &'static str) -> Self {
        Self::start(move |_| async move { answer(200, text) }).await
    }
    async fn serve<F, A>(http2: bool, answer: F) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = http::Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the kernel has a port");
        Self::serve_on(listener, http2, answer)
    }
    /// One that listens already.
    ///
    /// # Panics
    /// It does not.
    pub fn serve_on<F, A>(listener: TcpListener, http2: bool, answer: F) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = http::Response<Body>> + Send + 'static,
    {
        let address = listener.local_addr().expect("it is bound");
        let record = Arc::new(Record::default());
        let kept = Arc::clone(&record);
        let answer = Arc::new(answer);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                kept.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve_connection(stream, http2, Arc::clone(&kept), Arc::clone(&answer)));
            }
        });
        Self { address, http2, record, accepting: accepting.abort_handle() }
    }
    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Its address as a target of the configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
    /// The version that it speaks, as a word of the configuration.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.http2 { "http2" } else { "http1" }
    }
    /// All requests so far.
    ///
    /// # Panics
    /// An answer panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.record.requests.lock().expect("no answer panics").clone()
    }
    /// How many requests there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.requests().len()
    }
    /// Forgets all requests so far.
    ///
    /// # Panics
    /// An answer panicked.
    pub fn forget(&self) {
        self.record.requests.lock().expect("no answer panics").clear();
    }
    /// The last request.
    ///
    /// # Panics
    /// There was none.
    #[must_use]
    pub fn last(&self) -> Seen {
        self.requests().pop().expect("a request has reached the origin")
    }
    /// How many connections were opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::Relaxed)
    }
    /// Waits until that many requests have arrived.
    pub async fn wait_for(&self, count: usize) {
        eventually("requests reach the origin", || std::future::ready(self.count() >= count)).await;
    }
}

async fn serve_connection<F, A>(stream: TcpStream, http2: bool, record: Arc<Record>, answer: Arc<F>)
where
    F: Fn(Seen) -> A + Send + Sync + 'static,
    A: Future<Output = http::Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
        async move {
            // A client that breaks off its request gets no answer that anybody reads.
            let Some(seen) = read(request).await else { return Ok(self::answer(400, "broken off")) };
            record.requests.lock().expect("no answer panics").push(seen.clone());
            Ok::<_, Infallible>(answer(seen).await)
        }
    });
    // How a connection ends is the business of the test that ends it.
    if http2 {
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
    } else {
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
    }
}

async fn read(request: Request<Incoming>) -> Option<Seen> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.ok()?;
    if let Some(authority) = head.uri.authority().filter(|_| !head.headers.contains_key("host")) {
        head.headers.insert("host", authority.as_str().parse().ok()?);
    }
    let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
    let trailers = body.trailers().cloned();
    let (method, version, headers) = (head.method, head.version, head.headers);
    Some(Seen { method, target, version, headers, body: body.to_bytes(), trailers })
}

/// A response with a body of known length.
///
/// # Panics
/// There is no such status.
pub fn answer(status: u16, body: impl Into<Bytes>) -> http::Response<Body> {
    http::Response::builder().status(status).body(body::full(body)).expect("a response")
}

/// A response with any body.
///
/// # Panics
/// There is no such status.
#[must_use]
pub fn stream(status: u16, body: Body) -> http::Response<Body> {
    http::Response::builder().status(status).body(body).expect("a response")
}

/// 200 with a JSON body.
#[must_use]
pub fn json_answer(value: &Value) -> http::Response<Body> {
    with(answer(200, value.to_string()), &[("content-type", "application/json")])
}

/// A response with fields more.
///
/// # Panics
/// A field is not legal.
#[must_use]
pub fn with(mut response: http::Response<Body>, headers: &[(&'static str, &str)]) -> http::Response<Body> {
    for (name, value) in headers {
        response.headers_mut().append(*name, value.parse().expect("a field value"));
    }
    response
}

/// An upstream that knows bytes only: each connection is handed to the test's own code.
pub struct RawOrigin {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl RawOrigin {
    /// One that hands each connection to `script`.
    ///
    /// # Panics
    /// The kernel has no port.
    pub async fn start<F, S>(script: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the kernel has a port");
        let address = listener.local_addr().expect("it is bound");
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                tokio::spawn(script(stream));
            }
        });
        Self { address, accepting: accepting.abort_handle() }
    }
    /// One that answers the head of a request with these bytes and closes.
    pub async fn saying(bytes: impl Into<String>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                // Whether the peer still listens is its own business.
                stream.write_all(bytes.as_bytes()).await.ok();
            }
        })
        .await
    }
    /// One that sends back what it gets, and ends when its peer has ended.
    pub async fn echo() -> Self {
        Self::start(|mut stream| async move {
            let (mut read, mut write) = stream.split();
            // Whether the peer still listens is its own business.
            tokio::io::copy(&mut read, &mut write).await.ok();
            write.shutdown().await.ok();
        })
        .await
    }
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Its address as a target of the configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
    /// The same for TCP alone.
    #[must_use]
    pub fn tcp_url(&self) -> String {
        format!("tcp://{}", self.address)
    }
}
