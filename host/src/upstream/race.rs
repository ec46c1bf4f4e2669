//! Connecting where a name has several addresses: an address that does not answer costs a moment, not the request.
//!
//! As in RFC 8305 §5, the next address is tried when one fails, or has not answered after a while; the first that answers is used.
//! The order is that of balancing.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::balance::Balancer;
use super::error::UpstreamError;
use super::target::Target;

/// How long an address may take before another one is tried beside it (RFC 8305 §8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Makes `attempt` at `first`, and at further addresses of its name while none has succeeded. Those that come too late go on by
/// themselves, so that what they find out is not lost. Who is tried is added to `tried`.
///
/// # Errors
/// All have failed, or none has succeeded within the limit of a connection: what the last one said.
pub(super) async fn first<T, F>(
    balancer: &Rc<Balancer>,
    first: Rc<Target>,
    key: Option<u64>,
    tried: &RefCell<Vec<Rc<Target>>>,
    attempt: impl Fn(Rc<Target>) -> F,
) -> Result<(Rc<Target>, T), UpstreamError>
where
    T: 'static,
    F: Future<Output = Result<T, UpstreamError>> + 'static,
{
    let mut attempts = JoinSet::new();
    let begin = |attempts: &mut JoinSet<_>, target: Rc<Target>| {
        let (balancer, attempted) = (Rc::clone(balancer), attempt(Rc::clone(&target)));
        attempts.spawn_local(async move {
            let outcome = attempted.await;
            if let Err(error) = &outcome {
                balancer.note_failed_connect(&target, error);
            }
            (target, outcome)
        });
    };
    let deadline = Instant::now() + first.connect_timeout();
    let mut failure = UpstreamError::ConnectTimeout { target: first.name().to_owned() };
    begin(&mut attempts, Rc::clone(&first));
    let mut has_more = true;
    loop {
        let delay = async {
            match has_more {
                true => sleep(ATTEMPT_DELAY).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = delay => {}
            outcome = timeout_at(deadline, attempts.join_next()) => match outcome {
                Ok(Some(Ok((target, Ok(connected))))) => {
                    attempts.detach_all();
                    return Ok((target, connected));
                }
                Ok(Some(Ok((_, Err(error))))) => failure = error,
                // A task that was ended has found out nothing.
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => {
                    attempts.detach_all();
                    return Err(failure);
                }
            }
        }
        let another = balancer.choose_sibling(&first, key, &tried.borrow()).cloned();
        has_more = another.is_some();
        if let Some(another) = another {
            tried.borrow_mut().push(Rc::clone(&another));
            begin(&mut attempts, another);
        }
    }
}
