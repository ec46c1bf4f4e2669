//! What changes while requests flow: modules, configurations, and configurations that are refused.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_tests::Gateway;
use sluicegate_tests::wait::eventually;

use crate::site::{Urls, config, version};
use crate::tally::Tally;

/// Between two changes.
const PAUSE: Duration = Duration::from_secs(2);

/// Swaps, reloads and fails to reload in turn, until the load ends.
pub(crate) async fn keep_changing(gateway: Arc<Gateway>, urls: Urls, tally: Arc<Tally>) {
    let mut round = 0_u64;
    while !tally.is_stopped() {
        tokio::time::sleep(PAUSE).await;
        round += 1;
        match round % 3 {
            0 => {
                let failures = || gateway.metric("sluicegate_config_reloads_total", &[("result", "failure")]);
                let before = failures().await;
                gateway.site().write_text("{ \"listeners\": 7 }");
                eventually("a bad configuration is refused", || async { failures().await > before }).await;
                tally.note("configurations refused", Ok(()));
            }
            1 => {
                gateway.reload(&config(&urls, round)).await;
                tally.note("configurations taken", Ok(()));
            }
            _ => {
                // A version that was never there, so that what is kept of old ones adds up.
                gateway.swap("script", version(round)).await;
                tally.note("modules swapped", Ok(()));
            }
        }
    }
}
