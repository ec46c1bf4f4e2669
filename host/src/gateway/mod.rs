//! The one place that knows every part: configuration → plugins → routes → listeners → workers; reload; drain.
//!
//! A control thread (the process's first) waits for signals and file changes. Everything that takes time - reading,
//! compiling, starting guests - happens on a thread of its own, and the result reaches the workers as one finished
//! [`Generation`]. What goes wrong before that changes nothing.

mod callouts;
mod catalogue;
mod control;
mod difference;
mod entrance;
mod entries;
mod explain;
mod generation;
mod library;
mod pressure;
mod proof;
mod recorder;
mod reload;
mod rollback;
mod show;
mod sockets;
mod status;
mod steer;
mod supervisor;
mod tls;
mod trust;
mod unused;
mod vms;
mod watch;
mod whole;
mod worker;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{Problems, Refused};
use crate::observe::GatewayLedger;
use crate::state::State;
use crate::wasm::Engine;
pub use catalogue::{Listed, inspect, list};
pub use explain::{Explanation, Question, Step, Verdict, explain};
pub use generation::Origin;
use generation::{Builder, Generation};
pub use show::schema_of;

/// Why the gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration or a plugin is not valid.
    Invalid(Problems),
    /// The machine refused something.
    Environment(anyhow::Error),
}

impl From<Problems> for StartError {
    fn from(problems: Problems) -> Self {
        Self::Invalid(problems)
    }
}

impl From<Box<Refused>> for StartError {
    fn from(refused: Box<Refused>) -> Self {
        Self::Invalid(refused.problems)
    }
}

impl From<anyhow::Error> for StartError {
    fn from(error: anyhow::Error) -> Self {
        Self::Environment(error)
    }
}

/// Serves a configuration until SIGTERM or SIGINT, and follows its changes.
///
/// # Errors
/// The first generation cannot be built, or an address cannot be bound.
pub fn run(origin: Origin) -> Result<(), StartError> {
    let engine = Engine::new().map_err(anyhow::Error::from)?;
    let state = Arc::new(State::default());
    let ledgers = Arc::new(GatewayLedger::default());
    let mut builder = Builder::new(origin, engine, Arc::clone(&state), Arc::clone(&ledgers))?;
    let first = Arc::new(builder.build(None)?);
    control::serve(builder, &first, state, ledgers)
}

/// Loads everything that [`run`] would load, and starts every filter once.
///
/// # Errors
/// Every problem found.
pub fn check(path: &Path) -> Result<Summary, StartError> {
    let engine = Engine::new().map_err(anyhow::Error::from)?;
    let mut builder = Builder::new(Origin::File(path.to_owned()), engine, Arc::default(), Arc::default())?;
    let generation = builder.build(None)?;
    Ok(Summary::of(&generation))
}

/// What a checked configuration consists of.
pub struct Summary {
    listeners: usize,
    routes: usize,
    upstreams: usize,
    filters: usize,
    /// Name, digest, warnings.
    plugins: Vec<(String, String, Vec<String>)>,
    /// What is right in the configuration, and does not do what it seems to.
    pub warnings: Problems,
    /// About certificates.
    certificates: Vec<String>,
}

impl Summary {
    fn of(generation: &Generation) -> Self {
        let plugins = generation.plugins.values();
        Self {
            listeners: generation.config.listeners.len(),
            routes: generation.config.routes.len(),
            upstreams: generation.config.upstreams.len(),
            filters: generation.specs().count(),
            plugins: plugins.map(|p| (p.name.to_string(), p.digest.to_string(), p.warnings.clone())).collect(),
            warnings: generation.warnings.clone(),
            certificates: generation.tls.warnings.clone(),
        }
    }

    /// For `-o json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let plugin = |(name, digest, warnings): &(String, String, Vec<String>)| json!({ "name": name, "digest": digest, "warnings": warnings });
        json!({
            "listeners": self.listeners,
            "routes": self.routes,
            "upstreams": self.upstreams,
            "filters": self.filters,
            "plugins": self.plugins.iter().map(plugin).collect::<Vec<_>>(),
            "warnings": self.warnings.iter().map(ToString::to_string).chain(self.certificates.iter().cloned()).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, routes, upstreams, filters, plugins, warnings, certificates } = self;
        write!(f, "valid: {listeners} listeners, {routes} routes, {upstreams} upstreams, {filters} filters")?;
        for (name, digest, warnings) in plugins {
            write!(f, "\nplugin {name} {}", short(digest))?;
            for warning in warnings {
                write!(f, "\n  warning: {warning}")?;
            }
        }
        let warnings = warnings.iter().map(ToString::to_string).chain(certificates.iter().cloned());
        for warning in warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

/// The part of a digest that people compare.
fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}
