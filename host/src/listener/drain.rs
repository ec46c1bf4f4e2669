//! The signal to wind down: no new connections, and those that are open end with their running requests.

use tokio::sync::watch;

/// Gives the signal; cloned into every worker as a [`Drain`].
#[derive(Debug)]
pub struct DrainSignal(watch::Sender<bool>);

/// Waits for the signal.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

impl DrainSignal {
    /// A signal that has not been given, and its first waiter.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Drain(receiver))
    }
    /// A further waiter.
    #[must_use]
    pub fn waiter(&self) -> Drain {
        Drain(self.0.subscribe())
    }
    /// Gives the signal. It cannot be taken back.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Resolves when the signal has been given, or its sender is gone.
    pub async fn wait(&mut self) {
        // An error means that nobody is left who could want anything to go on.
        if self.0.wait_for(|draining| *draining).await.is_err() {
            tracing::debug!("Drain signal dropped.");
        }
    }
    /// Whether the signal has been given.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow()
    }
}
