//! Time passing for a running instance: ticks, the limit of a deferred `on_done`, the hard end of a drain.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::running::Running;

/// Calls `proxy_on_tick` of a root context every `period`, counted from the end of the previous one, until the handle aborts it
/// or the instance is gone.
pub(super) fn tick(running: &Rc<Running>, root: u32, period: Duration) -> AbortHandle {
    let running = Rc::downgrade(running);
    let task = async move {
        loop {
            tokio::time::sleep(period).await;
            let Some(running) = running.upgrade() else { return };
            running.tick(root);
        }
    };
    tokio::task::spawn_local(task).abort_handle()
}

/// Runs `then` after `delay`, if the instance still runs.
pub(super) fn later(running: &Rc<Running>, delay: Duration, then: impl FnOnce(&Rc<Running>) + 'static) {
    let running = Rc::downgrade(running);
    let task = async move {
        tokio::time::sleep(delay).await;
        if let Some(running) = running.upgrade() {
            then(&running);
        }
    };
    drop(tokio::task::spawn_local(task));
}
