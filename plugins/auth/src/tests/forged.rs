//! Tokens and keys that must not pass.

use serde_json::{Value, json};
use sluicegate_sdk::test::Harness;

use super::tokens::{
    FAR, RS256, RSA_PEM, SECRET, decode, ed25519_jwk, eddsa, encode, es256, hs256, p256_jwk, signed, token,
    with_signature,
};
use super::{auth, bearer, who};
use crate::Auth;

fn with(key: &Value) -> Harness<Auth> {
    auth(json!({"jwt": {"keys": [key]}}))
}
fn set(keys: &[Value]) -> Harness<Auth> {
    with(&json!({"jwks": {"keys": keys}}))
}
fn claims() -> Value {
    json!({"sub": "alice", "exp": FAR})
}
/// Why a token is refused.
fn reason(harness: &Harness<Auth>, text: &str) -> String {
    let out = bearer(harness, text);
    assert_eq!(who(&out), Err(401), "{text}");
    out.details().to_owned()
}
/// Every kind of key with a token of its own.
fn pairs() -> [(Harness<Auth>, String); 4] {
    [
        (with(&json!({"secret": SECRET})), token(&claims())),
        (with(&json!({"pem": RSA_PEM})), RS256.to_owned()),
        (set(&[p256_jwk(1, "e1")]), es256(&json!({"alg": "ES256"}), &claims(), 1)),
        (set(&[ed25519_jwk(1, "d1")]), eddsa(&json!({"alg": "EdDSA"}), &claims(), 1)),
    ]
}

#[test]
fn every_algorithm_verifies_its_own_signatures_only() {
    let pairs = pairs();
    for (harness, own) in &pairs {
        // Twice: the second time it may be remembered.
        assert_eq!([who(&bearer(harness, own)), who(&bearer(harness, own))], [Ok(Some("alice")); 2]);
        for (_, other) in pairs.iter().filter(|(_, other)| other != own) {
            assert_eq!(reason(harness, other), "unknown_key");
        }
    }
}

#[test]
fn one_changed_bit_is_one_too_many() {
    let forged = encode(json!({"sub": "admin", "exp": FAR}).to_string());
    for (harness, text) in pairs() {
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(reason(&harness, &[parts[0], &forged, parts[2]].join(".")), "signature");
        let signature = decode(parts[2]);
        let mut flipped = signature.clone();
        flipped[5] ^= 1;
        let (short, long) = (&signature[1..], [signature.as_slice(), &[0]].concat());
        for wrong in [&[][..], &[0], short, &long, &vec![0; signature.len()], &flipped] {
            reason(&harness, &with_signature(&[parts[0], parts[1]].join("."), wrong));
        }
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let rsa = auth(json!({"jwt": {"keys": [{"pem": RSA_PEM}], "algorithms": ["HS256", "RS256"]}}));
    for secret in [RSA_PEM, RSA_PEM.trim()] {
        let forged = hs256(&json!({"alg": "HS256", "kid": "r1"}), &claims(), secret.as_bytes());
        assert_eq!(reason(&rsa, &forged), "unknown_key");
    }
}

#[test]
fn unsigned_tokens_are_refused_however_they_are_spelled() {
    for name in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "ES256K"] {
        let unsigned = signed(&json!({"alg": name}), &claims());
        for (harness, _) in pairs() {
            assert_eq!(reason(&harness, &format!("{unsigned}.")), "malformed");
            assert_eq!(reason(&harness, &with_signature(&unsigned, b"x")), "malformed");
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let harness = with(&json!({"secret": SECRET}));
    let good = token(&claims());
    for text in [".", "..", "...", "a.b", &format!("{good}."), &format!("{good}="), &good.replace('.', "..")] {
        reason(&harness, text);
    }
    assert_eq!(reason(&harness, &token(&json!({"exp": FAR, "a": "x".repeat(20_000)}))), "malformed");
    for no_claims in [json!([]), json!(5), json!(null), json!("x")] {
        reason(&auth(json!({"jwt": {"keys": [{"secret": SECRET}], "required_claims": []}})), &token(&no_claims));
    }
}

#[test]
fn a_key_is_chosen_by_its_name_and_the_name_is_only_compared() {
    let both = set(&[p256_jwk(1, "e1"), p256_jwk(2, "e2")]);
    let named = |key_id: &str, seed| es256(&json!({"alg": "ES256", "kid": key_id}), &claims(), seed);
    assert!(who(&bearer(&both, &named("e1", 1))).is_ok() && who(&bearer(&both, &named("e2", 2))).is_ok());
    assert_eq!(reason(&both, &named("e2", 1)), "signature");
    for name in ["../../etc/passwd", "https://evil.example/keys", "' OR 1=1 --", ""] {
        assert_eq!(reason(&both, &named(name, 1)), "unknown_key");
    }
    assert!(who(&bearer(&both, &es256(&json!({"alg": "ES256"}), &claims(), 2))).is_ok());
}

#[test]
fn a_key_inside_the_token_is_not_read() {
    let header =
        json!({"alg": "ES256", "jwk": p256_jwk(9, "x"), "jku": "https://evil.example", "x5u": "https://evil.example"});
    assert_eq!(reason(&set(&[p256_jwk(1, "e1")]), &es256(&header, &claims(), 9)), "signature");
}

#[test]
fn keys_that_could_not_protect_anything_are_passed_over() {
    let changed = |name: &str, value: Value| {
        let mut key = p256_jwk(1, "a");
        key[name] = value;
        key
    };
    let unusable = [
        changed("use", json!("enc")),
        changed("key_ops", json!(["sign"])),
        changed("alg", json!("ES256K")),
        changed("alg", json!("HS256")),
        changed("x", json!(encode([1; 32]))),
        changed("x", json!("AA")),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        json!({"kty": "RSA", "n": encode([0xff; 128]), "e": "AQAB"}),
        json!({"kty": "oct", "k": encode("short")}),
        json!({}),
        json!(5),
    ];
    for key in &unusable {
        assert!(Harness::<Auth>::new(json!({"jwt": {"keys": [{"jwks": {"keys": [key]}}]}})).is_err(), "{key}");
    }
    let mut keys = unusable.to_vec();
    keys.push(p256_jwk(2, "good"));
    assert!(who(&bearer(&set(&keys), &es256(&json!({"alg": "ES256", "kid": "good"}), &claims(), 2))).is_ok());
}

#[test]
fn issuer_audience_and_dates_are_compared_exactly() {
    let harness = auth(json!({"jwt": {
        "keys": [{"secret": SECRET}], "issuer": ["https://a.example", "https://b.example"], "audience": ["api", "api2"]
    }}));
    let good = json!({"iss": "https://b.example", "aud": ["x", "api"], "exp": FAR});
    assert!(who(&bearer(&harness, &token(&good))).is_ok());
    for (name, value, refusal) in [
        ("iss", json!("https://a.example/"), "issuer"),
        ("iss", json!(["https://a.example"]), "issuer"),
        ("iss", json!(null), "issuer"),
        ("aud", json!("ap"), "audience"),
        ("aud", json!([]), "audience"),
        ("aud", json!({"api": 1}), "audience"),
        ("aud", json!(null), "audience"),
        ("exp", json!("4102444800"), "claims"),
        ("exp", json!(-1), "expired"),
        ("nbf", json!(true), "claims"),
    ] {
        let mut claims = good.clone();
        claims[name] = value;
        assert_eq!(reason(&harness, &token(&claims)), refusal, "{claims}");
    }
}
