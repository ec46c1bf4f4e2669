//! Keys that an issuer publishes (a JSON Web Key Set), fetched through an upstream of the gateway.
//!
//! They are fetched at the start, again every so often, and when a token asks for a key that is not there; never more often than
//! every ten seconds for that, whatever clients send. While the issuer cannot be reached the last good set goes on serving.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sluicegate_sdk::prelude::*;

use super::{Algorithm, Key};

/// Shortest time between two fetches that tokens cause.
const COOLDOWN: Duration = Duration::from_secs(10);
/// Longest time that a fetch may take; the route's own timeout may end the request before.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request that waits for another's fetch looks whether it is over.
const POLL: Duration = Duration::from_millis(20);

/// A key set elsewhere.
pub(crate) struct Remote {
    upstream: Upstream,
    path: String,
    set: RefCell<Rc<KeySet>>,
    /// When a fetch was last begun.
    tried: Cell<Option<SystemTime>>,
    /// A fetch is under way.
    busy: Cell<bool>,
}

/// The keys of one fetch.
#[derive(Default)]
pub(crate) struct KeySet {
    /// Counts the fetches: what an older set verified does not count any more.
    pub(crate) generation: u64,
    /// Public keys only.
    pub(crate) keys: Vec<Key>,
}

/// Ends `busy` also when the request that fetches is cancelled.
struct Busy<'a>(&'a Cell<bool>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Remote {
    /// A set at `path` of an upstream.
    #[must_use]
    pub(crate) fn new(upstream: Upstream, path: String) -> Self {
        Self { upstream, path, set: RefCell::default(), tried: Cell::new(None), busy: Cell::new(false) }
    }

    /// The last good set.
    #[must_use]
    pub(crate) fn keys(&self) -> Rc<KeySet> {
        Rc::clone(&self.set.borrow())
    }

    /// Whether no set was ever fetched.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.set.borrow().keys.is_empty()
    }

    /// Fetches the set. A failure leaves the last good one in place.
    pub(crate) async fn refresh(&self) {
        if self.busy.replace(true) {
            return;
        }
        let _busy = Busy(&self.busy);
        self.tried.set(Some(now()));
        match self.fetch().await {
            Ok(keys) => {
                let generation = self.set.borrow().generation + 1;
                self.set.replace(Rc::new(KeySet { generation, keys }));
            }
            Err(error) => {
                counter!("jwks_failures").inc();
                let serving = self.set.borrow().keys.len();
                warn!(
                    "The key set {}{} could not be fetched ({serving} older keys go on serving): {error}",
                    self.upstream.name(),
                    self.path
                );
            }
        }
    }

    /// Waits for a fetch that is under way, or makes one if the last is long enough ago.
    pub(crate) async fn refresh_for_token(&self) {
        if self.busy.get() {
            while self.busy.get() {
                sleep(POLL).await;
            }
        } else if self.tried.get().is_none_or(|tried| now() >= tried + COOLDOWN) {
            self.refresh().await;
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>> {
        let answer = self
            .upstream
            .get(&self.path)
            .header("accept", "application/jwk-set+json, application/json")
            .timeout(TIMEOUT)
            .await?;
        if !answer.is_success() {
            return Err(Fault::new(format!("status {}", answer.status())).into());
        }
        let keys = Key::set(&answer.json::<serde_json::Value>()?).map_err(Fault::new)?;
        // A secret that everybody can fetch is none.
        let keys: Vec<Key> = keys.into_iter().filter(|key| key.algorithm() != Algorithm::Hs256).collect();
        if keys.is_empty() {
            return Err(Fault::new("the set has no public keys").into());
        }
        Ok(keys)
    }
}
