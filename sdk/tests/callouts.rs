//! Awaiting: callouts, timers, several at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::future::{Future, IntoFuture};

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{CallReply, Harness, TestReply};

#[derive(Config)]
struct Caller {
    a: Upstream,
    b: Upstream,
    how: String,
}

#[filter]
impl Filter for Caller {
    async fn request(&self, req: &mut Request) -> Result {
        match self.how.as_str() {
            "chain" => {
                let first: String = self.a.get("/one?x=1").header("x-id", req.id()).await?.json()?;
                let second = self.b.post("/two").json(&json!({ "first": first })).await?;
                req.headers().set("x-second", second.status().to_string());
                req.headers().set("x-type", second.header("Content-Type").unwrap());
            }
            "join" => {
                let before = now();
                let (a, b) = join(self.a.get("/a"), self.b.get("/b")).await;
                let took = now().duration_since(before)?;
                req.headers().set("x-join", format!("{} {} {}", a?.status(), b?.status(), took.as_millis()));
            }
            "join_all" => {
                let answers = join_all((0..3).map(|index| self.a.get(&format!("/{index}")))).await;
                let bodies: Result<Vec<_>> = answers.into_iter().map(|answer| Ok(answer?.bytes().clone())).collect();
                req.headers().set("x-all", bodies?.concat());
            }
            "form" => {
                self.a.post("/form").form(&[("a", "1 2"), ("b", "&")]).authority("idp.example").await?;
            }
            "timeout" => {
                let answer = self.a.get("/slow").timeout(Duration::from_millis(50)).await?;
                ensure!(answer.is_success(), 504, "slow: {}", answer.status());
            }
            "sleep" => {
                let before = now();
                sleep(Duration::from_millis(250)).await;
                req.headers().set("x-slept", now().duration_since(before)?.as_millis().to_string());
            }
            "stranger" => {
                Upstream::new("nobody").get("/").await?;
            }
            "forgotten" => {
                // Whoever is first wins; the other answer comes to nobody.
                let mut call = std::pin::pin!(self.a.get("/").into_future());
                let mut nap = std::pin::pin!(sleep(Duration::from_millis(10)));
                std::future::poll_fn(|context| {
                    assert!(call.as_mut().poll(context).is_pending());
                    nap.as_mut().poll(context)
                })
                .await;
            }
            _ => std::future::pending::<()>().await,
        }
        Ok(())
    }

    async fn response(&self, res: &mut Response) -> Result {
        if self.how == "chain" {
            let answer = self.a.get("/on-response").await?;
            res.headers().set("x-answer", answer.status().to_string());
        }
        Ok(())
    }
}

fn caller(how: &str) -> Harness<Caller> {
    Harness::new(json!({ "a": "a", "b": "b", "how": how })).unwrap()
}

#[test]
fn one_callout_after_the_other_and_both_phases_await() {
    let gateway = caller("chain")
        .upstream("a", |_| CallReply::json(200, json!("uno")))
        .upstream("b", |call| CallReply::json(201, call.json()));
    let out = gateway.get("/").send();
    assert_eq!(out.upstream_request().unwrap().header("x-second"), Some("201"));
    assert_eq!(out.upstream_request().unwrap().header("x-type"), Some("application/json"));
    assert_eq!(out.header("x-answer"), Some("200"));
    let first = out.calls("a")[0];
    assert_eq!(
        (first.method.as_str(), first.path.as_str(), first.header(":authority")),
        ("GET", "/one?x=1", Some("a"))
    );
    assert!(first.header("x-id").unwrap().starts_with("test-"));
    let second = out.calls("b")[0];
    assert_eq!((second.method.as_str(), second.text().as_str()), ("POST", r#"{"first":"uno"}"#));
}

#[test]
fn two_callouts_take_as_long_as_the_longer() {
    let gateway = caller("join")
        .upstream("a", |_| CallReply::new(200).delay(Duration::from_millis(300)))
        .upstream("b", |_| CallReply::new(404).delay(Duration::from_millis(100)));
    let out = gateway.get("/").send();
    assert_eq!(out.upstream_request().unwrap().header("x-join"), Some("200 404 300"));
}

#[test]
fn many_callouts_keep_their_order() {
    let delays = Cell::new(30);
    let gateway = caller("join_all").upstream("a", move |call| {
        delays.set(delays.get() - 10);
        CallReply::new(200).body(call.path.clone()).delay(Duration::from_millis(delays.get()))
    });
    assert_eq!(gateway.get("/").send().upstream_request().unwrap().header("x-all"), Some("/0/1/2"));
}

#[test]
fn forms_are_encoded_and_the_authority_can_be_set() {
    let out = caller("form").upstream("a", |_| CallReply::new(204)).get("/").send();
    let call = out.calls("a")[0];
    assert_eq!(call.text(), "a=1+2&b=%26");
    assert_eq!(call.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(call.header(":authority"), Some("idp.example"));
}

#[test]
fn a_callout_that_takes_too_long_is_504() {
    let out = caller("timeout").upstream("a", |_| CallReply::new(200).delay(Duration::from_secs(1))).get("/").send();
    assert_eq!((out.status(), out.details()), (504, "slow: 504"));
}

#[test]
fn a_callout_without_any_response_is_a_fault() {
    let out = caller("timeout").upstream("a", |_| CallReply::lost()).get("/").send();
    assert_eq!(out.fault(), Some("callout to `a` got no response"));
}

#[test]
fn an_upstream_that_does_not_exist_is_a_fault_that_names_it() {
    let out = caller("stranger").get("/").send();
    assert_eq!(out.fault(), Some("callout to `nobody` refused: no such upstream, or not granted"));
}

#[test]
fn sleeping_waits_in_the_time_of_the_host() {
    let out = caller("sleep").get("/").send();
    assert_eq!(out.upstream_request().unwrap().header("x-slept"), Some("250"));
}

#[test]
fn an_answer_that_nobody_waits_for_is_dropped() {
    let gateway = caller("forgotten").upstream("a", |_| CallReply::new(200).delay(Duration::from_secs(1)));
    assert_eq!(gateway.get("/").send().status(), 200);
    gateway.advance(Duration::from_secs(2));
    assert_eq!(gateway.get("/").send().status(), 200);
}

#[test]
fn a_filter_that_waits_for_nothing_is_given_up() {
    let out = caller("for ever").get("/").upstream_reply(TestReply::new(200)).send();
    assert_eq!(out.status(), 504);
    assert!(out.logs()[0].contains("waits for nothing"));
}
