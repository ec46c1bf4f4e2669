//! Which worker serves a connection: the one with the fewest. The kernel spreads connections by hash, which leaves long-lived
//! ones unevenly spread; the worker that accepts hands a connection on when another has fewer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::clients::{Clients, Counted};
use super::socket::FreeStream;
use super::tls::Termination;
use crate::address::Address;

/// Connections on their way to another worker, at most, per worker.
const HANDED_OVER: usize = 256;

/// A connection handed to another worker: its socket belongs to no runtime yet.
pub struct Handed {
    pub(super) stream: FreeStream,
    pub(super) origin: Origin,
    pub(super) tls: Option<Arc<Termination>>,
    pub(super) open: Open,
}

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Its listener's address in the configuration.
    pub(super) configured: Address,
    /// The client.
    pub(super) remote: Address,
}

/// Open connections per worker, shared by all workers.
#[derive(Debug)]
pub struct Balance {
    workers: Box<[Worker]>,
    /// Connections that the process can bear, whatever is configured.
    most: usize,
    clients: Arc<Clients>,
}

#[derive(Debug)]
struct Worker {
    open: AtomicUsize,
    sender: mpsc::Sender<Handed>,
}

impl Balance {
    /// For that many workers, with the receiving end of each. `most`: connections that the process can bear.
    #[must_use]
    pub fn new(workers: usize, most: usize) -> (Arc<Self>, Vec<mpsc::Receiver<Handed>>) {
        let (workers, receivers): (Vec<_>, Vec<_>) = (0..workers.max(1))
            .map(|_| {
                let (sender, receiver) = mpsc::channel(HANDED_OVER);
                (Worker { open: AtomicUsize::new(0), sender }, receiver)
            })
            .unzip();
        (Arc::new(Self { workers: workers.into(), most, clients: Arc::default() }), receivers)
    }
    /// The connections that may be open of `configured` ones.
    #[must_use]
    pub fn limit(&self, configured: usize) -> usize {
        configured.min(self.most)
    }
    /// Open connections of all workers.
    #[must_use]
    pub fn total(&self) -> usize {
        self.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).sum()
    }
    /// Open connections of one worker.
    #[must_use]
    pub fn open(&self, worker: usize) -> usize {
        self.workers.get(worker).map_or(0, |worker| worker.open.load(Ordering::Relaxed))
    }
    /// Counts a connection for the worker that is to serve it: `own`, unless another has fewer.
    pub(super) fn place(self: &Arc<Self>, own: usize) -> Open {
        let counts = self.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).enumerate();
        let least = counts.min_by_key(|(worker, open)| (*open, *worker != own));
        self.count(least.map_or(own, |(worker, _)| worker))
    }
    pub(super) fn count(self: &Arc<Self>, worker: usize) -> Open {
        if let Some(worker) = self.workers.get(worker) {
            worker.open.fetch_add(1, Ordering::Relaxed);
        }
        Open { balance: Arc::clone(self), worker }
    }
    /// Hands a connection to the worker that it is counted for; gives it back when that worker is busy or gone.
    pub(super) fn hand_over(&self, handed: Handed) -> Result<(), Handed> {
        let Some(worker) = self.workers.get(handed.open.worker) else { return Err(handed) };
        worker.sender.try_send(handed).map_err(|error| match error {
            mpsc::error::TrySendError::Full(handed) | mpsc::error::TrySendError::Closed(handed) => handed,
        })
    }
}

/// Counts one open connection until dropped.
#[derive(Debug)]
pub(super) struct Open {
    balance: Arc<Balance>,
    pub(super) worker: usize,
}

impl Open {
    /// Counts the connection for a client that may have so many; `None` when it has.
    pub(super) fn of_client(&self, bounded: Option<(IpAddr, usize)>) -> Option<Option<Counted>> {
        match bounded {
            None => Some(None),
            Some((client, most)) => self.balance.clients.enter(client, most).map(Some),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(worker) = self.balance.workers.get(self.worker) {
            worker.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_to_the_worker_with_the_fewest_and_stays_on_a_tie() {
        let (balance, _receivers) = Balance::new(3, usize::MAX);
        let first = balance.place(1);
        assert_eq!(first.worker, 1);
        let second = balance.place(1);
        assert_eq!(second.worker, 0);
        let third = balance.place(1);
        assert_eq!(third.worker, 2);
        assert_eq!(balance.place(2).worker, 2);
        drop(first);
        assert_eq!(balance.place(2).worker, 1);
        assert_eq!(balance.total(), 2);
    }
}
