//! The index answers as a plain search over all routes does, and does not search them one by one.

use std::cmp::Reverse;

use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::{RequestView, Router};
use super::{Request, exact, host, path, route};
use crate::config::{HostMatch, Match, PathMatch, Route, ValueMatch};

const HOSTS: [&str; 5] = ["a", "a.b", "c.a.b", "*.b", "*.a.b"];
const PATHS: [&str; 9] = ["= /", "= /a", "= /a/", "/", "/a", "/a/b", "/ab", "~ /a.*", "~ .*b"];

/// The precedence of a route that accepts a request, the highest first.
fn rank(condition: &Match, request: &RequestView<'_>) -> impl Ord + use<> {
    let host = |host: &HostMatch| match host {
        HostMatch::Exact(_) => (2, 0),
        HostMatch::Suffix(suffix) => (1, suffix.len()),
    };
    let best = condition.hosts.iter().filter(|host| host.accepts(request.host)).map(host).max();
    let path = match &condition.path {
        Some(PathMatch::Exact(_)) => (3, 0),
        Some(PathMatch::Prefix(prefix)) => (2, prefix.len()),
        Some(PathMatch::Regex(_)) => (1, 0),
        None => (0, 0),
    };
    let rest = (!condition.methods.is_empty(), condition.headers.len(), condition.query.len());
    (best.unwrap_or((0, 0)), path, rest)
}

fn plain_search(routes: &[Route], request: &RequestView<'_>) -> Option<usize> {
    let accepting = routes.iter().enumerate().filter(|(_, route)| route.matches.accepts(request));
    accepting.min_by_key(|(index, route)| (Reverse(rank(&route.matches, request)), *index)).map(|(index, _)| index)
}

fn conditions() -> impl Strategy<Value = Match> {
    let hosts = subsequence(HOSTS.to_vec(), 0..3);
    let paths = prop::option::of(select(PATHS.to_vec()));
    let methods = subsequence(vec![Method::GET, Method::PUT], 0..2);
    let headers = subsequence(vec!["x-a", "x-b"], 0..3);
    (hosts, paths, methods, headers, any::<bool>()).prop_map(|(hosts, pattern, methods, headers, query)| Match {
        hosts: hosts.into_iter().map(host).collect(),
        path: pattern.map(path),
        methods,
        headers: headers.into_iter().map(|name| (HeaderName::from_static(name), ValueMatch::Present)).collect(),
        query: if query { vec![("q".to_owned(), exact("1"))] } else { Vec::new() },
    })
}

fn requests() -> impl Strategy<Value = Request> {
    let hosts = select(vec!["a", "b", "a.b", "x.b", "c.a.b", "d.c.a.b", "z"]);
    let paths = select(vec!["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/abc", "/b", "*"]);
    let headers = subsequence(vec!["x-a", "x-b"], 0..3);
    let method = select(vec![Method::GET, Method::PUT, Method::POST]);
    (hosts, paths, method, headers, any::<bool>()).prop_map(|(host, path, method, headers, query)| Request {
        method,
        headers: headers
            .into_iter()
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("v")))
            .collect(),
        query: query.then(|| "q=1".to_owned()),
        ..Request::get(host, path)
    })
}

proptest! {
    #[test]
    fn the_index_answers_as_a_plain_search(
        conditions in prop::collection::vec(conditions(), 0..24),
        requests in prop::collection::vec(requests(), 24),
    ) {
        let routes: Vec<Route> = conditions.into_iter().map(|condition| route("r", condition)).collect();
        let router = Router::new(&routes);
        for request in &requests {
            let (view, found) = (request.view(), router.find(&request.view()));
            prop_assert_eq!(found, plain_search(&routes, &view));
            // What explains the decision knows the same of each condition.
            let explained = routes.iter().enumerate().filter(|(_, route)| route.matches.refusal(&view).is_none());
            let first = explained.min_by_key(|(index, route)| (Reverse(route.matches.rank(Some(view.host))), *index));
            prop_assert_eq!(found, first.map(|(index, _)| index));
        }
    }
}

#[test]
fn ten_thousand_routes_are_found_by_host_and_path() {
    let routes: Vec<Route> = (0..10_000)
        .map(|index| {
            let path = if index % 2 == 0 {
                path(&format!("/service-{index}"))
            } else {
                path(&format!("= /service-{index}/x"))
            };
            let hosts = if index % 3 == 0 { vec![host(&format!("h{index}.example"))] } else { Vec::new() };
            route("r", Match { hosts, path: Some(path), ..Match::default() })
        })
        .collect();
    let router = Router::new(&routes);
    for index in (1..10_000).filter(|index| index % 3 != 0) {
        assert_eq!(router.find(&Request::get("h3.example", &format!("/service-{index}/x")).view()), Some(index));
    }
    assert_eq!(router.find(&Request::get("h3.example", "/service-3/x").view()), Some(3));
    assert_eq!(router.find(&Request::get("h6.example", "/service-3/x").view()), None);
}
