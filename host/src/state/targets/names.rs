//! What is known of one target's name: its addresses, and how asking for them goes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::{self, Place};

/// How asking for a name ends, as it is counted.
pub const RESULTS: [&str; 3] = ["success", "no_address", "failure"];

/// Why asking for a name gave no addresses.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// There are none: the name does not exist, or has none of the wanted kind.
    Nothing(String),
    /// Nobody gave an answer.
    Failure(String),
}

/// One target's name. That of an address, or of a Unix socket, is known from the start.
#[derive(Clone)]
pub(super) struct Name {
    found: Found,
    /// An answer, good or bad, was had.
    pub(super) answered: bool,
    /// Why the last answer was not good.
    pub(super) problem: Option<Arc<str>>,
    /// By place in [`RESULTS`].
    counts: Arc<[AtomicU64; RESULTS.len()]>,
}

#[derive(Clone)]
enum Found {
    Unix,
    /// In order, each once.
    Addresses(Vec<SocketAddr>),
}

/// What an answer has changed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Something has changed.
    pub(crate) is_news: bool,
    /// Addresses that the name did not have before.
    pub(crate) added: Vec<SocketAddr>,
    /// Addresses that it has no longer.
    pub(crate) removed: Vec<SocketAddr>,
    /// The answer was good, and the one before was not.
    pub(crate) recovered: bool,
    /// The answer was not good, and the one before was, or said otherwise.
    pub(crate) broke: bool,
}

/// One name, for people and metrics.
pub struct NameReport {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// `host:port`
    pub target: String,
    /// Its addresses, with the port.
    pub addresses: Vec<SocketAddr>,
    /// Why the last answer was not good, if it was not.
    pub problem: Option<Arc<str>>,
    /// How often it was asked for, by place in [`RESULTS`].
    pub counts: [u64; RESULTS.len()],
}

impl Name {
    pub(super) fn of(target: &config::Target) -> Self {
        let (found, answered) = match &target.place {
            Place::Unix(_) => (Found::Unix, true),
            Place::Network { host, port } => match host.parse::<IpAddr>() {
                Ok(address) => (Found::Addresses(vec![SocketAddr::new(address, *port)]), true),
                Err(_) => (Found::Addresses(Vec::new()), false),
            },
        };
        Self { found, answered, problem: None, counts: Arc::default() }
    }
    pub(super) fn count(&self) -> usize {
        match &self.found {
            Found::Unix => 1,
            Found::Addresses(addresses) => addresses.len(),
        }
    }
    /// Where it can be connected to; `None` stands for a Unix socket.
    pub(super) fn endpoints(&self) -> Vec<Option<SocketAddr>> {
        match &self.found {
            Found::Unix => vec![None],
            Found::Addresses(addresses) => addresses.iter().copied().map(Some).collect(),
        }
    }
    /// An answer that there are no addresses takes them away; no answer leaves them.
    pub(super) fn answered(&mut self, answer: Result<Vec<SocketAddr>, Answer>) -> Outcome {
        let (addresses, problem, result) = match answer {
            Ok(addresses) => (Some(addresses), None, 0),
            Err(Answer::Nothing(problem)) => (Some(Vec::new()), Some(problem), 1),
            Err(Answer::Failure(problem)) => (None, Some(problem), 2),
        };
        self.counts[result].fetch_add(1, Ordering::Relaxed);
        let before = match &self.found {
            Found::Unix => Vec::new(),
            Found::Addresses(addresses) => addresses.clone(),
        };
        let mut now = addresses.unwrap_or_else(|| before.clone());
        now.sort_unstable();
        now.dedup();
        let missing = |from: &[SocketAddr], others: &[SocketAddr]| -> Vec<SocketAddr> {
            from.iter().filter(|address| !others.contains(address)).copied().collect()
        };
        let (added, removed) = (missing(&now, &before), missing(&before, &now));
        let recovered = problem.is_none() && self.problem.is_some();
        let broke = problem.is_some() && self.problem.as_deref() != problem.as_deref();
        let first = !std::mem::replace(&mut self.answered, true);
        let is_news = first || recovered || broke || !added.is_empty() || !removed.is_empty();
        self.found = Found::Addresses(now);
        self.problem = problem.map(Arc::from);
        Outcome { is_news, added, removed, recovered, broke }
    }
    pub(super) fn report(&self, upstream: &Arc<str>, target: String) -> NameReport {
        let addresses = match &self.found {
            Found::Unix => Vec::new(),
            Found::Addresses(addresses) => addresses.clone(),
        };
        let counts = [0, 1, 2].map(|result: usize| self.counts[result].load(Ordering::Relaxed));
        NameReport { upstream: Arc::clone(upstream), target, addresses, problem: self.problem.clone(), counts }
    }
}
