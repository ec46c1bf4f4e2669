//! `start`, `#[every]`, and sleeping beside them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::Cell;

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{CallReply, Harness};

#[derive(Config)]
struct Options {
    keys: Upstream,
    #[config(default = "1m")]
    period: Duration,
    #[config(default)]
    fail: String,
}

struct Keys {
    options: Options,
    generation: Cell<u32>,
    beats: Cell<u32>,
}

#[filter]
impl Filter for Keys {
    fn new(options: Options) -> Result<Self> {
        if options.fail == "new" {
            return Err(fault!("period must not be {:?}", options.period));
        }
        Ok(Self { options, generation: Cell::new(0), beats: Cell::new(0) })
    }

    async fn start(&self) -> Result {
        if self.options.fail == "start" {
            return Err(fault!("cannot start"));
        }
        self.fetch().await
    }

    #[every(self.options.period)]
    async fn refresh(&self) -> Result {
        self.fetch().await
    }

    #[every("10s")]
    fn beat(&self) {
        self.beats.set(self.beats.get() + 1);
    }

    async fn request(&self, req: &mut Request) -> Result {
        sleep(Duration::from_secs(1)).await;
        req.headers().set("x-generation", self.generation.get().to_string());
        req.headers().set("x-beats", self.beats.get().to_string());
        Ok(())
    }
}

impl Keys {
    async fn fetch(&self) -> Result {
        self.generation.set(self.options.keys.get("/keys").await?.json()?);
        Ok(())
    }
}

fn keys(config: Json) -> Harness<Keys> {
    let served = Cell::new(0);
    Harness::new(config).unwrap().upstream("keys", move |_| {
        served.set(served.get() + 1);
        CallReply::json(if served.get() == 3 { 500 } else { 200 }, json!(served.get()))
    })
}

fn seen(gateway: &Harness<Keys>) -> (String, String) {
    let out = gateway.get("/").send();
    let request = out.upstream_request().unwrap();
    let header = |name| request.header(name).unwrap().to_owned();
    (header("x-generation"), header("x-beats"))
}

#[test]
fn start_and_timers_run_beside_the_requests() {
    let gateway = keys(json!({ "keys": "keys", "period": "1m30s" }));
    assert_eq!(seen(&gateway), ("1".into(), "0".into()));
    gateway.advance(Duration::from_secs(30));
    assert_eq!(seen(&gateway), ("1".into(), "3".into()));
    gateway.advance(Duration::from_secs(60));
    assert_eq!(seen(&gateway), ("2".into(), "9".into()));
    assert_eq!(gateway.calls("keys").len(), 2);
}

#[test]
fn a_timer_that_fails_is_logged_and_runs_again() {
    let gateway = keys(json!({ "keys": "keys" }));
    gateway.advance(Duration::from_secs(125));
    assert_eq!(gateway.logs(), ["error: refresh: upstream `keys` answered 500"]);
    gateway.advance(Duration::from_secs(60));
    assert_eq!(seen(&gateway).0, "4");
}

#[test]
fn what_new_and_start_refuse_refuses_the_configuration() {
    let error = Harness::<Keys>::new(json!({ "keys": "keys", "fail": "new" })).unwrap_err();
    assert_eq!(error.to_string(), "configuration: period must not be 60s");
    let error = Harness::<Keys>::new(json!({ "keys": "keys", "fail": "start" })).unwrap_err();
    assert_eq!(error.to_string(), "configuration: cannot start");
}

#[test]
fn two_harnesses_on_one_thread_do_not_disturb_each_other() {
    let (one, two) = (keys(json!({ "keys": "keys" })), keys(json!({ "keys": "keys" })));
    one.advance(Duration::from_secs(60));
    assert_eq!(seen(&two).0, "1");
    assert_eq!(seen(&one).0, "2");
}
