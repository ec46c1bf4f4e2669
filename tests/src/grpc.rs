//! A gRPC service of opaque messages, to be called by filters.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::body::{self, Body, Part};
use crate::origin::{answer, stream, with};

/// The service `shop.Users` over HTTP/2 without TLS. Its methods:
///
/// - `Get` answers `<message> from <x-asked>`, with metadata at both ends;
/// - `Watch` answers three messages, whatever it is asked;
/// - `Chat` answers each message with itself in upper case, as they come;
/// - `Deny` fails at once; `Fail` fails after a message; `Silent` succeeds without one;
/// - `Hang` answers nothing, `Cut` breaks off inside a message, `Huge` announces one of 2 GiB, `Packed` compresses,
///   `Html` answers 200 with a page, `Gone` answers 503.
pub struct GrpcOrigin {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for GrpcOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl GrpcOrigin {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the kernel has a port");
        let address = listener.local_addr().expect("it is bound");
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service_fn(|request| async { Ok::<_, Infallible>(serve(request)) });
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service);
                // How a connection ends is the business of the test that ends it.
                tokio::spawn(async { connection.await.ok() });
            }
        });
        Self { address, accepting: accepting.abort_handle() }
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
}

/// A message behind its prefix.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
        .collect()
}

const OK: [(&str, &str); 2] = [("grpc-status", "0"), ("x-kind", "trailing")];

fn serve(request: Request<Incoming>) -> Response<Body> {
    let right = request.headers().get("content-type").is_some_and(|value| value == "application/grpc")
        && request.headers().get("te").is_some_and(|value| value == "trailers");
    if !right {
        return answer(415, "not gRPC");
    }
    let body = match request.uri().path().rsplit('/').next().unwrap_or_default() {
        "Watch" => body::with_trailers(["one", "two", "three"].map(|text| framed(text.as_bytes())), trailers(&OK)),
        "Fail" => {
            body::with_trailers([framed(b"half")], trailers(&[("grpc-status", "9"), ("grpc-message", "not%20now")]))
        }
        "Silent" => body::with_trailers([Bytes::new()], trailers(&OK)),
        "Cut" => body::broken([Bytes::from_static(&[0, 0, 0, 0, 9, b'x'])]),
        "Huge" => body::chunks([Bytes::from_static(&[0, 0x80, 0, 0, 0])]),
        "Packed" => body::chunks([Bytes::from_static(&[1, 0, 0, 0, 1, b'x'])]),
        "Html" => return with(answer(200, "<p>"), &[("content-type", "text/html")]),
        "Gone" => return answer(503, "gone"),
        "Deny" => {
            let fields = [("content-type", "application/grpc"), ("grpc-status", "7"), ("grpc-message", "not%20yours")];
            return with(stream(200, body::empty()), &fields);
        }
        "Get" | "Chat" | "Hang" => {
            let (sender, body) = body::fed();
            tokio::spawn(converse(request, sender));
            body
        }
        _ => return with(stream(200, body::empty()), &[("content-type", "application/grpc"), ("grpc-status", "12")]),
    };
    with(stream(200, body), &[("content-type", "application/grpc"), ("x-kind", "initial")])
}

/// Reads messages and answers as the method wants.
async fn converse(request: Request<Incoming>, answers: mpsc::Sender<Part>) {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let asked = request.headers().get("x-asked").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut body = request.into_body();
    let mut read = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { break };
        read.extend_from_slice(&data);
        while let Some(message) = next(&mut read) {
            let text = String::from_utf8_lossy(&message).into_owned();
            let reply = match method.as_str() {
                "Get" => format!("{text} from {}", asked.clone().unwrap_or_default()),
                "Chat" => text.to_uppercase(),
                _ => continue,
            };
            // A caller that has gone wants no answers.
            answers.send(Ok(Frame::data(framed(reply.as_bytes())))).await.ok();
        }
    }
    match method.as_str() {
        "Hang" => answers.closed().await,
        _ => drop(answers.send(Ok(Frame::trailers(trailers(&OK)))).await),
    }
}

fn next(read: &mut BytesMut) -> Option<Bytes> {
    let (prefix, rest) = read.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if rest.len() < length {
        return None;
    }
    read.advance(5);
    Some(read.split_to(length).freeze())
}
