//! Shared state and metrics, on our host and on others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::Harness;

#[derive(Config)]
struct Limiter;

#[derive(Serialize, Deserialize)]
struct Note {
    text: String,
}

const HITS: Counter = Counter::new("hits").ttl(Duration::from_secs(60));
const NOTES: Kv<Note> = Kv::new("notes");

#[filter]
impl Filter for Limiter {
    fn request(&self, req: &mut Request) -> Result {
        let user = req.query("user").or_reply(400, "who?")?;
        let hits = HITS.add(&user, 1)?;
        req.headers().set("x-hits", hits.to_string());

        let decision = Window::gcra(2, Duration::from_secs(10), 0).take(&user, 1)?;
        if !decision.allowed {
            counter!("denied", reason = "rate", user = user).inc();
            let seconds = decision.retry_after.as_secs().to_string();
            return Err(Reply::problem(429, "Too Many Requests", "slow down").header("retry-after", seconds).into());
        }
        counter!("passed").add(2);
        gauge!("remaining").set(decision.remaining);
        histogram!("reset_seconds").record(decision.reset.as_secs());

        if let Some(note) = NOTES.get(&user)? {
            req.headers().set("x-note", note.text);
            NOTES.delete(&user)?;
        } else {
            NOTES.set(&user, &Note { text: format!("seen {user}") }, Duration::from_secs(30))?;
        }
        Ok(())
    }
}

fn hosts() -> [Harness<Limiter>; 2] {
    let limiter = || Harness::new(json!({})).unwrap();
    [limiter(), limiter().without_extensions()]
}

#[test]
fn counters_count_and_end() {
    for gateway in hosts() {
        let hits = |user: &str| {
            let out = gateway.get(&format!("/?user={user}")).send();
            out.upstream_request().map(|request| request.header("x-hits").unwrap().to_owned())
        };
        assert_eq!([hits("a"), hits("a"), hits("b")], ["1", "2", "1"].map(|hits| Some(hits.to_owned())));
        gateway.advance(Duration::from_secs(61));
        assert_eq!(hits("a").as_deref(), Some("1"));
    }
}

#[test]
fn a_rate_limit_denies_and_says_when_to_come_back() {
    for gateway in hosts() {
        let statuses: Vec<_> = (0..3).map(|_| gateway.get("/?user=a").send().status()).collect();
        assert_eq!(statuses, [200, 200, 429]);
        assert_eq!(gateway.get("/?user=b").send().status(), 200);
        gateway.advance(Duration::from_secs(3));
        let out = gateway.get("/?user=a").send();
        assert_eq!((out.status(), out.header("retry-after")), (429, Some("2")));
        gateway.advance(Duration::from_secs(2));
        assert_eq!(gateway.get("/?user=a").send().status(), 200);
    }
}

#[test]
fn values_are_stored_deleted_and_forgotten() {
    for gateway in hosts() {
        let note = || {
            let out = gateway.get("/?user=a").send();
            gateway.advance(Duration::from_secs(10));
            out.upstream_request().unwrap().header("x-note").map(str::to_owned)
        };
        assert_eq!([note(), note(), note()], [None, Some("seen a".to_owned()), None]);
        gateway.advance(Duration::from_secs(30));
        assert_eq!(note(), None);
    }
}

#[test]
fn metrics_have_labels_or_longer_names() {
    let [ours, other] = hosts();
    for _ in 0..4 {
        assert!([200, 429].contains(&ours.get("/?user=a").send().status()));
        assert!([200, 429].contains(&other.get("/?user=a").send().status()));
    }
    let out = ours.get("/?user=b").send();
    assert_eq!((out.metric("passed"), out.metric("denied"), out.metric("denied{reason=rate,user=a}")), (6, 2, 2));
    assert_eq!((out.metric("remaining"), out.metric("reset_seconds")), (1, 20));
    assert_eq!((ours.metric("passed"), ours.metric("denied"), ours.metric("nothing")), (6, 2, 0));
    assert_eq!(other.metric("denied.reason=rate.user=a"), 2);
}
