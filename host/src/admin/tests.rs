//! The admin API through a real socket.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::filter::{Fault, FaultKind, Outcome, Phase};

struct Fake {
    ready: AtomicBool,
    filter: Arc<FilterLedger>,
}

impl Status for Fake {
    fn ready(&self) -> Result<(), Vec<String>> {
        if self.ready.load(SeqCst) { Ok(()) } else { Err(vec!["draining".to_owned()]) }
    }
    fn access(&self) -> Access {
        Access::default()
    }
    fn generation(&self) -> Value {
        json!({ "number": 4 })
    }
    fn config(&self) -> Value {
        json!({ "limits": {} })
    }
    fn routes(&self) -> Value {
        json!({ "routes": [] })
    }
    fn filters(&self) -> Vec<Arc<FilterLedger>> {
        vec![Arc::clone(&self.filter)]
    }
}

impl Control for Fake {
    fn reload(&self) -> Result<Value, NotDone> {
        Err(NotDone::Invalid(vec![json!({ "path": "routes" })]))
    }
    fn drain(&self) {
        self.ready.store(false, SeqCst);
    }
    fn roll_back(&self, plugin: &str) -> Result<Value, NotDone> {
        if plugin == "auth" { Ok(json!({ "plugin": plugin })) } else { Err(NotDone::Unknown("no such".to_owned())) }
    }
}

/// An admin API that runs, and the means to end it.
struct Running {
    address: SocketAddr,
    status: Arc<Fake>,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

async fn start() -> Running {
    let filter = Arc::new(FilterLedger::new("auth", "filters[0]", "0123456789abcdef"));
    let status = Arc::new(Fake { ready: AtomicBool::new(true), filter });
    let admin = Admin {
        state: Arc::default(),
        metrics: Arc::default(),
        status: Arc::<Fake>::clone(&status),
        control: Arc::<Fake>::clone(&status),
        hosts: Vec::new(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, Arc::new(admin), async {
        stopped.await.unwrap_or(());
    }));
    Running { address, status, stop, server }
}

/// Sends one request and reads to the end: the status line's number, the head, the body.
async fn ask(address: SocketAddr, method: &str, path: &str, host: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
}

async fn get_json(address: SocketAddr, path: &str) -> (u16, Value) {
    let (status, head, body) = ask(address, "GET", path, &address.to_string()).await;
    assert!(head.contains("content-type: application/json"), "{head}");
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn health_follows_the_gateway() {
    let running = start().await;
    assert_eq!(get_json(running.address, "/livez").await.0, 200);
    assert_eq!(get_json(running.address, "/readyz").await.0, 200);
    running.status.ready.store(false, SeqCst);
    let (status, body) = get_json(running.address, "/readyz").await;
    assert_eq!((status, &body["reasons"]), (503, &json!(["draining"])));
    assert_eq!(get_json(running.address, "/livez").await.0, 200);
}

#[tokio::test]
async fn filters_are_described_with_what_they_cost() {
    let running = start().await;
    for _ in 0..100 {
        running.status.filter.record(Phase::RequestHeaders, 700, Outcome::Continue);
    }
    running.status.filter.record(Phase::RequestHeaders, 700, Outcome::Reply);
    running.status.filter.trap(&Fault { kind: FaultKind::Deadline, detail: "it loops".into() }, Some("r-7"));
    running.status.filter.instance_started();
    running.status.filter.root_started();
    running.status.filter.stream_served();
    running.status.filter.memory(65_536);
    let (status, body) = get_json(running.address, "/api/v1/filters").await;
    assert_eq!(status, 200);
    let filter = &body["filters"][0];
    for (pointer, value) in [
        ("/name", json!("auth")),
        ("/path", json!("filters[0]")),
        ("/digest", json!("0123456789abcdef")),
        ("/state", json!("running")),
        ("/calls", json!(101)),
        ("/outcomes/continue", json!(100)),
        ("/replies", json!(1)),
        ("/served", json!(1)),
        ("/max_ns", json!(700)),
        ("/p50_ns", json!(700)),
        ("/p99_ns", json!(700)),
        ("/phases/request_headers/p95_ns", json!(700)),
        ("/phases/request_headers/calls", json!(101)),
        ("/traps/deadline", json!(1)),
        ("/last_traps/0/kind", json!("deadline")),
        ("/last_traps/0/detail", json!("it loops")),
        ("/last_traps/0/request_id", json!("r-7")),
        ("/instances", json!(1)),
        ("/memory_bytes", json!(65_536)),
    ] {
        assert_eq!(filter.pointer(pointer), Some(&value), "{pointer} of {filter:#}");
    }
}

#[tokio::test]
async fn metrics_and_the_generation_are_shown() {
    let running = start().await;
    let (status, head, body) = ask(running.address, "GET", "/metrics", "localhost").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/openmetrics-text"), "{head}");
    assert!(body.contains("sluicegate_build_info{version="), "{body}");
    assert_eq!(get_json(running.address, "/api/v1/generation").await, (200, json!({ "number": 4 })));
}

#[tokio::test]
async fn only_reading_is_offered_and_only_to_known_hosts() {
    let running = start().await;
    let (status, head, _) = ask(running.address, "POST", "/livez", "127.0.0.1").await;
    assert_eq!(status, 405);
    assert!(head.contains("allow: GET, HEAD"), "{head}");
    let (status, head, body) = ask(running.address, "HEAD", "/livez", "127.0.0.1").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: "), "{head}");
    assert_eq!(ask(running.address, "GET", "/metrics", "evil.example").await.0, 421);
    assert_eq!(get_json(running.address, "/").await.0, 404);
}

#[tokio::test]
async fn changes_are_posted_and_told_how_they_went() {
    let running = start().await;
    let post = async |path: &str| ask(running.address, "POST", path, "localhost").await;
    let (status, _, body) = post("/api/v1/reload").await;
    assert_eq!(status, 422);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["problems"], json!([{ "path": "routes" }]));
    assert_eq!(post("/api/v1/plugins/auth/rollback").await.0, 200);
    assert_eq!(post("/api/v1/plugins/cors/rollback").await.0, 404);
    assert_eq!(post("/api/v1/plugins/auth").await.0, 404);
    for path in ["/api/v1/reload", "/api/v1/drain", "/api/v1/plugins/auth/rollback"] {
        let (status, head, _) = ask(running.address, "GET", path, "localhost").await;
        assert!(status == 405 && head.contains("allow: POST"), "{head}");
        assert_eq!(ask(running.address, "POST", path, "evil.example").await.0, 403);
    }
    assert_eq!(get_json(running.address, "/readyz").await.0, 200, "nothing was changed by these");
    assert_eq!(post("/api/v1/drain").await.0, 202);
    assert_eq!(get_json(running.address, "/readyz").await.0, 503);
}

#[tokio::test]
async fn a_shutdown_ends_kept_connections() {
    let running = start().await;
    let mut kept = TcpStream::connect(running.address).await.unwrap();
    kept.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'H');
    running.stop.send(()).unwrap();
    running.server.await.unwrap();
    let mut rest = String::new();
    kept.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("\"ok\""), "{rest}");
    assert!(TcpStream::connect(running.address).await.is_err());
}
