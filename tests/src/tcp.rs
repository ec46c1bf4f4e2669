//! A client of TCP listeners.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::Gateway;
use crate::wait::within;

/// A connection that carries bytes.
pub struct Tcp {
    /// Its socket.
    pub stream: TcpStream,
}

impl Tcp {
    /// Opens a connection.
    ///
    /// # Panics
    /// Nobody listens.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).ok();
        Self { stream }
    }
    /// One to the gateway's only listener.
    pub async fn to(gateway: &Gateway) -> Self {
        Self::connect(gateway.address()).await
    }
    /// Sends bytes. That the peer has closed is not its business: what is read tells.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.ok();
    }
    /// Says that no more will be sent.
    pub async fn shut(&mut self) {
        self.stream.shutdown().await.ok();
    }
    /// Reads exactly these bytes.
    ///
    /// # Panics
    /// Others come, or the end.
    pub async fn expect(&mut self, text: &str) {
        let mut bytes = vec![0; text.len()];
        let read = within("the bytes come", self.stream.read_exact(&mut bytes)).await;
        read.unwrap_or_else(|error| panic!("{text:?} is expected, {error}"));
        assert_eq!(String::from_utf8_lossy(&bytes), text);
    }
    /// Reads to the end, and whether that is a proper one.
    pub async fn rest(&mut self) -> (String, bool) {
        let mut bytes = Vec::new();
        let read = within("the end comes", self.stream.read_to_end(&mut bytes)).await;
        (String::from_utf8_lossy(&bytes).into_owned(), read.is_ok())
    }
    /// Sends bytes and their end, and reads what comes back, to a proper end.
    ///
    /// # Panics
    /// The connection breaks off.
    pub async fn ask(mut self, bytes: impl AsRef<[u8]>) -> String {
        self.write(bytes).await;
        self.shut().await;
        let (answer, proper) = self.rest().await;
        assert!(proper, "the connection breaks off after {answer:?}");
        answer
    }
}
