//! The signal to every connection of a worker: to go on, to let go what is idle because memory is short, to end with the next answer
//! because the gateway is about to, or to wind down (no new connections, and those that are open end with their running requests).

use tokio::sync::watch;

/// What connections are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Those without a request end.
    Shedding,
    /// Those of HTTP/1 end with their running request. Further ones are told by the proxy.
    Leaving,
    /// All end, with their running requests.
    Draining,
}

/// Gives the signal; cloned into every worker as a [`Drain`].
#[derive(Debug)]
pub struct DrainSignal(watch::Sender<Phase>);

/// Waits for the signal.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Phase>);

impl DrainSignal {
    /// A signal that has not been given, and its first waiter.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (Self(sender), Drain(receiver))
    }
    /// A further waiter.
    #[must_use]
    pub fn waiter(&self) -> Drain {
        Drain(self.0.subscribe())
    }
    /// The signal will be given soon.
    pub fn leave(&self) {
        self.change(Phase::Leaving);
    }
    /// Gives the signal. It cannot be taken back.
    pub fn drain(&self) {
        self.0.send_replace(Phase::Draining);
    }
    /// Lets idle connections go, or says that they may stay again.
    pub fn shed(&self, short: bool) {
        self.change(if short { Phase::Shedding } else { Phase::Serving });
    }
    fn change(&self, wanted: Phase) {
        self.0.send_if_modified(|phase| {
            let changes = *phase != Phase::Draining && *phase != wanted;
            if changes {
                *phase = wanted;
            }
            changes
        });
    }
}

impl Drain {
    /// Resolves when the signal has been given, or its sender is gone.
    pub async fn wait(&mut self) {
        // An error means that nobody is left who could want anything to go on.
        if self.0.wait_for(|phase| *phase == Phase::Draining).await.is_err() {
            tracing::debug!("Drain signal dropped.");
        }
    }
    /// Resolves when another phase than `known` is in force; gives that.
    pub(super) async fn other_than(mut self, known: Phase) -> Phase {
        self.0.wait_for(|phase| *phase != known).await.map_or(Phase::Draining, |phase| *phase)
    }
    /// Whether the signal has been given.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow() == Phase::Draining
    }
    /// Resolves when connections without a request are to end.
    pub(super) async fn ends_idle(mut self) {
        let ends = |phase: &Phase| matches!(phase, Phase::Shedding | Phase::Draining);
        if self.0.wait_for(ends).await.is_err() {
            tracing::debug!("Drain signal dropped.");
        }
    }
    pub(super) fn phase(&self) -> Phase {
        *self.0.borrow()
    }
}
