//! The router: the routes of a configuration indexed by host, then by path.
//!
//! Precedence is the Kubernetes Gateway API's: exact host, longest host suffix, any host; then exact path, longest path
//! prefix, regular expression, any path; then a method, most headers, most query parameters; then the order of the file.
//! Listeners that a route names give it no precedence, as there.
//! A route whose host is more specific but that refuses the request leaves it to the others.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;

use super::RequestView;
use super::accept::has_prefix;
use crate::config::{HostMatch, Match, PathMatch, Route};

/// Finds the route of a request. A look-up allocates nothing (but to decode a query parameter that a route looks at), and
/// takes a hash per host suffix and per length of prefix in use; only routes of one host and path, and those with regular
/// expressions, are tried one after the other.
#[derive(Debug, Default)]
pub struct Router {
    exact: HashMap<Box<str>, Paths>,
    /// By suffix with its dot: `.example.com`.
    suffixes: HashMap<Box<str>, Paths>,
    any: Paths,
}

/// The routes of one host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Candidates>,
    /// By prefix without a slash at the end; the root is empty.
    prefixes: HashMap<Box<str>, Candidates>,
    /// The distinct lengths of the prefixes, longest first. Only these are looked up, however long a path is.
    lengths: Vec<usize>,
    regexes: Candidates,
    any: Candidates,
}

/// Routes of the same host and path, the one that takes precedence first.
type Candidates = Vec<Candidate>;

/// One route, in the place where the index leads.
#[derive(Clone, Debug)]
struct Candidate {
    route: usize,
    condition: Match,
    /// Empty for all.
    listeners: Box<[SocketAddr]>,
}

impl Candidate {
    /// Whether a request that the index has led here is this route's.
    fn accepts(&self, request: &RequestView<'_>) -> bool {
        (self.listeners.is_empty() || self.listeners.contains(&request.listener))
            && self.condition.accepts_rest(request)
    }
}

impl Router {
    /// Indexes routes.
    #[must_use]
    pub fn new(routes: &[Route]) -> Self {
        let mut router = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let candidate = Candidate {
                route: index,
                condition: route.matches.clone(),
                listeners: route.listeners.as_slice().into(),
            };
            if route.matches.hosts.is_empty() {
                router.any.add(candidate.clone());
            }
            for host in &route.matches.hosts {
                let paths = match host {
                    HostMatch::Exact(host) => router.exact.entry(host.as_str().into()),
                    HostMatch::Suffix(suffix) => router.suffixes.entry(suffix.as_str().into()),
                };
                paths.or_default().add(candidate.clone());
            }
        }
        let hosts = router.exact.values_mut().chain(router.suffixes.values_mut());
        hosts.chain(std::iter::once(&mut router.any)).for_each(Paths::order);
        router
    }
    /// The index, in the list that the router was made of, of the route that takes a request.
    #[must_use]
    pub fn find(&self, request: &RequestView<'_>) -> Option<usize> {
        let exact = self.exact.get(request.host);
        let dots = request.host.match_indices('.').map(|(dot, _)| dot).filter(|dot| *dot > 0);
        let suffixes = dots.filter_map(|dot| self.suffixes.get(&request.host[dot..]));
        exact.into_iter().chain(suffixes).chain(std::iter::once(&self.any)).find_map(|paths| paths.find(request))
    }
}

impl Paths {
    fn add(&mut self, candidate: Candidate) {
        let candidates = match &candidate.condition.path {
            Some(PathMatch::Exact(path)) => self.exact.entry(path.as_str().into()).or_default(),
            Some(PathMatch::Prefix(prefix)) => self.prefixes.entry(prefix.trim_end_matches('/').into()).or_default(),
            Some(PathMatch::Regex(_)) => &mut self.regexes,
            None => &mut self.any,
        };
        // The same host twice in one route would only be tried twice.
        if candidates.last().is_none_or(|last| last.route != candidate.route) {
            candidates.push(candidate);
        }
    }
    fn order(&mut self) {
        self.lengths = self.prefixes.keys().map(|prefix| prefix.len()).collect();
        self.lengths.sort_unstable_by_key(|length| Reverse(*length));
        self.lengths.dedup();
        let lists = self.exact.values_mut().chain(self.prefixes.values_mut());
        for list in lists.chain([&mut self.regexes, &mut self.any]) {
            // The sort is stable: equals stay in the order of the file.
            list.sort_by_key(|candidate| {
                let Match { methods, headers, query, .. } = &candidate.condition;
                Reverse((!methods.is_empty(), headers.len(), query.len()))
            });
        }
    }
    fn find(&self, request: &RequestView<'_>) -> Option<usize> {
        let exact = self.exact.get(request.path);
        let prefixes = self.lengths.iter().filter_map(|length| {
            let prefix = request.path.get(..*length).filter(|prefix| has_prefix(request.path, prefix))?;
            self.prefixes.get(prefix)
        });
        let first = |candidates: &Candidates| {
            let taken = candidates.iter().find(|candidate| candidate.accepts(request));
            taken.map(|candidate| candidate.route)
        };
        let regex = || {
            let accepts = |candidate: &&Candidate| {
                let path = candidate.condition.path.as_ref();
                path.is_none_or(|path| path.accepts(request.path)) && candidate.accepts(request)
            };
            self.regexes.iter().find(accepts).map(|candidate| candidate.route)
        };
        exact.into_iter().chain(prefixes).find_map(first).or_else(regex).or_else(|| first(&self.any))
    }
}
