//! Keys that an issuer publishes (a JSON Web Key Set), fetched through an upstream of the gateway: at the start, every so often,
//! and when a token asks for a key that is not there. While the issuer cannot be reached the last good set goes on serving.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::SystemTime;

use jsonwebtoken::Algorithm;
use sluicegate_sdk::prelude::*;

use crate::config::JwksConfig;
use crate::jwt::Key;

/// Shortest time between two fetches that tokens cause.
const COOLDOWN: Duration = Duration::from_secs(10);
/// Longest time that a fetch may take; the route's own timeout may end the request before.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request that waits for another's fetch looks whether it is over.
const POLL: Duration = Duration::from_millis(20);

/// A key set elsewhere.
pub(crate) struct Remote {
    config: JwksConfig,
    /// Accepted algorithms; a secret that everybody can fetch is none.
    algorithms: Vec<Algorithm>,
    keys: RefCell<Rc<Vec<Key>>>,
    /// Counts the sets: what an older one verified does not count any more.
    generation: Cell<u64>,
    /// When a fetch was last begun.
    tried: Cell<SystemTime>,
    busy: Cell<bool>,
}

impl Remote {
    pub(crate) fn new(config: JwksConfig, algorithms: Option<Vec<Algorithm>>) -> Self {
        let mut algorithms = algorithms.unwrap_or_else(|| vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
        algorithms.retain(|algorithm| *algorithm != Algorithm::HS256);
        Self {
            config,
            algorithms,
            keys: RefCell::default(),
            generation: Cell::new(0),
            tried: Cell::new(SystemTime::UNIX_EPOCH),
            busy: Cell::new(false),
        }
    }

    /// The last good set.
    pub(crate) fn keys(&self) -> Rc<Vec<Key>> {
        Rc::clone(&self.keys.borrow())
    }

    pub(crate) fn refresh_every(&self) -> Duration {
        self.config.refresh
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Fetches the set. A failure leaves the last good one in place.
    pub(crate) async fn refresh(&self) {
        if self.is_busy() {
            return;
        }
        self.busy.set(true);
        self.tried.set(now());
        match self.fetch().await {
            Ok(keys) => {
                self.keys.replace(Rc::new(keys));
                self.generation.update(|generation| generation + 1);
            }
            Err(error) => {
                counter!("jwks_failures").inc();
                let (upstream, path, older) = (self.config.upstream.name(), &self.config.path, self.keys().len());
                warn!("The key set {upstream}{path} could not be fetched ({older} older keys go on serving): {error}");
            }
        }
        self.busy.set(false);
    }

    /// Waits for a fetch that is under way, or makes one if the last is long enough ago.
    pub(crate) async fn refresh_for_token(&self) {
        if !self.is_busy() && now() >= self.tried.get() + COOLDOWN {
            self.refresh().await;
        }
        while self.is_busy() {
            sleep(POLL).await;
        }
    }

    /// A fetch whose request was cancelled is over when its time is.
    fn is_busy(&self) -> bool {
        self.busy.get() && now() < self.tried.get() + TIMEOUT
    }

    async fn fetch(&self) -> Result<Vec<Key>> {
        let call =
            self.config.upstream.get(&self.config.path).header("accept", "application/jwk-set+json, application/json");
        let answer = call.timeout(TIMEOUT).await?;
        if !answer.is_success() {
            return Err(fault!("status {}", answer.status()));
        }
        let mut keys = Key::set(&answer.json::<Json>()?);
        keys.retain(|key| self.algorithms.contains(&key.algorithm));
        if keys.is_empty() { Err(fault!("the set has no usable public keys")) } else { Ok(keys) }
    }
}
