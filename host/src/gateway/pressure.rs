//! Looks now and then how much memory the process has, away from requests.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::status::GatewayStatus;
use crate::state::State;
use crate::state::pressure::resident;

/// How often to look: seldom enough to cost nothing, often enough that a burst of bodies is noticed while it comes.
const LOOK: Duration = Duration::from_millis(100);
/// How often to look whether a new configuration has a limit, when there is none.
const LOOK_FOR_LIMIT: Duration = Duration::from_secs(1);

/// Never ends by itself.
pub(super) async fn watch(state: Arc<State>, status: Arc<GatewayStatus>) {
    loop {
        let limit = status.memory_limit();
        // What cannot be known is not limited.
        let resident = if limit.is_some() { resident() } else { None };
        if let Some(over) = state.pressure.note(resident.unwrap_or(0), limit) {
            let (resident, limit) = (resident.unwrap_or(0) >> 20, limit.unwrap_or(0) >> 20);
            match over {
                true => {
                    warn!(
                        resident,
                        limit, "Memory limit passed (MiB): new requests get 503, idle connections are closed."
                    )
                }
                false => info!(resident, limit, "Memory is below its limit again (MiB): requests are served."),
            }
        }
        tokio::time::sleep(if limit.is_some() { LOOK } else { LOOK_FOR_LIMIT }).await;
    }
}
