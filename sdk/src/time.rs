//! The host's clock: what time it is, and waiting.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use crate::engine::current;
use crate::host::{HOST, Host};

/// The time of the host. In tests it is the harness's, which stands still until it is moved.
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(HOST.now())
}

/// Waits. The host's timers are as fine as milliseconds. Outside of a filter's functions it does not wait.
pub async fn sleep(duration: Duration) {
    let Ok(task) = current() else { return };
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let due = HOST.now().saturating_add(nanos);
    task.root().sleep(due, &task);
    drop(task);
    poll_fn(|_| if HOST.now() >= due { Poll::Ready(()) } else { Poll::Pending }).await;
}
