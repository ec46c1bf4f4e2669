//! Unix sockets in front of scripted upstreams.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpStream, UnixListener};
use tokio::task::AbortHandle;

/// A Unix socket whose connections go on to an upstream on the network. Closed when dropped; its file stays, as with any server.
pub struct Socket {
    connections: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Socket {
    /// Listens at `path`.
    ///
    /// # Panics
    /// The path cannot be bound.
    #[must_use]
    pub fn before(origin: SocketAddr, path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("the path is free");
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut origin = TcpStream::connect(origin).await.expect("the upstream listens");
                    // How a connection ends is the business of its two ends.
                    tokio::io::copy_bidirectional(&mut stream, &mut origin).await.ok();
                });
            }
        });
        Self { connections, accepting: accepting.abort_handle() }
    }
    /// How many connections were opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
