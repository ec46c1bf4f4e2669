//! Phases: what functions see, and what their results do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{Harness, TestReply};

#[derive(Config)]
struct Gate {
    #[config(default)]
    answer: String,
}

#[derive(Default)]
struct Seen {
    user: String,
}

#[filter]
impl Filter for Gate {
    fn request(&self, req: &mut Request) -> Result {
        match self.answer.as_str() {
            "bail" => bail!(403, "not for {}", req.path_only()),
            "reply" => return Err(Reply::text(418, "short and stout").header("x-tea", "green").into()),
            "redirect" => return Err(Reply::redirect(308, "https://example.org/").into()),
            "unauthorized" => return Err(Reply::unauthorized("Bearer").into()),
            "json" => return Err(Reply::json(202, &json!({ "id": 7 }))?.into()),
            "fault" => return Err(fault!("no key {}", 5)),
            "lead" => {
                req.set_path("/elsewhere");
                req.clear_route_cache();
            }
            "question mark" => {
                "x".parse::<u32>()?;
            }
            _ => {}
        }
        req.ext::<Seen>().user = req.query("user").unwrap_or_default();
        req.set_consumer("ada");
        Ok(())
    }

    fn response(&self, res: &mut Response) -> Result {
        res.headers().set("x-user", &res.ext::<Seen>().user);
        res.headers().set("x-path", res.request().path());
        if self.answer == "replace" {
            res.replace(Reply::text(451, "gone"));
        }
        Ok(())
    }

    fn done(&self, end: &End) {
        let (method, path, status) = (end.method(), end.path(), end.status());
        info!("{method} {path} {status} {} {} {}", end.request_size(), end.response_size(), end.details());
        assert_eq!(end.consumer(), end.property_str(&["consumer"]));
        print_line(&format!("user={}", end.ext::<Seen>().user));
    }
}

fn gate(answer: &str) -> Harness<Gate> {
    Harness::new(json!({ "answer": answer })).unwrap()
}

#[test]
fn a_filter_has_the_route_chosen_again() {
    let led = gate("lead").get("/").send();
    assert_eq!(led.upstream_request().unwrap().header(":path"), Some("/elsewhere"));
    assert!(led.cleared_route_cache());
    assert!(!gate("").get("/").send().cleared_route_cache());
}

#[test]
fn what_passes_reaches_the_upstream_and_the_state_of_a_request_reaches_its_end() {
    let out = gate("").post("/a?user=eve%21").body("12345").upstream_reply(TestReply::new(201).body("abc")).send();
    assert!(out.reached_upstream());
    assert_eq!((out.status(), out.text().as_str()), (201, "abc"));
    assert_eq!((out.header("x-user"), out.header("x-path")), (Some("eve!"), Some("/a?user=eve%21")));
    assert_eq!(out.consumer(), Some("ada"));
    assert_eq!(out.printed(), ["user=eve!"]);
    assert!(out.logs()[0].starts_with("info: sdk/tests/phases.rs:"), "{:?}", out.logs());
    assert!(out.logs()[0].trim_end().ends_with(": POST /a?user=eve%21 201 5 3"), "{:?}", out.logs());
}

#[test]
fn a_reply_answers_the_client_through_the_response_phase() {
    let out = gate("bail").get("/secret?x=1").send();
    assert!(!out.reached_upstream());
    assert_eq!(out.status(), 403);
    assert_eq!(out.header("content-type"), Some("application/problem+json"));
    assert_eq!(out.text(), r#"{"title":"Forbidden","status":403,"detail":"not for /secret"}"#);
    assert_eq!(out.details(), "not for /secret");
    assert_eq!(out.header("x-path"), Some("/secret?x=1"));
}

#[test]
fn replies_have_the_shape_they_were_given() {
    let out = gate("reply").get("/").send();
    assert_eq!((out.status(), out.text().as_str(), out.header("x-tea")), (418, "short and stout", Some("green")));
    let out = gate("redirect").get("/").send();
    assert_eq!((out.status(), out.header("location")), (308, Some("https://example.org/")));
    let out = gate("unauthorized").get("/").send();
    assert_eq!((out.status(), out.header("www-authenticate")), (401, Some("Bearer")));
    let out = gate("json").get("/").send();
    assert_eq!((out.status(), out.json::<Json>()), (202, json!({ "id": 7 })));
}

#[test]
fn any_other_error_is_a_fault_that_the_client_learns_nothing_of() {
    let out = gate("fault").get("/").send();
    assert_eq!((out.status(), out.fault(), out.text().as_str()), (503, Some("no key 5"), ""));
    let out = gate("question mark").get("/").send();
    assert_eq!(out.fault(), Some("invalid digit found in string"));
}

#[test]
fn in_other_hosts_a_fault_is_logged_and_answered_with_500() {
    let out = gate("fault").without_extensions().get("/").send();
    assert_eq!(out.status(), 500);
    assert!(out.logs().contains(&"error: no key 5".to_owned()), "{:?}", out.logs());
    assert!(!out.text().contains("key"));
}

#[test]
fn in_other_hosts_printed_lines_are_logged() {
    let out = gate("").without_extensions().get("/").send();
    assert!(out.logs().contains(&"info: user=".to_owned()), "{:?}", out.logs());
}

#[test]
fn a_response_can_be_replaced() {
    let out = gate("replace").get("/").upstream_reply(TestReply::new(200).body("secret")).send();
    assert_eq!((out.status(), out.text().as_str()), (451, "gone"));
}

#[derive(Config)]
struct Headers_;

#[filter]
impl Filter for Headers_ {
    fn request(&self, req: &mut Request) -> Result {
        let headers = req.headers();
        assert_eq!(headers.get_all("x-many").len(), 2);
        assert_eq!(headers.get("x-bytes").unwrap().as_bytes(), b"\xff\xfe");
        assert_eq!(headers.get_str("x-bytes"), None);
        assert_eq!(headers.get("x-bytes").unwrap().to_string_lossy(), "\u{fffd}\u{fffd}");
        assert!(headers.contains("X-Many") && !headers.contains("x-none"));
        headers.set("x-many", "c");
        headers.append("x-new", "1");
        headers.append("x-new", "2");
        headers.remove("x-bytes");
        assert_eq!(req.bearer().as_deref(), Some("t0k"));
        assert_eq!(req.client_ip().unwrap().to_string(), "2001:db8::7");
        assert_eq!(req.property_str(&["tls", "sni"]).as_deref(), Some("a.example"));
        assert_eq!(req.query_pairs(), [("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        assert_eq!((req.method(), req.scheme(), req.authority()), ("GET".into(), "http".into(), "api.example".into()));
        assert!(req.id().starts_with("test-"));
        req.set_method("HEAD");
        req.set_path("/v2");
        req.set_authority("other.example");
        Ok(())
    }

    fn response(&self, res: &mut Response) -> Result {
        res.set_status(res.status() + 1);
        // Too late, and harmless.
        res.request().headers().set("x-late", "1");
        Ok(())
    }
}

#[test]
fn headers_are_bytes_and_may_repeat() {
    let gateway =
        Harness::<Headers_>::new(json!({})).unwrap().client_ip("2001:db8::7").property(&["tls", "sni"], b"a.example");
    let request = gateway.get("/a?a=1&b").header("host", "api.example").header("x-many", "a").header("x-many", "b");
    let out = request.header("x-bytes", b"\xff\xfe").bearer("t0k").send();
    let received = out.upstream_request().unwrap();
    let many: Vec<_> = received.headers.iter().filter(|(name, _)| name == "x-many").collect();
    assert_eq!(many, [&("x-many".to_owned(), "c".to_owned())]);
    assert_eq!(received.headers.iter().filter(|(name, _)| name == "x-new").count(), 2);
    assert_eq!((received.header("x-bytes"), received.header("x-late")), (None, None));
    assert_eq!((received.method.as_str(), received.path.as_str()), ("HEAD", "/v2"));
    assert_eq!(received.header(":authority"), Some("other.example"));
    assert_eq!(out.status(), 201);
}
