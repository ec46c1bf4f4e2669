//! What a client still sends after its request has been answered: read and thrown away within a bound, so that the
//! connection can be kept; beyond it the connection is closed. No byte of a body is ever taken for a next request.

use std::time::Duration;

use http::Version;

use super::arrival::Arrival;
use crate::filter::chain::Input;

/// Most bytes read for a request that is answered already.
const DRAIN_BYTES: u64 = 64 * 1024;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Disposes of the rest of a request's body. Whether the connection has to be closed after the answer.
pub(super) fn dispose(rest: Option<Box<dyn Input>>, arrival: &Arrival) -> bool {
    let Some(mut rest) = rest.filter(|rest| !rest.is_end()) else { return false };
    if let Some(upload) = &arrival.upload {
        upload.lift();
    }
    if arrival.version == Version::HTTP_2 {
        // The stream is reset; the others on the connection go on.
        return false;
    }
    // A client that waits for 100 Continue sends nothing when it gets a final status instead.
    if arrival.expects || arrival.left().is_none_or(|left| left > DRAIN_BYTES) {
        return true;
    }
    tokio::task::spawn_local(async move {
        let drain = std::future::poll_fn(|cx| {
            loop {
                match std::task::ready!(rest.poll_frame(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return std::task::Poll::Ready(()),
                }
            }
        });
        // When time is up the body is dropped, which closes the connection.
        if tokio::time::timeout(DRAIN_TIMEOUT, drain).await.is_err() {
            tracing::debug!("Rest of a request did not arrive, its connection is closed.");
        }
    });
    false
}
