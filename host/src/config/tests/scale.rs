//! Large configurations, right and wrong, are read in time that grows as they do. Only ratios are judged, of the cheapest of several
//! runs.

use super::read;
use crate::cost::least;

const MANY: usize = 10_000;
const RUNS: usize = 3;
/// How many times longer per route the reading of ten times as many may take. What is searched anew for each takes ten times as long.
const SLOWER: f64 = 6.0;

/// A configuration with so many routes in so many lines, with filters.
fn text(routes: usize, upstream: &str, separator: &str) -> String {
    let route = |index: usize| {
        format!(
            r#"{{"name": "route-{index}", "match": {{"host": "h{index}.example", "path": "/service-{index}"}},
                "filters": [{{"use": "log"}}], "upstream": "{upstream}"}}"#
        )
    };
    let routes: Vec<String> = (0..routes).map(route).collect();
    let text = format!(
        r#"{{"listeners": [{{"address": "127.0.0.1:0"}}], "upstreams": {{"idp": {{"targets": ["http://127.0.0.1:1"]}}}}, "routes": [{}]}}"#,
        routes.join(", \n")
    );
    text.replace('\n', separator)
}

/// How many times longer per route the reading of many takes, and what became of it.
fn slower(upstream: &str, separator: &str) -> f64 {
    let time = |count: usize| {
        let text = text(count, upstream, separator);
        let cost = least(RUNS, || match read(&text) {
            Ok(loaded) => assert_eq!(loaded.config.routes.len(), count),
            Err(problems) => assert_eq!(problems.len(), if upstream == "idp" { 0 } else { count }),
        });
        cost.as_secs_f64()
    };
    let ratio = time(MANY) / time(MANY / 10) / 10.0;
    println!("{ratio:.2} times as long per route");
    ratio
}

#[test]
fn ten_thousand_routes_are_read_in_about_ten_times_the_time_of_a_thousand() {
    assert!(slower("idp", "\n") < SLOWER);
}

#[test]
fn ten_thousand_problems_in_one_long_line_are_found_in_about_ten_times_the_time_of_a_thousand() {
    assert!(slower("idq", " ") < SLOWER);
}
