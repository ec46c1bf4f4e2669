//! What a worker serves with: one generation's routes, chains and upstreams.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::mirror::Mirror;
use super::tcp::TcpService;
use crate::config::{Config, FilterEntry, Match};
use crate::filter::FilterSource;
use crate::route::{RequestView, Router};
use crate::upstream::turns::{self, Turn};
use crate::upstream::{Upstream, Upstreams};

/// The filters that one request passes, in order.
pub type Filters = Rc<[Rc<dyn FilterSource>]>;

/// One generation on one worker. Exchanges keep the one that they began with.
pub struct WorkerGeneration {
    /// The configuration.
    pub config: Arc<Config>,
    /// Finds the route; its indices are those of `routes` and of the configuration's routes.
    pub router: Arc<Router>,
    /// What each route does.
    pub routes: Vec<RouteChain>,
    /// The global filters, for requests without a route.
    pub unrouted: FilterList,
    /// Where requests go.
    pub upstreams: Rc<Upstreams>,
    /// What becomes of the connections of TCP listeners, by the listener's configured address.
    pub tcp: BTreeMap<SocketAddr, Rc<TcpService>>,
}

/// A route on one worker.
pub struct RouteChain {
    /// Its name.
    pub name: Rc<str>,
    /// Where its requests go; nowhere, when the route answers them itself.
    pub shares: Shares,
    /// Who gets copies of its requests.
    pub mirrors: Vec<Mirror>,
    /// The global filters and its own.
    pub filters: FilterList,
}

/// The upstreams of a route, each with its share of the requests.
#[derive(Default)]
pub struct Shares {
    all: Box<[Share]>,
}

/// One upstream of a route.
pub(super) struct Share {
    /// The upstream's name.
    pub name: Rc<str>,
    /// The upstream.
    pub upstream: Rc<Upstream>,
    turn: Turn,
}

impl Shares {
    /// Upstreams with their names and weights.
    #[must_use]
    pub fn new(shares: impl IntoIterator<Item = (Rc<str>, Rc<Upstream>, u32)>) -> Self {
        let share = |(name, upstream, weight)| Share { name, upstream, turn: Turn::new(weight) };
        Self { all: shares.into_iter().map(share).collect() }
    }
    /// The place of the upstream whose turn it is: each gets its share as evenly as can be, not by chance.
    pub(super) fn next(&self) -> Option<usize> {
        turns::next(self.all.iter().map(|share| &share.turn).enumerate())
    }
    pub(super) fn get(&self, place: usize) -> Option<&Share> {
        self.all.get(place)
    }
}

/// The filters of a route, some of which may apply to some requests only.
pub struct FilterList {
    all: Filters,
    /// The conditions, one for each filter; empty when there are none.
    conditions: Box<[Option<Match>]>,
}

impl FilterList {
    /// Filters with the entries that they were made of, in order.
    #[must_use]
    pub fn new<'a>(filters: impl IntoIterator<Item = (&'a FilterEntry, Rc<dyn FilterSource>)>) -> Self {
        let (conditions, all): (Vec<_>, Vec<_>) =
            filters.into_iter().map(|(entry, filter)| (entry.when.clone(), filter)).unzip();
        let conditional = conditions.iter().any(Option::is_some);
        Self { all: all.into(), conditions: if conditional { conditions.into() } else { Box::default() } }
    }
    /// The places of those among them that are in a selection.
    pub(super) fn places<'a>(&'a self, selected: &'a Filters) -> impl Iterator<Item = usize> + 'a {
        let is_in = |filter: &Rc<dyn FilterSource>| selected.iter().any(|other| Rc::ptr_eq(filter, other));
        self.all.iter().enumerate().filter(move |(_, filter)| is_in(filter)).map(|(place, _)| place)
    }
    /// The filters that a request passes.
    #[must_use]
    pub fn select(&self, request: &RequestView<'_>) -> Filters {
        if self.conditions.is_empty() {
            return Rc::clone(&self.all);
        }
        let applies = |condition: &Option<Match>| condition.as_ref().is_none_or(|condition| condition.accepts(request));
        self.all
            .iter()
            .zip(&self.conditions)
            .filter(|(_, when)| applies(when))
            .map(|(filter, _)| Rc::clone(filter))
            .collect()
    }
}
