//! Waiting for conditions. The only place of the tests in which time passes by itself.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it broken. Generous: it is only ever reached by failures.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition that cannot announce itself is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `check` answers true.
///
/// # Panics
/// It does not become true within [`PATIENCE`].
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    until(what, || {
        let answer = check();
        async { answer.await.then_some(()) }
    })
    .await;
}

/// Waits until `look` finds something.
///
/// # Panics
/// It finds nothing within [`PATIENCE`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Awaits `future`.
///
/// # Panics
/// It is not ready within [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
