//! What the admin API tells of the gateway as a whole.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::generation::Generation;
use crate::admin::{Access, Status};
use crate::config::Config;
use crate::observe::FilterLedger;

/// The current generation and how the last change went.
#[derive(Default)]
pub(super) struct GatewayStatus(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    generation: Option<Arc<Generation>>,
    /// What holds for as long as the process runs.
    started: Option<AtStart>,
    loaded_at: u64,
    /// Why the last change was refused; empty after one that was taken.
    refused: Vec<String>,
    draining: bool,
}

/// What of a configuration is read at the start only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct AtStart {
    admin: Option<SocketAddr>,
    workers: usize,
}

impl AtStart {
    pub(super) fn of(config: &Config) -> Self {
        Self { admin: config.admin.as_ref().map(|admin| admin.address), workers: config.limits.workers }
    }

    /// The keys of a configuration that are not in force yet.
    fn waiting(self, config: &Config) -> Vec<&'static str> {
        let now = Self::of(config);
        let changed = [("admin.address", now.admin != self.admin), ("limits.workers", now.workers != self.workers)];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }

    /// Puts into a configuration that is shown what is in force.
    fn put_in(self, shown: &mut Value) {
        shown["limits"]["workers"] = self.workers.into();
        match self.admin {
            Some(address) => shown["admin"]["address"] = address.to_string().into(),
            None => drop(shown.as_object_mut().and_then(|members| members.remove("admin"))),
        }
    }
}

impl GatewayStatus {
    pub(super) fn published(&self, generation: &Arc<Generation>) {
        self.change(|inner| {
            inner.started.get_or_insert(AtStart::of(&generation.config));
            inner.generation = Some(Arc::clone(generation));
            inner.loaded_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
            inner.refused.clear();
        });
    }

    pub(super) fn refused(&self, reasons: &[String]) {
        self.change(|inner| reasons.clone_into(&mut inner.refused));
    }

    pub(super) fn draining(&self) {
        self.change(|inner| inner.draining = true);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.read(|inner| inner.draining)
    }

    /// How long the gateway serves on when it is to end, before it drains.
    pub(super) fn drain_delay(&self) -> Duration {
        self.read(|inner| inner.generation.as_ref().map_or(Duration::ZERO, |serving| serving.config.limits.drain_delay))
    }

    /// Resident memory above which requests are refused, bytes; none before the first generation.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.read(|inner| inner.generation.as_ref()?.config.limits.memory)
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn read<R>(&self, read: impl FnOnce(&Inner) -> R) -> R {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Status for GatewayStatus {
    fn ready(&self) -> Result<(), Vec<String>> {
        self.read(|inner| match (&inner.generation, inner.draining) {
            (_, true) => Err(vec!["draining".to_owned()]),
            (None, _) => Err(vec!["starting".to_owned()]),
            (Some(_), false) => Ok(()),
        })
    }

    fn access(&self) -> Access {
        self.read(|inner| {
            let Some(generation) = &inner.generation else { return Access::default() };
            let token = generation.config.admin.as_ref().and_then(|admin| admin.token.clone());
            Access { tls: generation.tls.admin.clone(), token }
        })
    }

    fn generation(&self) -> Value {
        self.read(|inner| {
            let Some(generation) = &inner.generation else { return Value::Null };
            let plugin = |plugin: &Arc<crate::wasm::Plugin>| {
                let withdrawn = generation.withdrawn.get(&plugin.name).map(|digest| &**digest);
                json!({ "name": &*plugin.name, "digest": &*plugin.digest, "withdrawn": withdrawn })
            };
            json!({
                "number": generation.number,
                "loaded_at": inner.loaded_at,
                "routes": generation.config.routes.iter().map(|route| &*route.name).collect::<Vec<_>>(),
                "plugins": generation.plugins.values().map(plugin).collect::<Vec<_>>(),
                "restart_needed": inner.started.map(|started| started.waiting(&generation.config)).unwrap_or_default(),
                "last_change": if inner.refused.is_empty() { "taken" } else { "refused" },
                "problems": &inner.refused,
            })
        })
    }

    fn config(&self) -> Value {
        let (generation, started) = self.read(|inner| (inner.generation.clone(), inner.started));
        let Some(generation) = generation else { return Value::Null };
        let mut shown = generation.shown();
        started.iter().for_each(|started| started.put_in(&mut shown));
        shown
    }

    fn routes(&self) -> Value {
        let generation = self.read(|inner| inner.generation.clone());
        generation.map_or(Value::Null, |generation| generation.shown_routes())
    }

    fn filters(&self) -> Vec<Arc<FilterLedger>> {
        self.read(|inner| {
            inner.generation.iter().flat_map(|g| g.specs()).map(|spec| Arc::clone(&spec.ledger)).collect()
        })
    }
}
