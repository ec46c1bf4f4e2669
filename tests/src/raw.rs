//! A client that sends bytes as they are, for messages that no client library would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

/// A connection.
pub struct Raw {
    stream: TcpStream,
    /// What was read and not yet taken.
    pending: Vec<u8>,
}

/// A response as it stood on the wire.
#[derive(Debug)]
pub struct RawResponse {
    /// Its status.
    pub status: u16,
    /// Its head, without the empty line.
    pub head: String,
    /// Its body as it stood, chunk sizes included.
    pub body: Vec<u8>,
}

impl RawResponse {
    /// Whether the head has this line, whatever the case of its letters.
    #[must_use]
    pub fn has_line(&self, line: &str) -> bool {
        self.head.lines().any(|known| known.eq_ignore_ascii_case(line))
    }
}

impl Raw {
    /// Opens a connection.
    ///
    /// # Panics
    /// Nobody listens.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).ok();
        Self { stream, pending: Vec::new() }
    }
    /// Sends bytes. That the peer has closed is not its business: the answer tells.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.ok();
    }
    /// Says that no more will be sent.
    pub async fn shut(&mut self) {
        self.stream.shutdown().await.ok();
    }
    /// Reads a response: the head, and the body by its length or by its chunks.
    ///
    /// # Panics
    /// There is none.
    pub async fn response(&mut self) -> RawResponse {
        let head = String::from_utf8_lossy(&self.take_until(b"\r\n\r\n").await).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
        let lower = head.to_ascii_lowercase();
        let body = if let Some(length) = lower.lines().find_map(|line| line.strip_prefix("content-length:")) {
            self.take(length.trim().parse().expect("a length")).await
        } else if lower.contains("transfer-encoding: chunked") {
            self.chunks().await
        } else {
            Vec::new()
        };
        RawResponse { status, head: head.trim_end().to_owned(), body }
    }
    async fn chunks(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let line = self.take_until(b"\r\n").await;
            let text = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(text.trim(), 16).unwrap_or_else(|_| panic!("no chunk size in {text:?}"));
            all.extend_from_slice(&line);
            let rest = if size == 0 { self.trailers().await } else { self.take(size + 2).await };
            all.extend(rest);
            if size == 0 {
                return all;
            }
        }
    }
    async fn trailers(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let line = self.take_until(b"\r\n").await;
            all.extend_from_slice(&line);
            if line == b"\r\n" {
                return all;
            }
        }
    }
    /// Reads until the peer closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.pending)
    }
    /// Reads exactly `count` bytes.
    ///
    /// # Panics
    /// The peer closes before.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.pending.len() < count {
            assert!(self.fill().await, "closed after {:?}", String::from_utf8_lossy(&self.pending));
        }
        self.pending.drain(..count).collect()
    }
    /// Reads exactly `count` bytes; `None` when the peer closes before.
    pub async fn take_if_there(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.pending.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.pending.drain(..count).collect())
    }
    /// Reads up to and with `end`.
    ///
    /// # Panics
    /// The peer closes before.
    pub async fn take_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.pending.windows(end.len()).position(|window| window == end) {
                return self.pending.drain(..at + end.len()).collect();
            }
            assert!(self.fill().await, "closed after {:?}", String::from_utf8_lossy(&self.pending));
        }
    }
    /// Reads some bytes; false when the peer has closed.
    async fn fill(&mut self) -> bool {
        let mut piece = vec![0; 16 * 1024];
        let read = within("bytes from the peer", self.stream.read(&mut piece)).await.unwrap_or(0);
        self.pending.extend_from_slice(&piece[..read]);
        read > 0
    }
    /// The socket itself.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// Sends bytes on a new connection and reads until the peer closes.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut raw = Raw::connect(address).await;
    raw.write(bytes).await;
    raw.rest().await
}
