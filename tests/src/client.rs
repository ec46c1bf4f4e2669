//! HTTP clients: one request on a connection of its own, or many on one that is kept.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::body::{self, Body};
use crate::wait::within;

/// A whole response.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// The version that it came with.
    pub version: Version,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

impl Response {
    /// Reads a response to its end.
    ///
    /// # Errors
    /// It breaks off.
    pub async fn read(response: http::Response<Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let (status, version, headers) = (head.status, head.version, head.headers);
        Ok(Self { status, version, headers, body: body.to_bytes(), trailers })
    }
    /// Its status, as a number.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }
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
    /// Its body, as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
    /// Checks its status.
    ///
    /// # Panics
    /// It is another one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.code(), status, "the response is {self:?}");
        self
    }
}

/// All fields of a name, joined by `, `.
#[must_use]
pub fn joined(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(", ")
}

/// A request to be sent on a connection of its own.
pub struct Call {
    address: SocketAddr,
    request: Request<Body>,
    http2: bool,
}

impl Call {
    /// A request without a body.
    ///
    /// # Panics
    /// The target is none.
    #[must_use]
    pub fn new(address: SocketAddr, method: Method, target: &str) -> Self {
        let request = Request::builder().method(method).uri(target).body(body::empty()).expect("a request");
        Self { address, request, http2: false }
    }
    /// With a field more.
    ///
    /// # Panics
    /// It is no legal field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a field name");
        self.request.headers_mut().append(name, HeaderValue::try_from(value).expect("a field value"));
        self
    }
    /// With a body of known length.
    #[must_use]
    pub fn body(self, bytes: impl Into<Bytes>) -> Self {
        self.stream(body::full(bytes))
    }
    /// With a JSON body.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }
    /// With any body.
    #[must_use]
    pub fn stream(mut self, body: Body) -> Self {
        *self.request.body_mut() = body;
        self
    }
    /// Over HTTP/2 with prior knowledge.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }
    /// Sends it and reads the whole response.
    ///
    /// # Panics
    /// There is no whole response.
    pub async fn send(self) -> Response {
        self.try_send().await.expect("a whole response")
    }
    /// Sends it and reads the whole response.
    ///
    /// # Errors
    /// There is no whole response.
    pub async fn try_send(self) -> Result<Response, hyper::Error> {
        let mut connection =
            if self.http2 { Connection::http2(self.address).await? } else { Connection::http1(self.address).await? };
        connection.send(self.request).await
    }
    /// Sends it and hands over the response's head and unread body, with the connection that keeps it alive.
    ///
    /// # Panics
    /// There is no response.
    pub async fn open(self) -> (Connection, http::Response<Incoming>) {
        let opened =
            if self.http2 { Connection::http2(self.address).await } else { Connection::http1(self.address).await };
        let mut connection = opened.expect("a connection");
        let response = connection.open(self.request).await.expect("a response");
        (connection, response)
    }
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A connection that is kept.
pub struct Connection {
    address: SocketAddr,
    sender: Sender,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Opens one that speaks HTTP/1.1.
    ///
    /// # Errors
    /// The peer does not speak it.
    ///
    /// # Panics
    /// Nobody listens.
    pub async fn http1(address: SocketAddr) -> Result<Self, hyper::Error> {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).ok();
        Self::http1_over(address, stream).await
    }
    /// Opens one that speaks HTTP/2.
    ///
    /// # Errors
    /// The peer does not speak it.
    ///
    /// # Panics
    /// Nobody listens.
    pub async fn http2(address: SocketAddr) -> Result<Self, hyper::Error> {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).ok();
        Self::http2_over(address, stream).await
    }
    /// Speaks HTTP/1.1 over what is connected already.
    ///
    /// # Errors
    /// The peer does not speak it.
    pub async fn http1_over(
        address: SocketAddr,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move { connection.await.unwrap_or_default() });
        Ok(Self { address, sender: Sender::Http1(sender), task })
    }
    /// Speaks HTTP/2 over what is connected already.
    ///
    /// # Errors
    /// The peer does not speak it.
    pub async fn http2_over(
        address: SocketAddr,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, hyper::Error> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move { connection.await.unwrap_or_default() });
        Ok(Self { address, sender: Sender::Http2(sender), task })
    }
    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// There is no whole response.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Response, hyper::Error> {
        let exchange = async { Response::read(self.open(request).await?).await };
        within("a whole response", exchange).await
    }
    /// Sends a request and waits for the response's head.
    ///
    /// # Errors
    /// There is no response.
    pub async fn open(&mut self, mut request: Request<Body>) -> Result<http::Response<Incoming>, hyper::Error> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                if !request.headers().contains_key("host") {
                    let host = HeaderValue::try_from(self.address.to_string()).expect("an address is a field value");
                    request.headers_mut().insert("host", host);
                }
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                if request.uri().authority().is_none() {
                    let uri = format!("http://{}{}", self.address, request.uri());
                    *request.uri_mut() = uri.parse().expect("a whole URI");
                }
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
    /// GET.
    ///
    /// # Panics
    /// There is no whole response.
    pub async fn get(&mut self, target: &str) -> Response {
        self.try_get(target).await.expect("a whole response")
    }
    /// GET.
    ///
    /// # Errors
    /// There is no whole response.
    ///
    /// # Panics
    /// The target is none.
    pub async fn try_get(&mut self, target: &str) -> Result<Response, hyper::Error> {
        let request = Request::get(target).body(body::empty()).expect("a request");
        self.send(request).await
    }
    /// Whether the peer has closed it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
    /// Another handle on the same HTTP/2 connection, to send requests side by side.
    ///
    /// # Panics
    /// It speaks HTTP/1.1.
    #[must_use]
    pub fn http2_sender(&self) -> http2::SendRequest<Body> {
        match &self.sender {
            Sender::Http2(sender) => sender.clone(),
            Sender::Http1(_) => panic!("HTTP/1.1 sends one request at a time"),
        }
    }
}
