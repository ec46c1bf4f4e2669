//! Streams of HTTP/2 that become tunnels (RFC 8441), from a client and to an origin, and the handshake of WebSockets over HTTP/1.1.

use std::convert::Infallible;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2 as client;
use hyper::ext::Protocol;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::body::{self, Body};
use crate::wait::within;

/// How a server answers a `sec-websocket-key` (RFC 6455 §1.3).
#[must_use]
pub fn accepting(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// A head of HTTP/1.1 in small letters, up to and with the empty line.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// An HTTP/2 connection whose streams may become tunnels.
#[derive(Clone)]
pub struct Opener {
    sender: client::SendRequest<Body>,
    authority: SocketAddr,
    /// Whether the peer had offered it with its first settings.
    pub offered: bool,
}

impl Opener {
    /// Connects, and waits for the peer's settings.
    ///
    /// # Panics
    /// Nobody listens who speaks HTTP/2.
    pub async fn connect(authority: SocketAddr) -> Self {
        let stream = TcpStream::connect(authority).await.expect("somebody listens");
        let handshake = client::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, mut connection) = handshake.expect("HTTP/2");
        // Whoever has answered has sent its settings before.
        let request = Request::get(format!("http://{authority}/")).body(body::empty()).expect("a request");
        tokio::select! {
            answer = sender.send_request(request) => drop(answer.expect("an answer")),
            _ = &mut connection => panic!("the connection ended"),
        }
        let offered = connection.is_extended_connect_protocol_enabled();
        tokio::spawn(async move { connection.await.unwrap_or_default() });
        Self { sender, authority, offered }
    }
    /// Asks for a tunnel.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn ask(&mut self, path: &str, protocol: &str, fields: &[(&str, &str)]) -> Response<Incoming> {
        let uri = format!("http://{}{path}", self.authority);
        let mut request = Request::builder().method(Method::CONNECT).uri(uri).extension(Protocol::from(protocol));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body::empty()).expect("a request");
        within("an answer to CONNECT", self.sender.send_request(request)).await.expect("an answer")
    }
    /// Opens a tunnel.
    ///
    /// # Panics
    /// It is refused.
    pub async fn open(&mut self, path: &str) -> (HeaderMap, TokioIo<Upgraded>) {
        let mut response = self.ask(path, "websocket", &[]).await;
        assert_eq!(response.status(), 200, "{response:?}");
        let headers = response.headers().clone();
        let stream = within("the tunnel", hyper::upgrade::on(&mut response)).await.expect("a tunnel");
        (headers, TokioIo::new(stream))
    }
    /// GET on another stream: its status.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn get(&mut self, path: &str) -> u16 {
        let request = Request::get(format!("http://{}{path}", self.authority)).body(body::empty()).expect("a request");
        let answer = within("an answer", self.sender.send_request(request)).await.expect("an answer");
        answer.status().as_u16()
    }
}

/// An HTTP/2 origin that grants extended CONNECTs: in the tunnel it tells the head that it got in one line, repeats whatever comes, and says
/// `bye` at the end. Everything else is answered 200.
pub struct Granting {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Granting {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Granting {
    /// Starts it. `offers`: whether its settings say what it grants.
    ///
    /// # Panics
    /// The kernel has no port.
    pub async fn start(offers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the kernel has a port");
        let address = listener.local_addr().expect("it is bound");
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut builder = server::Builder::new(TokioExecutor::new());
                if offers {
                    builder.enable_connect_protocol();
                }
                let connection = builder.serve_connection(TokioIo::new(stream), service_fn(granted));
                tokio::spawn(async move { connection.await.unwrap_or_default() });
            }
        });
        Self { address, accepting: accepting.abort_handle() }
    }
    /// Its address as a target of the configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn granted(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let protocol = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
    let mut seen = format!("{} {} {protocol:?}|", request.method(), request.uri().path());
    for (name, value) in request.headers() {
        seen += &format!("{name}: {}|", value.to_str().unwrap_or_default());
    }
    if protocol.is_some() {
        let stream = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(stream) = stream.await {
                repeat(TokioIo::new(stream), &seen).await;
            }
        });
    }
    Ok(Response::builder().header("x-origin", "yes").body(body::empty()).expect("a response"))
}

async fn repeat(mut stream: TokioIo<Upgraded>, seen: &str) {
    stream.write_all(format!("{seen}\n").as_bytes()).await.ok();
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        stream.write_all(&piece[..read]).await.ok();
    }
    stream.write_all(b"bye").await.ok();
    stream.shutdown().await.ok();
}
