//! Heads without sockets: rewriting, gRPC answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};

use crate::config::{Action, HeaderChanges, Match, PathMatch, PathRewrite, Reroute, Rewrite, Route};
use crate::filter::{LocalReply, Name};
use crate::proxy::{forward, local};

fn route(prefix: &str, rewrite: Option<PathRewrite>) -> Route {
    Route {
        name: "r".into(),
        listeners: Vec::new(),
        matches: Match { path: Some(PathMatch::Prefix(prefix.to_owned())), ..Match::default() },
        filters: Vec::new(),
        action: Action::to("u"),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        mirrors: Vec::new(),
        retry: None,
        rewrite: Rewrite { path: rewrite, host: None },
        timeout: None,
        upgrades: Vec::new(),
        reroute: Reroute::default(),
    }
}

#[test]
fn paths_are_rewritten_and_the_query_stays() {
    let prefix = |to: &str| Some(PathRewrite::Prefix(to.to_owned()));
    for (uri, normal, at, rewrite, target) in [
        ("/a/b?q", None, "/", None, "/a/b?q"),
        ("http://h/a?q", None, "/", None, "/a?q"),
        ("/a//b?q", Some("/a/b"), "/", None, "/a/b?q"),
        ("/a/b?q", None, "/a", prefix("/x"), "/x/b?q"),
        ("/a", None, "/a", prefix("/"), "/"),
        ("/a/b", None, "/a", prefix("/"), "/b"),
        ("/a/b", None, "/", prefix("/x/"), "/x/a/b"),
        ("/a;v=1/b;w", None, "/a", prefix("/x"), "/x/b;w"),
        ("/elsewhere", None, "/a", prefix("/x"), "/elsewhere"),
        ("/a?q", None, "/a", Some(PathRewrite::Full("/one".to_owned())), "/one?q"),
    ] {
        let uri: Uri = uri.parse().unwrap();
        assert_eq!(forward::target(&uri, normal, &route(at, rewrite)).unwrap(), target, "{uri}");
    }
}

#[test]
fn cookie_crumbs_become_one_field() {
    let mut headers = HeaderMap::new();
    for crumb in ["a=1", "b=2", "c=3"] {
        headers.append(header::COOKIE, HeaderValue::from_static(crumb));
    }
    forward::join_cookies(&mut headers);
    let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[test]
fn grpc_is_told_by_its_content_type() {
    for (value, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;x", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        assert_eq!(local::is_grpc(&headers), grpc, "{value}");
    }
}

#[test]
fn a_reply_to_a_grpc_call_is_trailers_only() {
    let mut reply = LocalReply::text(403, "no, 100%\u{1}\n", "test");
    let (head, body) = local::message(reply.clone(), true);
    let value = |name: &[u8]| head.get(&Name::parse(name).unwrap()).unwrap();
    assert_eq!(value(b":status"), "200");
    assert_eq!(value(b"grpc-status"), "7");
    assert_eq!(value(b"grpc-message"), "no, 100%25%01");
    assert!(body.is_empty());
    reply.grpc_status = Some(9);
    let (head, _) = local::message(reply, true);
    assert_eq!(head.get(&Name::parse(b"grpc-status").unwrap()).unwrap(), "9");
}

#[test]
fn a_reply_has_a_type_and_the_right_length() {
    let (head, body) = local::message(LocalReply::text(400, "bad", "test"), false);
    let names: Vec<_> = head.iter().map(|field| (field.name.as_str(), field.value.to_str().unwrap())).collect();
    assert_eq!(names, [(":status", "400"), ("content-type", "text/plain"), ("content-length", "3")]);
    assert_eq!(body, "bad");
    let (head, body) =
        local::message(LocalReply { body: Bytes::from_static(b"x"), status: 204, ..LocalReply::default() }, false);
    assert_eq!(head.get(&Name::Header(header::CONTENT_LENGTH)), None);
    assert!(body.is_empty());
}
