//! The sample services: small JSON APIs on ports of the kernel's choice.

use std::convert::Infallible;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};

/// Largest request body that the echo service reads, bytes.
const ECHO_BYTES_MAX: usize = 64 * 1024;

/// One running service.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
}

type Answer = (StatusCode, Value);

/// Starts all services on this runtime.
pub(crate) async fn start() -> Result<Vec<Service>> {
    let mut services = Vec::new();
    for name in ["users", "orders", "inventory", "echo"] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        services.push(Service { name, port: listener.local_addr()?.port() });
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(name, socket));
            }
        });
    }
    Ok(services)
}

async fn serve(name: &'static str, socket: TcpStream) {
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(respond(name, request).await) });
    // A client that goes away ends its connection, which is all there is to do about it.
    drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
}

async fn respond(name: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let id = request.uri().path().rsplit('/').next().and_then(|segment| segment.parse::<u32>().ok());
    let (status, body) = match name {
        "users" => users(id),
        "orders" => orders(id),
        "inventory" => inventory(id),
        _ => (StatusCode::OK, echo(request).await),
    };
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn users(id: Option<u32>) -> Answer {
    let all =
        [json!({ "id": 1, "name": "Ada" }), json!({ "id": 2, "name": "Grace" }), json!({ "id": 3, "name": "Edsger" })];
    pick(id, &all)
}

fn orders(id: Option<u32>) -> Answer {
    let all = [
        json!({ "id": 1, "user": 1, "item": 7, "quantity": 2 }),
        json!({ "id": 2, "user": 3, "item": 8, "quantity": 1 }),
    ];
    pick(id, &all)
}

fn inventory(id: Option<u32>) -> Answer {
    let all = [
        json!({ "id": 7, "name": "sluice", "stock": 12, "price": 990, "supplier_price": 410 }),
        json!({ "id": 8, "name": "gate", "stock": 3, "price": 2490, "supplier_price": 1150 }),
    ];
    pick(id, &all)
}

fn pick(id: Option<u32>, all: &[Value]) -> Answer {
    let Some(id) = id else { return (StatusCode::OK, json!(all)) };
    match all.iter().find(|entry| entry["id"] == id) {
        Some(entry) => (StatusCode::OK, entry.clone()),
        None => (StatusCode::NOT_FOUND, json!({ "error": format!("no entry {id}") })),
    }
}

/// What reached the service: method, path, headers, body.
async fn echo(request: Request<Incoming>) -> Value {
    let (parts, body) = request.into_parts();
    let body = http_body_util::Limited::new(body, ECHO_BYTES_MAX).collect().await;
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    json!({ "method": parts.method.as_str(), "path": parts.uri.to_string(), "headers": headers(&parts.headers), "body": body })
}

fn headers(map: &HeaderMap) -> Value {
    let text = |value: &http::HeaderValue| json!(String::from_utf8_lossy(value.as_bytes()));
    Value::Object(map.iter().map(|(name, value)| (name.to_string(), text(value))).collect::<Map<_, _>>())
}
