//! Bodies stream: however long one is, the gateway's memory stays what it was, and a slow reader holds back the sender.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sluicegate_tests::{Gateway, Site, Wat, one_route, process, wait};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// How much the gateway may grow while a body goes through: a few socket buffers, and what the allocator keeps.
const FLAT: u64 = 24 * MIB;

/// An upstream with blocking sockets: these tests move a lot.
struct Pipe {
    address: SocketAddr,
    /// Body bytes that went through it so far.
    moved: Arc<AtomicU64>,
}

impl Pipe {
    /// One that hands its connections to `serve`, each on a thread.
    fn start(serve: impl Fn(&mut TcpStream, &AtomicU64) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let moved = Arc::new(AtomicU64::new(0));
        let (count, serve) = (Arc::clone(&moved), Arc::new(serve));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (count, serve) = (Arc::clone(&count), Arc::clone(&serve));
                std::thread::spawn(move || serve(&mut stream, &count));
            }
        });
        Self { address, moved }
    }
    fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }
    /// Waits until nothing moves any more: not while the gateway answers a number of other requests.
    async fn settles(&self, gateway: &Gateway) -> u64 {
        wait::until("the sender is held back", || async {
            let before = self.moved();
            for _ in 0..20 {
                gateway.get("/other").await.expect(404);
            }
            (before > 0 && before == self.moved()).then_some(before)
        })
        .await
    }
}

/// Reads a head; the bytes of the body that came with it.
fn head(stream: &mut TcpStream) -> u64 {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..read]);
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            return (all.len() - end - 4) as u64;
        }
    }
}

fn read_all(stream: &mut TcpStream, mut left: u64, count: &AtomicU64) {
    let mut piece = vec![0; 256 * 1024];
    while left > 0 {
        let Ok(read @ 1..) = stream.read(&mut piece) else { return };
        left -= read as u64;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}

fn write_all(stream: &mut TcpStream, mut left: u64, count: &AtomicU64) {
    let piece = vec![b'x'; 256 * 1024];
    while left > 0 {
        let take = usize::try_from(left.min(piece.len() as u64)).unwrap();
        let Ok(written @ 1..) = stream.write(&piece[..take]) else { return };
        left -= written as u64;
        count.fetch_add(written as u64, Ordering::Relaxed);
    }
}

/// A client's request with a body of `length` bytes; the response's head must have come when this returns.
fn upload(address: SocketAddr, length: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").unwrap();
    write_all(&mut stream, length, &AtomicU64::new(0));
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

fn download(address: SocketAddr, length: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /down HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let count = AtomicU64::new(head(&mut stream));
    let left = length - count.load(Ordering::Relaxed);
    read_all(&mut stream, left, &count);
    assert_eq!(count.load(Ordering::Relaxed), length);
}

/// An upstream that takes a body of `length` bytes, or sends one.
fn both_ways(length: u64) -> Pipe {
    Pipe::start(move |stream, moved| {
        let mut first = [0; 1];
        stream.peek(&mut first).unwrap();
        let came = head(stream);
        if first[0] == b'P' {
            read_all(stream, length - came, moved);
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        } else {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
            write_all(stream, length, moved);
        }
    })
}

async fn in_front_of(pipe: &Pipe, filters: &serde_json::Value) -> Gateway {
    let mut config = one_route(&format!("http://{}", pipe.address), filters);
    // Everything but these two is answered by the gateway itself.
    config["routes"][0]["match"] = json!({ "path": { "regex": "/(up|down)" } });
    let filter = Wat::new().doing("proxy_on_request_body", "").doing("proxy_on_response_body", "");
    Site::new(&config).plugin("watch", filter.build()).start().await
}

/// Moves `length` bytes each way and checks what that cost in memory.
async fn stays_flat(filters: serde_json::Value, length: u64) {
    let pipe = both_ways(length);
    let gateway = in_front_of(&pipe, &filters).await;
    let address = gateway.address();
    gateway.get("/other").await.expect(404);
    for (what, move_it) in [("upload", upload as fn(SocketAddr, u64)), ("download", download)] {
        let before = gateway.resident();
        process::forget_peak(gateway.pid());
        tokio::task::spawn_blocking(move || move_it(address, length)).await.unwrap();
        let grown = process::peak(gateway.pid()).saturating_sub(before);
        assert!(grown < FLAT, "{what}: the gateway grew by {} MiB", grown / MIB);
    }
}

#[tokio::test]
async fn one_gigabyte_each_way_leaves_the_memory_flat() {
    stays_flat(json!([]), GIB).await;
}

#[tokio::test]
async fn a_filter_that_sees_every_chunk_leaves_the_memory_flat() {
    stays_flat(json!([{ "use": "watch" }]), GIB / 4).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_the_upstream() {
    let length = 256 * MIB;
    let pipe = both_ways(length);
    let gateway = in_front_of(&pipe, &json!([])).await;
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    write!(stream, "GET /down HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let sent = pipe.settles(&gateway).await;
    assert!(sent < length / 2, "the upstream sent {} MiB to nobody", sent / MIB);
    let reader = tokio::task::spawn_blocking(move || {
        let count = AtomicU64::new(head(&mut stream));
        let left = length - count.load(Ordering::Relaxed);
        read_all(&mut stream, left, &count);
        count.load(Ordering::Relaxed)
    });
    assert_eq!(reader.await.unwrap(), length, "once the client reads, everything comes");
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_back_the_client() {
    let length = 256 * MIB;
    let (open, gate) = std::sync::mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    let pipe = Pipe::start(move |stream, moved| {
        let came = head(stream);
        gate.lock().unwrap().recv().ok();
        read_all(stream, length - came, moved);
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let gateway = in_front_of(&pipe, &json!([])).await;
    let address = gateway.address();
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let writer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").unwrap();
        write_all(&mut stream, length, &count);
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    });
    let client = Pipe { address, moved: Arc::clone(&sent) };
    let held = client.settles(&gateway).await;
    assert!(held < length / 2, "the client sent {} MiB to nobody", held / MIB);
    open.send(()).unwrap();
    writer.await.unwrap();
    assert_eq!(sent.load(Ordering::Relaxed), length);
}
