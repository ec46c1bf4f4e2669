//! Key sets that are fetched.

use std::cell::RefCell;
use std::rc::Rc;

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{CallReply, Harness};

use super::tokens::{FAR, SECRET, es256, hs256, p256_jwk};
use super::{auth, who};
use crate::Auth;

/// An issuer whose answer can be changed.
type Issuer = Rc<RefCell<CallReply>>;

fn serving(seeds: &[u8]) -> CallReply {
    let keys: Vec<Json> = seeds.iter().map(|seed| p256_jwk(*seed, &format!("k{seed}"))).collect();
    CallReply::json(200, json!({"keys": keys}))
}
fn down() -> CallReply {
    CallReply::new(503)
}
fn remote(reply: CallReply) -> (Harness<Auth>, Issuer) {
    let issuer = Rc::new(RefCell::new(reply));
    let handler = Rc::clone(&issuer);
    let harness = auth(json!({"jwt": {"jwks": {"upstream": "idp", "path": "/keys", "refresh": "5m"}}}));
    (harness.upstream("idp", move |_| handler.borrow().clone()), issuer)
}
/// A token of the key made of `seed`, and who it lets in.
fn visit(harness: &Harness<Auth>, seed: u8) -> Result<(), u16> {
    let text = es256(&json!({"alg": "ES256", "kid": format!("k{seed}")}), &json!({"sub": "alice", "exp": FAR}), seed);
    who(&harness.get("/a").bearer(&text).send()).map(|consumer| assert_eq!(consumer, Some("alice")))
}

#[test]
fn the_schema_names_the_upstream_so_that_it_is_granted() {
    let forms = Harness::<Auth>::schema()["properties"]["jwt"]["anyOf"].clone();
    let upstream = "properties/jwks/properties/upstream/format";
    for path in [format!("/0/{upstream}"), format!("/1/items/{upstream}")] {
        assert_eq!(forms.pointer(&path), Some(&json!("sluicegate-upstream")), "{path}");
    }
}

#[test]
fn keys_are_fetched_at_the_start_and_kept() {
    let (harness, _) = remote(serving(&[1]));
    assert_eq!([visit(&harness, 1), visit(&harness, 1)], [Ok(()), Ok(())]);
    let calls = harness.calls("idp");
    assert_eq!((calls.len(), calls[0].method.as_str(), calls[0].path.as_str()), (1, "GET", "/keys"));
}

#[test]
fn keys_are_fetched_again_by_the_timer() {
    let (harness, issuer) = remote(serving(&[1]));
    assert_eq!(visit(&harness, 1), Ok(()));
    *issuer.borrow_mut() = serving(&[2]);
    harness.advance(Duration::from_secs(301));
    assert_eq!(harness.calls("idp").len(), 2);
    // The old key has gone, and what it signed is not remembered.
    assert_eq!([visit(&harness, 2), visit(&harness, 1)], [Ok(()), Err(401)]);
}

#[test]
fn a_new_key_is_fetched_when_a_token_asks_for_it() {
    let (harness, issuer) = remote(serving(&[1]));
    assert_eq!(visit(&harness, 1), Ok(()));
    *issuer.borrow_mut() = serving(&[1, 2]);
    harness.advance(Duration::from_secs(11));
    assert_eq!(visit(&harness, 2), Ok(()));
    assert_eq!(harness.calls("idp").len(), 2);
}

#[test]
fn a_flood_of_unknown_keys_causes_few_fetches() {
    let (harness, _) = remote(serving(&[1]));
    assert!((10..60).all(|seed| visit(&harness, seed) == Err(401)));
    assert_eq!(harness.calls("idp").len(), 1);
    harness.advance(Duration::from_secs(11));
    assert!((10..60).all(|seed| visit(&harness, seed) == Err(401)));
    assert_eq!(harness.calls("idp").len(), 2);
}

#[test]
fn old_keys_go_on_serving_while_the_issuer_is_away() {
    let (harness, issuer) = remote(serving(&[1]));
    assert_eq!(visit(&harness, 1), Ok(()));
    for reply in
        [down(), CallReply::lost(), CallReply::json(200, json!({"keys": []})), CallReply::new(200).body("<html>")]
    {
        *issuer.borrow_mut() = reply;
        harness.advance(Duration::from_secs(301));
        assert_eq!(visit(&harness, 1), Ok(()));
    }
    assert!(harness.metric("jwks_failures") >= 4);
    assert!(
        harness.logs().iter().any(|line| line.contains("idp/keys") && line.contains("1 older")),
        "{:?}",
        harness.logs()
    );
}

#[test]
fn without_any_keys_it_is_a_fault_and_not_the_clients() {
    let (harness, issuer) = remote(down());
    assert_eq!(visit(&harness, 1), Err(503));
    *issuer.borrow_mut() = serving(&[1]);
    harness.advance(Duration::from_secs(11));
    assert_eq!(visit(&harness, 1), Ok(()));
}

#[test]
fn a_published_secret_is_none() {
    let oct = json!({"kty": "oct", "kid": "s", "k": super::tokens::encode(SECRET)});
    let (harness, _) = remote(CallReply::json(200, json!({"keys": [oct, p256_jwk(1, "k1")]})));
    assert_eq!(visit(&harness, 1), Ok(()));
    let forged = hs256(&json!({"alg": "HS256", "kid": "s"}), &json!({"sub": "root", "exp": FAR}), SECRET.as_bytes());
    assert_eq!(who(&harness.get("/a").bearer(&forged).send()), Err(401));
}

#[test]
fn a_slow_issuer_is_waited_for() {
    let (harness, _) = remote(serving(&[1]).delay(Duration::from_secs(2)));
    assert_eq!(visit(&harness, 1), Ok(()));
    assert_eq!(harness.calls("idp").len(), 1);
}
