//! Whether a client has left, noticed without reading what it has sent.

use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// How long a client is waited for that has ended its side, whether it has closed its socket or still wants an answer: the two look alike.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// Ready when the peer's side has ended, but, unlike that for reading, not when bytes wait to be read.
#[cfg(any(target_os = "linux", target_os = "android"))]
const END: Interest = Interest::PRIORITY;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const END: Interest = Interest::READABLE;

/// Resolves when the client has broken the connection off, or a while after it has ended its side; says which.
pub(super) async fn wait(client: &TcpStream) -> String {
    match client.ready(END).await {
        Ok(ready) if ready.is_read_closed() => {}
        Ok(_) => std::future::pending().await,
        Err(error) => return error.to_string(),
    }
    match client.take_error() {
        Ok(Some(error)) | Err(error) => error.to_string(),
        Ok(None) => {
            tokio::time::sleep(HALF_CLOSED).await;
            "the client had ended its side while a filter held the new connection".to_owned()
        }
    }
}
