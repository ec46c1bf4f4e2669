//! Sending a request, and sending it again where its route allows that.
//!
//! Only requests without a body and of an idempotent method are repeated (RFC 9110 §9.2.2): of others nobody knows what the failed
//! try has done. An upstream in trouble is not buried under repetitions: see [`Upstream::may_retry`].

use std::time::Duration;

use http::{Request, Response};

use crate::config::Retry;
use crate::config::action::RetryOn;
use crate::upstream::{Journey, RequestBody, ResponseBody, Upstream, UpstreamError, repeat};

/// Longest pause between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Sends a request, at most as often as the route says, and waits for the response's head. Each try goes to another target, as long as
/// there is one.
///
/// # Errors
/// What the last try failed with.
pub(super) async fn send(
    upstream: &Upstream,
    request: Request<RequestBody>,
    retry: Option<&Retry>,
    journey: &Journey,
) -> Result<Response<ResponseBody>, UpstreamError> {
    journey.tries.set(1);
    match retry {
        None => upstream.send(request, journey).await,
        Some(retry) => Box::pin(retried(upstream, request, retry, journey)).await,
    }
}

async fn retried(
    upstream: &Upstream,
    mut request: Request<RequestBody>,
    retry: &Retry,
    journey: &Journey,
) -> Result<Response<ResponseBody>, UpstreamError> {
    let tries = &journey.tries;
    let mut again = None;
    loop {
        let spare = if tries.get() <= retry.attempts { repeat(&request) } else { None };
        let outcome = one(upstream, request, retry.per_try, journey).await;
        drop(again.take());
        let (Some(spare), Some(why)) = (spare, mendable(&outcome, &retry.on)) else { return outcome };
        let Some(allowed) = upstream.may_retry() else {
            tracing::debug!(upstream = %upstream.name(), why, "Not tried again: too many of its requests are.");
            return outcome;
        };
        // The failed response is dropped before the pause: its connection serves nobody.
        drop(outcome);
        tracing::debug!(upstream = %upstream.name(), why, tries = tries.get(), "Trying again.");
        tokio::time::sleep(pause(retry.backoff, tries.get())).await;
        again = Some(allowed);
        tries.set(tries.get() + 1);
        request = *spare;
    }
}

async fn one(
    upstream: &Upstream,
    request: Request<RequestBody>,
    limit: Option<Duration>,
    journey: &Journey,
) -> Result<Response<ResponseBody>, UpstreamError> {
    let sending = upstream.send(request, journey);
    match limit {
        None => sending.await,
        Some(limit) => match tokio::time::timeout(limit, sending).await {
            Ok(sent) => sent,
            Err(_) => {
                upstream.timed_out(journey);
                Err(UpstreamError::TryTimeout { upstream: upstream.name().to_string() })
            }
        },
    }
}

/// What went wrong, if another try may mend it.
fn mendable(outcome: &Result<Response<ResponseBody>, UpstreamError>, on: &RetryOn) -> Option<&'static str> {
    match outcome {
        Ok(response) => on.statuses.contains(&response.status()).then_some("status"),
        Err(UpstreamError::TryTimeout { .. }) => on.timeout.then_some("timeout"),
        Err(error) if error.is_connect() => on.connect.then_some("connect"),
        Err(error) if error.is_reset() => on.reset.then_some("reset"),
        Err(_) => None,
    }
}

/// Doubled with each try, and anything from half of that to all of it, so that tries of many requests do not come together.
fn pause(base: Duration, tries: u32) -> Duration {
    let doubled = base.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_BACKOFF);
    doubled.mul_f64(0.5 + fastrand::f64() / 2.0)
}
