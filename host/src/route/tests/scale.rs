//! Ten thousand routes cost a request what ten do, and are indexed in time that grows as they do. Only ratios are judged, of the
//! cheapest of several runs, and widely: what grows with the number of routes would be far beyond them.

use std::hint::black_box;
use std::time::Duration;

use super::super::Router;
use super::{Request, host, path, route};
use crate::config::{Match, Route};
use crate::cost::least;

const FEW: usize = 10;
const MANY: usize = 10_000;
/// Requests per run, spread over all routes.
const REQUESTS: usize = 2000;
const RUNS: usize = 15;
/// How many times longer a look-up among many may take. What is searched one by one would take a thousand times as long.
const SLOWER: f64 = 30.0;
/// How many times longer per route an index of many may take to make.
const SLOWER_TO_MAKE: f64 = 6.0;

/// Prefixes of two lengths and exact paths, for any host and for hosts of their own.
fn routes(count: usize) -> Vec<Route> {
    let route_of = |index: usize| {
        let pattern = if index.is_multiple_of(2) {
            format!("/service-{index:05}/v1")
        } else {
            format!("= /service-{index:05}/x")
        };
        let hosts = if index.is_multiple_of(3) { vec![host("*.example")] } else { Vec::new() };
        route("r", Match { hosts, path: Some(path(&pattern)), ..Match::default() })
    };
    (0..count).map(route_of).collect()
}

fn requests(count: usize) -> Vec<Request> {
    // A step that has no factor in common with the count leads past every route.
    let target = |index: usize| match index * 7 % count {
        index if index.is_multiple_of(2) => format!("/service-{index:05}/v1/items/9"),
        index => format!("/service-{index:05}/x"),
    };
    (0..REQUESTS).map(|index| Request::get("a.example", &target(index))).collect()
}

fn look_ups(count: usize) -> Duration {
    let (router, requests) = (Router::new(&routes(count)), requests(count));
    for request in &requests {
        assert!(router.find(&request.view()).is_some(), "{request:?}");
    }
    least(RUNS, || {
        for request in &requests {
            black_box(router.find(&black_box(request).view()));
        }
    })
}

#[test]
fn a_look_up_among_ten_thousand_routes_takes_about_as_long_as_among_ten() {
    let ratio = look_ups(MANY).as_secs_f64() / look_ups(FEW).as_secs_f64();
    println!("{MANY} routes: {ratio:.2} times as long as {FEW}");
    assert!(ratio < SLOWER, "{ratio:.2} times as long");
}

#[test]
fn the_index_of_ten_times_as_many_routes_takes_about_ten_times_as_long_to_make() {
    let make = |count: usize| {
        let routes = routes(count);
        least(RUNS, || drop(black_box(Router::new(&routes)))).as_secs_f64()
    };
    let ratio = make(MANY) / make(MANY / 10) / 10.0;
    println!("{ratio:.2} times as long per route");
    assert!(ratio < SLOWER_TO_MAKE, "{ratio:.2} times as long per route");
}
