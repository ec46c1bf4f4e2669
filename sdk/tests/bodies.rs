//! Bodies: whole, streamed, replaced; in any number of pieces, with and without trailers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{CallReply, Harness, TestReply};

#[derive(Config)]
struct Editor {
    service: Upstream,
    how: String,
}

async fn shout(req: &mut Request) -> Result {
    while let Some(chunk) = req.chunk().await? {
        let loud = chunk.to_ascii_uppercase();
        req.write(loud);
    }
    req.write("!");
    Ok(())
}

#[filter(request_body)]
impl Filter for Editor {
    async fn request(&self, req: &mut Request) -> Result {
        match self.how.as_str() {
            "whole" => {
                let body = req.body().await?;
                req.headers().set("x-size", body.len().to_string());
            }
            "json" => {
                let number: u32 = req.json().await?;
                req.set_json(&json!({ "number": number }))?;
            }
            "whole, then call" => {
                let body = req.body().await?;
                let answer = self.service.post("/scan").body(body).await?;
                ensure!(answer.status() == 200, 422, "refused");
                req.set_body(answer.bytes().clone());
            }
            "call, then whole" => {
                self.service.get("/").await?;
                let body = req.body().await?;
                req.set_body([&body[..], b"."].concat());
            }
            "replace" => req.set_body("new"),
            "call, then shout" => {
                self.service.get("/").await?;
                shout(req).await?;
            }
            "shout" => shout(req).await?,
            "shout, calling" => {
                while let Some(chunk) = req.chunk().await? {
                    let loud = self.service.post("/").body(chunk).await?;
                    req.write(loud.bytes().clone());
                }
            }
            "first chunk" => {
                if let Some(chunk) = req.chunk().await? {
                    req.write("[");
                    req.write(chunk);
                    req.write("]");
                }
            }
            "copy" => {
                while let Some(chunk) = req.chunk().await? {
                    req.write(chunk);
                }
            }
            "drop" => while req.chunk().await?.is_some() {},
            "too late" => {
                req.chunk().await?;
                req.set_body("late");
            }
            "refuse" => {
                while let Some(chunk) = req.chunk().await? {
                    ensure!(!chunk.contains(&b'x'), 400, "no x");
                    req.write(chunk);
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn response(&self, res: &mut Response) -> Result {
        match self.how.as_str() {
            "json" => {
                let body: Json = res.json().await?;
                res.set_json(&json!([body]))?;
            }
            "replace" => res.set_body("novel"),
            "shout" => {
                while let Some(chunk) = res.chunk().await? {
                    res.write(chunk.to_ascii_uppercase());
                }
            }
            "whole" => {
                let size = res.body().await?.len();
                res.headers().set("x-size", size.to_string());
            }
            _ => {}
        }
        Ok(())
    }
}

fn editor(how: &str) -> Harness<Editor> {
    let editor = Harness::new(json!({ "service": "service", "how": how })).unwrap();
    editor.upstream("service", |call| CallReply::new(200).body(call.text().to_uppercase()))
}

/// Sends `body` in every way, and asserts what the upstream gets.
fn assert_becomes(how: &str, body: &'static str, expected: &str) {
    for extensions in [true, false] {
        for pieces in [0, 1, 2, 3, 5] {
            for trailers in [false, true] {
                let editor = if extensions { editor(how) } else { editor(how).without_extensions() };
                let request = editor.post("/").body(body).chunked(pieces);
                let out = if trailers { request.trailers() } else { request }.send();
                let context =
                    format!("{how}: {pieces} pieces, trailers {trailers}, extensions {extensions}: {:?}", out.logs());
                let received = out.upstream_request().unwrap_or_else(|| panic!("{context}"));
                if trailers && !extensions && expected.ends_with('!') {
                    // In other hosts nothing can be added once the last chunk has left.
                    assert!(
                        out.logs()[0].ends_with("what was written after the end of the request body is lost"),
                        "{context}"
                    );
                    continue;
                }
                assert_eq!(received.text(), expected, "{context}");
                if let Some(length) = received.header("content-length") {
                    assert_eq!(length, expected.len().to_string(), "{context}");
                }
            }
        }
    }
}

#[test]
fn a_whole_body_is_there_however_it_comes() {
    assert_becomes("whole", "hello world", "hello world");
    for pieces in [0, 1, 3, 11] {
        let reply = TestReply::new(200).body("response").chunked(pieces);
        let out = editor("whole").post("/").body("hello world").chunked(pieces).upstream_reply(reply).send();
        assert_eq!(out.upstream_request().unwrap().header("x-size"), Some("11"));
        assert_eq!((out.header("x-size"), out.text().as_str()), (Some("8"), "response"));
    }
    let out = editor("whole").get("/").send();
    assert_eq!(out.upstream_request().unwrap().header("x-size"), Some("0"));
}

#[test]
fn json_is_read_and_set_both_ways() {
    let out = editor("json").post("/").body("42").upstream_reply(TestReply::json(200, json!("x")).chunked(2)).send();
    assert_eq!(out.upstream_request().unwrap().text(), r#"{"number":42}"#);
    assert_eq!(out.upstream_request().unwrap().header("content-length"), Some("13"));
    assert_eq!((out.text().as_str(), out.header("content-length")), (r#"["x"]"#, Some("5")));
}

#[test]
fn bad_json_is_400_in_a_request_and_a_fault_in_a_response() {
    let out = editor("json").post("/").body("\"x\"").send();
    assert_eq!(out.status(), 400);
    assert!(out.details().starts_with("request body: invalid type: string \"x\", expected u32"), "{}", out.details());
    let out = editor("json").post("/").body("1").upstream_reply(TestReply::new(200).body("{")).send();
    assert_eq!(out.status(), 503);
    assert!(out.fault().unwrap().starts_with("response body: EOF while parsing"), "{:?}", out.fault());
}

#[test]
fn bodies_and_callouts_can_be_awaited_in_any_order() {
    assert_becomes("whole, then call", "abc", "ABC");
    assert_becomes("call, then whole", "abcdef", "abcdef.");
    assert_becomes("call, then shout", "abcdef", "ABCDEF!");
    assert_becomes("shout, calling", "abcdef", "ABCDEF");
}

#[test]
fn a_body_is_held_while_a_slow_callout_is_awaited() {
    for how in ["call, then whole", "call, then shout"] {
        let editor = Harness::<Editor>::new(json!({ "service": "service", "how": how })).unwrap();
        let editor = editor.upstream("service", |_| CallReply::new(200).delay(Duration::from_secs(1)));
        let out = editor.post("/").body("abcdef").chunked(3).send();
        let expected = if how.ends_with("whole") { "abcdef." } else { "ABCDEF!" };
        assert_eq!(out.upstream_request().unwrap().text(), expected);
    }
}

#[test]
fn a_body_can_be_replaced_without_being_read() {
    assert_becomes("replace", "something else", "new");
    let out = editor("replace").post("/").body("abc").upstream_reply(TestReply::new(200).body("old").chunked(2)).send();
    assert_eq!((out.text().as_str(), out.header("content-length")), ("novel", Some("5")));
}

#[test]
fn a_message_without_a_body_can_be_given_one_where_the_host_can() {
    let out = editor("replace").get("/").send();
    assert_eq!(out.upstream_request().unwrap().text(), "new");
    let out = editor("replace").without_extensions().get("/").send();
    assert_eq!(out.upstream_request().unwrap().text(), "");
    assert!(out.logs().iter().any(|line| line.contains("cannot give a body")), "{:?}", out.logs());
}

#[test]
fn chunks_are_edited_as_they_stream() {
    assert_becomes("shout", "abcdef", "ABCDEF!");
    for pieces in [0, 1, 2, 3, 5] {
        let reply = TestReply::new(200).body("response").chunked(pieces);
        let out = editor("shout").post("/").body("abcdef").chunked(pieces).upstream_reply(reply).send();
        assert_eq!(out.upstream_request().unwrap().text(), "ABCDEF!");
        assert_eq!(out.text(), "RESPONSE");
    }
    assert_becomes("copy", "abcdef", "abcdef");
    assert_becomes("drop", "abcdef", "");
}

#[test]
fn when_the_function_returns_the_rest_passes() {
    let out = editor("first chunk").post("/").body("abcdef").chunked(3).send();
    assert_eq!(out.upstream_request().unwrap().text(), "[ab]cdef");
}

#[test]
fn a_request_can_be_refused_while_it_streams() {
    let out = editor("refuse").post("/").body("abcxyz").chunked(3).send();
    assert_eq!((out.status(), out.details()), (400, "no x"));
}

#[test]
fn a_body_that_is_too_large_is_413_when_it_is_held() {
    let large = vec![b'a'; 2 << 20];
    let out = editor("whole").post("/").body(large.clone()).chunked(8).send();
    assert_eq!(out.status(), 413);
    let out = editor("copy").post("/").body(large).chunked(8).send();
    assert_eq!(out.upstream_request().unwrap().body.len(), 2 << 20);
}

#[test]
fn setting_a_body_whose_head_has_left_is_a_fault() {
    let out = editor("too late").post("/").body("abc").send();
    assert_eq!(out.fault(), Some("the request body was set after its head had left"));
}

#[derive(Config)]
struct Hidden;

#[filter]
impl Filter for Hidden {
    async fn request(&self, req: &mut Request) -> Result {
        shout(req).await
    }
}

#[test]
fn a_body_that_the_macro_could_not_see_is_a_fault_that_says_what_to_write() {
    let out = Harness::<Hidden>::new(json!({})).unwrap().post("/").body("x").send();
    let fault = out.fault().unwrap();
    assert!(fault.ends_with("write #[filter(request_body)]"), "{fault}");
}
