//! Who is known, and may pass or not.

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{Harness, Outcome};

use super::tokens::{FAR, SECRET, hs256, token};
use super::{auth, bcrypt, bearer, who};
use crate::Auth;

fn requiring(require: &Json) -> Harness<Auth> {
    auth(json!({"jwt": {"keys": {"secret": SECRET}, "require": require}}))
}
fn claiming(harness: &Harness<Auth>, claims: &Json) -> Outcome {
    let mut all = json!({"sub": "alice", "exp": FAR});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    bearer(harness, &token(&all))
}

#[test]
fn claims_must_say_what_is_required() {
    let scope = json!({"scope": {"contains": "orders:read"}});
    let role = json!({"role": "admin"});
    let groups = json!({"groups": {"any": ["a", "b"]}});
    let verified = json!({"email_verified": true, "/realm/level": 2});
    for (require, claims, passes) in [
        (&scope, json!({"scope": "openid orders:read"}), true),
        (&scope, json!({"scope": ["openid", "orders:read"]}), true),
        (&scope, json!({"scope": "orders:readwrite"}), false),
        (&scope, json!({"scope": ["orders:read openid"]}), false),
        (&scope, json!({"scope": {"orders:read": true}}), false),
        (&scope, json!({}), false),
        (&role, json!({"role": "admin"}), true),
        (&role, json!({"role": "Admin"}), false),
        (&role, json!({"role": "not admin"}), false),
        (&role, json!({"role": ["admin"]}), false),
        (&groups, json!({"groups": ["x", "b"]}), true),
        (&groups, json!({"groups": "a"}), true),
        (&groups, json!({"groups": "a b"}), false),
        (&groups, json!({"groups": ["ab"]}), false),
        (&groups, json!({"groups": []}), false),
        (&verified, json!({"email_verified": true, "realm": {"level": 2}}), true),
        (&verified, json!({"email_verified": "true", "realm": {"level": 2}}), false),
        (&verified, json!({"email_verified": true}), false),
    ] {
        let expected = if passes { Ok(Some("alice")) } else { Err(403) };
        assert_eq!(who(&claiming(&requiring(require), &claims)), expected, "{require} {claims}");
    }
}

#[test]
fn who_is_known_and_may_not_pass_is_told_so_and_a_bad_token_is_not() {
    let harness = requiring(&json!({"scope": {"contains": "orders:read"}}));
    let out = claiming(&harness, &json!({"scope": "users:read"}));
    let problem = json!({"title": "Forbidden", "status": 403, "detail": "This is not allowed with this credential."});
    assert_eq!((out.status(), out.json::<Json>()), (403, problem));
    assert_eq!(out.header("content-type"), Some("application/problem+json"));
    assert_eq!(out.header("www-authenticate"), Some(r#"Bearer realm="api", error="insufficient_scope""#));
    assert_eq!((out.details(), out.metric("denied{reason=not_permitted}")), ("not_permitted", 1));
    let expired = claiming(&harness, &json!({"scope": "orders:read", "exp": 1}));
    assert_eq!((who(&expired), expired.details()), (Err(401), "expired"));
}

#[test]
fn consumers_of_every_kind_of_credential_are_allowed_by_name() {
    let harness = auth(json!({
        "api_keys": {"alice": "k1", "bob": "k2"}, "basic": {"users": {"carol": bcrypt("pw")}},
        "jwt": {"keys": [{"secret": SECRET}]}, "allow": ["alice", "dora"]
    }));
    let key = |key: &str| harness.get("/a").header("x-api-key", key).send();
    assert_eq!((who(&key("k1")), who(&key("k2")), who(&key("k3"))), (Ok(Some("alice")), Err(403), Err(401)));
    // carol:pw
    let carol = harness.get("/a").header("authorization", "Basic Y2Fyb2w6cHc=").send();
    assert_eq!((who(&carol), carol.details(), carol.header("www-authenticate")), (Err(403), "not_allowed", None));
    for (sub, expected) in [(json!("dora"), Ok(Some("dora"))), (json!("eve"), Err(403)), (json!(null), Err(403))] {
        assert_eq!(who(&claiming(&harness, &json!({"sub": sub}))), expected, "{sub}");
    }
}

#[test]
fn of_several_issuers_one_whose_conditions_hold_is_enough() {
    let issuer = |role: &str| json!({"keys": [{"secret": SECRET}], "require": {"role": role}});
    let other = json!({"keys": [{"secret": "another secret of thirty-two bytes"}]});
    let harness = auth(json!({"jwt": [issuer("reader"), issuer("writer"), other]}));
    let status = |role: &str| who(&claiming(&harness, &json!({"role": role}))).err();
    assert_eq!((status("reader"), status("writer"), status("guest")), (None, None, Some(403)));
    let unknown = hs256(&json!({"alg": "HS256"}), &json!({"role": "reader", "exp": FAR}), &[7; 32]);
    assert_eq!(who(&bearer(&harness, &unknown)), Err(401));
}

#[test]
fn conditions_that_mean_nothing_are_refused() {
    let jwt = |require: Json| json!({"jwt": {"keys": {"secret": SECRET}, "require": require}});
    for (config, hint) in [
        (jwt(json!({"scope": ["a"]})), "jwt.require.scope"),
        (jwt(json!({"scope": null})), "a condition is a value"),
        (jwt(json!({"scope": {"has": "a"}})), "has"),
        (jwt(json!({"scope": {"contains": "a", "any": ["b"]}})), "require.scope"),
        (jwt(json!({"scope": {"any": "a"}})), "any"),
        (json!({"api_keys": {"alice": "k"}, "allow": []}), "nobody could pass"),
        (json!({"api_keys": {"alice": "k"}, "allow": ["alcie"]}), "nobody is called \"alcie\""),
        (json!({"api_keys": {"alice": "k"}, "allow": ["alice"], "optional": true}), "optional"),
    ] {
        let error = Harness::<Auth>::new(config.clone()).map(|_| config).unwrap_err().to_string();
        assert!(error.contains(hint), "{hint}: {error}");
    }
}
