//! A map from names (plugin names, vm ids) to what belongs to them, read without a lock.
//!
//! Names come from the configuration, not from guests, so the map is as bounded as the configuration is. A scope lives as
//! long as the process: a plugin that is swapped, or removed and added again, finds its state where it was.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub(super) struct Scopes<T> {
    scopes: ArcSwap<HashMap<Box<str>, Arc<T>>>,
}

impl<T: Default> Scopes<T> {
    /// Runs `work` on the scope of that name, made when there is none.
    pub(super) fn with<R>(&self, name: &str, work: impl FnOnce(&T) -> R) -> R {
        if let Some(scope) = self.scopes.load().get(name) {
            return work(scope);
        }
        work(&self.add(name))
    }

    /// Runs `work` on the scope of that name, if there is one.
    pub(super) fn with_known<R>(&self, name: &str, work: impl FnOnce(&T) -> R) -> Option<R> {
        self.scopes.load().get(name).map(|scope| work(scope))
    }

    /// Every scope with its name, by name.
    pub(super) fn all(&self) -> Vec<(Box<str>, Arc<T>)> {
        let scopes = self.scopes.load();
        let mut all: Vec<_> = scopes.iter().map(|(name, scope)| (name.clone(), Arc::clone(scope))).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }

    fn add(&self, name: &str) -> Arc<T> {
        let fresh = Arc::new(T::default());
        self.scopes.rcu(|scopes| {
            let mut scopes = HashMap::clone(scopes);
            // Another thread may have been faster: then its scope stays.
            scopes.entry(name.into()).or_insert_with(|| Arc::clone(&fresh));
            scopes
        });
        self.scopes.load().get(name).map_or(fresh, Arc::clone)
    }
}

impl<T> Default for Scopes<T> {
    fn default() -> Self {
        Self { scopes: ArcSwap::default() }
    }
}
