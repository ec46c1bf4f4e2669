//! Clients of every kind, each on a task of its own, at a steady pace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Version};
use sluicegate_tests::body::{self, Body};
use sluicegate_tests::raw::Raw;
use sluicegate_tests::tcp::Tcp;
use sluicegate_tests::tls::TlsClient;
use sluicegate_tests::{Connection, Gateway, Response, tokens};
use tokio::task::JoinHandle;

use crate::site::{LONG, NAME, Origins};
use crate::tally::Tally;

/// Between two rounds of a client: steady load, not as much as there can be, so that changes get their turn on a small machine.
const PACE: Duration = Duration::from_millis(10);
/// The same for what costs more: handshakes, and instances that die.
const SLOW_PACE: Duration = Duration::from_millis(200);
/// Requests of one connection before its client opens another one.
const KEPT: usize = 50;
/// HTTP/2: requests at a time on one connection.
const STREAMS: usize = 8;
/// Pieces of a request's body, and bytes of each.
const PIECES: usize = 8;
const PIECE: usize = 16 * 1024;

type Outcome = Result<(), String>;

/// Starts them all.
pub(crate) fn start(gateway: &Gateway, origins: &Origins, tally: &Arc<Tally>) -> Vec<JoinHandle<()>> {
    let [http, tls, tcp] = *gateway.addresses() else { panic!("three listeners") };
    let client = Arc::new(TlsClient::trusting(&origins.authority).alpn(&["h2", "http/1.1"]).build());
    let start = Start { tally };
    vec![
        start.kind("HTTP/1.1, five filters", PACE, move || kept(http, Connection::http1, get_five)),
        start.kind("HTTP/1.1, five filters", PACE, move || kept(http, Connection::http1, get_five)),
        start.kind("HTTP/2, one at a time", PACE, move || kept(http, Connection::http2, get_five)),
        start.kind("HTTP/2, several at a time", PACE * 4, move || side_by_side(http)),
        start.kind("HTTP/1.1 to HTTP/2", PACE, move || kept(http, Connection::http1, || get("/plain"))),
        start.kind("bodies over HTTP/1.1", PACE * 2, move || kept(http, Connection::http1, post)),
        start.kind("bodies over HTTP/2", PACE * 2, move || kept(http, Connection::http2, post)),
        start.kind("callouts", PACE * 2, move || kept(http, Connection::http1, || get("/calls"))),
        start.kind("traps", SLOW_PACE * 5, move || trap(http)),
        start.kind("beside traps", PACE * 5, move || beside_traps(http)),
        start.kind("leaving before a body's end", PACE * 2, move || leave_body(http)),
        start.kind("leaving before a response's end", PACE * 2, move || leave_response(http, Version::HTTP_11)),
        start.kind("resetting streams", PACE * 2, move || leave_response(http, Version::HTTP_2)),
        start.kind("TLS", SLOW_PACE, move || handshake(tls, Arc::clone(&client))),
        start.kind("TCP", PACE * 2, move || echo(tcp)),
        start.kind("leaving TCP", PACE * 2, move || leave_tcp(tcp)),
    ]
}

struct Start<'a> {
    tally: &'a Arc<Tally>,
}

impl Start<'_> {
    /// Does the same again and again until the load ends.
    fn kind<F>(&self, kind: &'static str, pace: Duration, round: impl Fn() -> F + Send + 'static) -> JoinHandle<()>
    where
        F: Future<Output = Outcome> + Send,
    {
        let tally = Arc::clone(self.tally);
        tokio::spawn(async move {
            while !tally.is_stopped() {
                let outcome = round().await;
                tally.note(kind, outcome);
                tokio::time::sleep(pace).await;
            }
        })
    }
}

fn request(method: Method, target: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(target).body(body).expect("a request")
}

fn get(target: &str) -> (Request<Body>, String) {
    (request(Method::GET, target, body::empty()), "ok".to_owned())
}

fn get_five() -> (Request<Body>, String) {
    let (mut request, text) = get("/five");
    let headers = request.headers_mut();
    headers.insert("authorization", tokens::bearer("HS256").parse().expect("a field value"));
    headers.insert("origin", "https://app.example".parse().expect("a field value"));
    (request, text)
}

fn post() -> (Request<Body>, String) {
    let pieces = vec!["0123456789abcdef".repeat(PIECE / 16); PIECES];
    (request(Method::POST, "/bodies", body::chunks(pieces.clone())), pieces.concat())
}

fn answered(response: &Response, text: &str) -> Outcome {
    match response.code() == 200 && response.text() == text {
        true => Ok(()),
        false => Err(format!("{} with {} bytes: {:?}", response.code(), response.body.len(), response.headers)),
    }
}

fn told(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

/// Requests on one connection, one after the other, then its end.
async fn kept<C>(
    address: SocketAddr,
    connect: impl Fn(SocketAddr) -> C,
    ask: impl Fn() -> (Request<Body>, String),
) -> Outcome
where
    C: Future<Output = Result<Connection, hyper::Error>>,
{
    let mut connection = connect(address).await.map_err(told)?;
    for _ in 0..KEPT {
        let (request, text) = ask();
        answered(&connection.send(request).await.map_err(told)?, &text)?;
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

async fn side_by_side(address: SocketAddr) -> Outcome {
    let connection = Connection::http2(address).await.map_err(told)?;
    let one = |(mut request, text): (Request<Body>, String)| {
        let mut sender = connection.http2_sender();
        *request.uri_mut() = format!("http://{address}{}", request.uri()).parse().expect("a whole URI");
        async move {
            let response = sender.send_request(request).await.map_err(told)?;
            answered(&Response::read(response).await.map_err(told)?, &text)
        }
    };
    let asked: Vec<_> = (0..STREAMS).map(|at| one(if at % 2 == 0 { get_five() } else { post() })).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for one in asked {
        tasks.spawn(one);
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.map_err(told)??;
    }
    Ok(())
}

/// A request that kills its instance.
async fn trap(address: SocketAddr) -> Outcome {
    let (mut request, _) = get("/fragile");
    request.headers_mut().insert("x-do", "trap".parse().expect("a field value"));
    let response = Connection::http1(address).await.map_err(told)?.send(request).await.map_err(told)?;
    if response.code() == 503 { Ok(()) } else { Err(format!("a trap is answered {response:?}")) }
}

/// Others on that instance go with it, or are served.
async fn beside_traps(address: SocketAddr) -> Outcome {
    let (request, text) = get("/fragile");
    let response = Connection::http1(address).await.map_err(told)?.send(request).await.map_err(told)?;
    if response.code() == 503 { Ok(()) } else { answered(&response, &text) }
}

/// A filter holds what has come of the body when its client goes.
async fn leave_body(address: SocketAddr) -> Outcome {
    let mut raw = Raw::connect(address).await;
    raw.write("POST /leave/body HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await;
    raw.write(vec![b'x'; 50_000]).await;
    tokio::time::sleep(PACE).await;
    Ok(())
}

/// Goes when the response's head is there, and perhaps something of its body.
async fn leave_response(address: SocketAddr, version: Version) -> Outcome {
    let connected = match version {
        Version::HTTP_2 => Connection::http2(address).await,
        _ => Connection::http1(address).await,
    };
    let mut connection = connected.map_err(told)?;
    let response = connection.open(request(Method::GET, "/leave/long", body::empty())).await.map_err(told)?;
    let length = response.headers().get("content-length").and_then(|length| length.to_str().ok());
    if response.status() == 200 && length == Some(&*LONG.to_string()) {
        Ok(())
    } else {
        Err(format!("the head is {} {:?}", response.status(), response.headers()))
    }
}

async fn handshake(address: SocketAddr, client: Arc<TlsClient>) -> Outcome {
    let mut secure = client.open(address, NAME).await.map_err(told)?;
    answered(&secure.connection.send(get("/plain").0).await.map_err(told)?, "ok")
}

async fn echo(address: SocketAddr) -> Outcome {
    let answer = Tcp::connect(address).await.ask("hello").await;
    if answer == "HELLO" { Ok(()) } else { Err(format!("the answer is {answer:?}")) }
}

async fn leave_tcp(address: SocketAddr) -> Outcome {
    let mut tcp = Tcp::connect(address).await;
    tcp.write("hello").await;
    tcp.expect("HELLO").await;
    tcp.stream.set_zero_linger().map_err(told)
}
