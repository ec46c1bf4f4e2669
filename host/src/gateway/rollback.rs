//! Going back to the version of a plugin that served before, when the one that replaced it only dies.
//!
//! Kept in memory: a restart runs what is on disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wasm::Plugin;

/// How long after a swap the version before is gone back to. Later, the cause is seldom the swap.
const PROBATION: Duration = Duration::from_secs(60 * 60);

/// Versions that were replaced, and those that were taken back.
#[derive(Default)]
pub(super) struct Rollbacks {
    /// By plugin: its last swap.
    swaps: BTreeMap<Arc<str>, Swap>,
    /// By plugin: the version that is not run although it is the one on disk, and the one run instead.
    withdrawn: BTreeMap<Arc<str>, Withdrawn>,
}

struct Swap {
    old: Arc<Plugin>,
    new: Arc<str>,
    at: Instant,
}

#[derive(Clone)]
struct Withdrawn {
    digest: Arc<str>,
    instead: Arc<Plugin>,
}

impl Rollbacks {
    /// A new version serves.
    pub(super) fn swapped(&mut self, old: &Arc<Plugin>, new: &Plugin) {
        let swap = Swap { old: Arc::clone(old), new: Arc::clone(&new.digest), at: Instant::now() };
        self.swaps.insert(Arc::clone(&new.name), swap);
    }

    /// Takes back a version that only dies. `false` when there is none before it, or its swap is too long ago.
    pub(super) fn withdraw_failing(&mut self, plugin: &Plugin) -> bool {
        let recent = self.swaps.get(&plugin.name).is_some_and(|swap| swap.at.elapsed() <= PROBATION);
        recent && self.withdraw(plugin).is_ok()
    }

    /// Takes a version back: from now on the one before it is loaded in its place.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn withdraw(&mut self, plugin: &Plugin) -> Result<(), String> {
        if self.withdrawn.contains_key(&plugin.name) {
            return Err("it has been rolled back already".to_owned());
        }
        let swap = self.swaps.get(&plugin.name).filter(|swap| swap.new == plugin.digest);
        let swap = swap.ok_or("no other version has served since the start")?;
        let withdrawn = Withdrawn { digest: Arc::clone(&plugin.digest), instead: Arc::clone(&swap.old) };
        self.withdrawn.insert(Arc::clone(&plugin.name), withdrawn);
        Ok(())
    }

    /// Runs what is on disk again.
    pub(super) fn restore(&mut self, name: &str) {
        self.withdrawn.remove(name);
    }

    /// What to run in place of that version, which is the one on disk.
    pub(super) fn instead_of(&mut self, name: &str, digest: &str) -> Option<Arc<Plugin>> {
        let withdrawn = self.withdrawn.get(name)?;
        if *withdrawn.digest == *digest {
            return Some(Arc::clone(&withdrawn.instead));
        }
        // Another version is on disk now: it gets its chance.
        self.withdrawn.remove(name);
        None
    }

    /// The digest that is on disk but not run, by plugin.
    pub(super) fn withdrawn(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        self.withdrawn.iter().map(|(name, withdrawn)| (Arc::clone(name), Arc::clone(&withdrawn.digest))).collect()
    }
}
