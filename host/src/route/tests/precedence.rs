//! Which of several routes takes a request: the rules of the Kubernetes Gateway API, one table row each.

use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Method};

use super::super::Router;
use super::{Request, exact, host, path, route, whole};
use crate::config::{Match, Route, ValueMatch};

/// The name of the route that takes a request.
fn taken<'r>(routes: &'r [Route], request: &Request) -> &'r str {
    Router::new(routes).find(&request.view()).map_or("none", |index| &*routes[index].name)
}

/// Routes named by their patterns, `host path`; `-` is any.
fn routes(patterns: &[&str]) -> Vec<Route> {
    let one = |pattern: &&str| {
        let (name, rest) = pattern.split_once(' ').unwrap_or((pattern, "-"));
        let hosts = if name == "-" { Vec::new() } else { vec![host(name)] };
        let path = (rest != "-").then(|| path(rest));
        route(pattern, Match { hosts, path, ..Match::default() })
    };
    patterns.iter().map(one).collect()
}

#[test]
fn an_exact_host_goes_before_the_longest_suffix_before_any() {
    let routes = routes(&["- /", "*.example /", "*.b.example /", "a.b.example /", "*.a.b.example = /x"]);
    for (asked, name) in [
        ("a.b.example", "a.b.example /"),
        ("c.b.example", "*.b.example /"),
        ("d.c.b.example", "*.b.example /"),
        ("b.example", "*.example /"),
        ("example", "- /"),
        ("other", "- /"),
        ("xb.example", "*.example /"),
        (".example", "- /"),
    ] {
        assert_eq!(taken(&routes, &Request::get(asked, "/x")), name, "{asked}");
    }
    assert_eq!(taken(&routes, &Request::get("z.a.b.example", "/x")), "*.a.b.example = /x");
    assert_eq!(taken(&routes, &Request::get("z.a.b.example", "/y")), "*.b.example /");
}

#[test]
fn a_more_specific_host_that_refuses_leaves_the_request_to_the_others() {
    let routes = routes(&["a.example /only", "*.example /also", "- /"]);
    assert_eq!(taken(&routes, &Request::get("a.example", "/only/x")), "a.example /only");
    assert_eq!(taken(&routes, &Request::get("a.example", "/also")), "*.example /also");
    assert_eq!(taken(&routes, &Request::get("a.example", "/x")), "- /");
}

#[test]
fn an_exact_path_goes_before_the_longest_prefix_before_a_regex_before_any() {
    let routes =
        routes(&["- -", "- ~ /users/[0-9]+|/x", "- /users", "- /users/7", "- = /users/7/a", "- = /users/7/b/"]);
    for (asked, name) in [
        ("/users/7/a", "- = /users/7/a"),
        ("/users/7/a/", "- /users/7"),
        ("/users/7/b", "- /users/7"),
        ("/users/7/b/", "- = /users/7/b/"),
        ("/users/7", "- /users/7"),
        ("/users/7/", "- /users/7"),
        ("/users/77", "- /users"),
        ("/users", "- /users"),
        ("/usersx", "- -"),
        ("/x", "- ~ /users/[0-9]+|/x"),
        ("/xx", "- -"),
        ("*", "- -"),
    ] {
        assert_eq!(taken(&routes, &Request::get("h", asked)), name, "{asked}");
    }
}

#[test]
fn the_root_prefix_takes_every_path_but_the_asterisk() {
    let routes = routes(&["- /"]);
    for (asked, name) in [("/", "- /"), ("/a", "- /"), ("/a/b/", "- /"), ("*", "none"), ("", "none")] {
        assert_eq!(taken(&routes, &Request::get("h", asked)), name, "{asked}");
    }
}

#[test]
fn a_method_goes_before_headers_before_query_parameters_before_the_order() {
    let methods = vec![Method::GET];
    let headers = |count: usize| {
        let all = [(ACCEPT, exact("a")), (HeaderName::from_static("x-b"), ValueMatch::Present)];
        all.into_iter().take(count).collect::<Vec<_>>()
    };
    let query = vec![("q".to_owned(), exact("1"))];
    let routes = [
        route("first", Match::default()),
        route("second", Match::default()),
        route("query", Match { query: query.clone(), ..Match::default() }),
        route("header and query", Match { headers: headers(1), query, ..Match::default() }),
        route("header", Match { headers: headers(1), ..Match::default() }),
        route("headers", Match { headers: headers(2), ..Match::default() }),
        route("method", Match { methods, ..Match::default() }),
    ];
    let mut request = Request::get("h", "/");
    assert_eq!(taken(&routes, &request), "method");
    request.method = Method::POST;
    assert_eq!(taken(&routes, &request), "first");
    request.query = Some("q=1".to_owned());
    assert_eq!(taken(&routes, &request), "query");
    request.headers.insert(ACCEPT, HeaderValue::from_static("a"));
    assert_eq!(taken(&routes, &request), "header and query");
    request.headers.insert("x-b", HeaderValue::from_static("anything"));
    assert_eq!(taken(&routes, &request), "headers");
}

#[test]
fn without_a_match_there_is_no_route() {
    assert_eq!(taken(&[], &Request::get("h", "/")), "none");
    assert_eq!(taken(&routes(&["a /x"]), &Request::get("b", "/x")), "none");
}

#[test]
fn any_field_of_a_header_will_do_and_fields_are_not_joined() {
    let accepts = |value: ValueMatch| Match { headers: vec![(ACCEPT, value)], ..Match::default() };
    let mut request = Request::get("h", "/");
    assert!(!accepts(ValueMatch::Present).accepts(&request.view()));
    request.headers.append(ACCEPT, HeaderValue::from_static("user"));
    request.headers.append(ACCEPT, HeaderValue::from_static("admin"));
    request.headers.append(ACCEPT, HeaderValue::from_bytes(b"\xff").unwrap());
    assert!(accepts(ValueMatch::Present).accepts(&request.view()));
    assert!(accepts(exact("admin")).accepts(&request.view()));
    assert!(!accepts(exact("user,admin")).accepts(&request.view()));
    assert!(accepts(ValueMatch::Regex(whole("ad.*"))).accepts(&request.view()));
    assert!(!accepts(ValueMatch::Regex(whole("d.*"))).accepts(&request.view()));
}

#[test]
fn the_first_query_parameter_of_a_name_is_compared_decoded() {
    let accepts = |query: &str, value: ValueMatch| {
        let condition = Match { query: vec![("a b".to_owned(), value)], ..Match::default() };
        let request = Request { query: Some(query.to_owned()), ..Request::get("h", "/") };
        condition.accepts(&request.view())
    };
    assert!(accepts("x=y&a+b=1", exact("1")));
    assert!(accepts("a%20b=%C3%A9+%25", exact("é %")));
    assert!(accepts("a b", ValueMatch::Present) && accepts("a b=", exact("")));
    assert!(!accepts("a b=2&a b=1", exact("1")));
    assert!(!accepts("A B=1", ValueMatch::Present) && !accepts("", ValueMatch::Present));
    assert!(accepts("a b=%zz%4", exact("%zz%4")) && accepts("a b=%+1", exact("% 1")));
    assert!(accepts("a b=page-7", ValueMatch::Regex(whole("page-[0-9]"))));
}

#[test]
fn a_condition_holds_when_all_its_parts_do() {
    let condition = Match {
        hosts: vec![host("a"), host("*.example")],
        path: Some(path("/users")),
        methods: vec![Method::GET, Method::HEAD],
        ..Match::default()
    };
    for (asked, path, accepted) in
        [("a", "/users", true), ("b.example", "/users/1", true), ("b", "/users", false), ("a", "/", false)]
    {
        assert_eq!(condition.accepts(&Request::get(asked, path).view()), accepted, "{asked}{path}");
    }
    let post = Request { method: Method::POST, ..Request::get("a", "/users") };
    assert!(!condition.accepts(&post.view()));
    assert!(Match::default().accepts(&post.view()));
}
