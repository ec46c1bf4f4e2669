//! Tells whoever supervises the process how it is, as systemd asks for (`sd_notify(3)`), where `NOTIFY_SOCKET` is set.

use sd_notify::NotifyState;

/// Tells it. Nobody may be listening, and nothing depends on it.
pub(super) fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "The supervisor cannot be told.");
    }
}
