//! Keys against tokens: what verifies, and everything that must not.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{Expected, Key, Provider, Refusal, Token};
use crate::tests::tokens::{
    FAR, RS256, RSA_PEM, SECRET, decode, ed25519_jwk, eddsa, encode, es256, hs256, p256_jwk, signed, token,
    with_signature,
};

fn provider(keys: Vec<Key>) -> Provider {
    Provider { algorithms: keys.iter().map(Key::algorithm).collect(), keys, ..Provider::new(Expected::default()) }
}
fn set(keys: &[Value]) -> Provider {
    provider(Key::set(&json!({"keys": keys})).unwrap())
}
fn secret() -> Provider {
    provider(vec![Key::secret(SECRET.as_bytes()).unwrap()])
}
fn verdict(provider: &Provider, text: &str) -> Result<(), Refusal> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Token::parse(text).and_then(|token| provider.verify(&token, text, now))
}
fn claims() -> Value {
    json!({"sub": "alice", "exp": FAR})
}

#[test]
fn every_algorithm_verifies_its_own_signatures_only() {
    let pem = provider(vec![Key::pem(RSA_PEM).unwrap()]);
    let p256 = set(&[p256_jwk(1, "e1")]);
    let ed25519 = set(&[ed25519_jwk(1, "d1")]);
    let es = es256(&json!({"alg": "ES256", "kid": "e1"}), &claims(), 1);
    let ed = eddsa(&json!({"alg": "EdDSA", "kid": "d1"}), &claims(), 1);
    let hs = token(&claims());
    for (provider, own) in [(&secret(), hs.as_str()), (&pem, RS256), (&p256, es.as_str()), (&ed25519, ed.as_str())] {
        // Twice: the second time it is remembered.
        assert_eq!(verdict(provider, own), Ok(()));
        assert_eq!(verdict(provider, own), Ok(()));
        for other in [hs.as_str(), RS256, &es, &ed].into_iter().filter(|other| *other != own) {
            assert!(verdict(provider, other).is_err(), "{other}");
        }
    }
}

#[test]
fn one_changed_bit_is_one_too_many() {
    let es = es256(&json!({"alg": "ES256"}), &claims(), 1);
    let ed = eddsa(&json!({"alg": "EdDSA"}), &claims(), 1);
    let rsa = provider(vec![Key::pem(RSA_PEM).unwrap()]);
    let forged = encode(json!({"sub": "admin", "exp": FAR}).to_string());
    for (provider, text) in [
        (&secret(), token(&claims())),
        (&rsa, RS256.to_owned()),
        (&set(&[p256_jwk(1, "e1")]), es),
        (&set(&[ed25519_jwk(1, "d1")]), ed),
    ] {
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(verdict(provider, &text), Ok(()));
        assert_eq!(verdict(provider, &[parts[0], &forged, parts[2]].join(".")), Err(Refusal::Signature));
        let signature = decode(parts[2]);
        let mut flipped = signature.clone();
        flipped[5] ^= 1;
        let long = [signature.as_slice(), &[0]].concat();
        for wrong in [
            &[][..],
            &[0],
            &signature[1..],
            &signature[..signature.len() - 1],
            &long,
            &vec![0; signature.len()],
            &flipped,
        ] {
            let signed = [parts[0], parts[1]].join(".");
            assert_eq!(verdict(provider, &with_signature(&signed, wrong)), Err(Refusal::Signature), "{wrong:?}");
        }
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let rsa = provider(vec![Key::pem(RSA_PEM).unwrap()]);
    for secret in [RSA_PEM, RSA_PEM.trim()] {
        let forged = hs256(&json!({"alg": "HS256", "kid": "r1"}), &claims(), secret.as_bytes());
        assert_eq!(verdict(&rsa, &forged), Err(Refusal::Algorithm));
        // Even with HS256 allowed there is no key for it.
        let lax = Provider {
            algorithms: vec![super::Algorithm::Hs256, super::Algorithm::Rs256],
            ..provider(vec![Key::pem(RSA_PEM).unwrap()])
        };
        assert_eq!(verdict(&lax, &forged), Err(Refusal::UnknownKey));
    }
}

#[test]
fn unsigned_tokens_are_refused_however_they_are_spelled() {
    for name in ["none", "None", "NONE", "nOnE"] {
        let unsigned = signed(&json!({"alg": name}), &claims());
        assert_eq!(verdict(&secret(), &format!("{unsigned}.")), Err(Refusal::Algorithm));
        assert_eq!(verdict(&secret(), &with_signature(&unsigned, b"x")), Err(Refusal::Algorithm));
    }
}

#[test]
fn a_key_is_chosen_by_its_name_and_the_name_is_only_compared() {
    let both = set(&[p256_jwk(1, "e1"), p256_jwk(2, "e2")]);
    for (key_id, seed, outcome) in [
        (json!("e1"), 1, Ok(())),
        (json!("e2"), 2, Ok(())),
        (json!("e2"), 1, Err(Refusal::Signature)),
        (json!("../../etc/passwd"), 1, Err(Refusal::UnknownKey)),
        (json!("https://evil.example/keys"), 1, Err(Refusal::UnknownKey)),
        (json!("' OR 1=1 --"), 1, Err(Refusal::UnknownKey)),
        (json!(""), 1, Err(Refusal::UnknownKey)),
        (json!(["e1"]), 1, Err(Refusal::Malformed)),
    ] {
        let text = es256(&json!({"alg": "ES256", "kid": key_id}), &claims(), seed);
        assert_eq!(verdict(&both, &text), outcome, "{key_id}");
    }
    let unnamed = es256(&json!({"alg": "ES256"}), &claims(), 2);
    assert_eq!(verdict(&both, &unnamed), Ok(()));
}

#[test]
fn a_key_inside_the_token_is_not_read() {
    let header =
        json!({"alg": "ES256", "jwk": p256_jwk(9, "x"), "jku": "https://evil.example", "x5u": "https://evil.example"});
    assert_eq!(verdict(&set(&[p256_jwk(1, "e1")]), &es256(&header, &claims(), 9)), Err(Refusal::Signature));
}

#[test]
fn a_zero_signature_is_no_signature() {
    let unsigned = signed(&json!({"alg": "ES256"}), &claims());
    for zero in [vec![0; 64], vec![0; 63], [vec![0; 63], vec![1]].concat()] {
        assert_eq!(verdict(&set(&[p256_jwk(1, "e1")]), &with_signature(&unsigned, &zero)), Err(Refusal::Signature));
    }
}

#[test]
fn an_accepted_algorithm_is_one_of_the_configured() {
    let only_hs = Provider { algorithms: vec![super::Algorithm::Hs256], ..set(&[p256_jwk(1, "e1")]) };
    assert_eq!(verdict(&only_hs, &es256(&json!({"alg": "ES256"}), &claims(), 1)), Err(Refusal::Algorithm));
}

#[test]
fn keys_that_could_not_protect_anything_are_refused() {
    assert!(Key::secret(b"too short").is_err());
    assert!(
        Key::pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").err().unwrap().contains("private")
    );
    assert!(Key::pem("nonsense").is_err());
    let weak_rsa = json!({"kty": "RSA", "n": encode([0xff; 128]), "e": "AQAB"});
    assert!(Key::jwk(&weak_rsa).is_err());
    let identity = json!({"kty": "OKP", "crv": "Ed25519", "x": encode([[1].as_slice(), &[0; 31]].concat())});
    assert!(Key::jwk(&identity).is_err());
    let off_curve = json!({"kty": "EC", "crv": "P-256", "x": encode([1; 32]), "y": encode([1; 32])});
    assert!(Key::jwk(&off_curve).is_err());
    assert!(Key::jwk(&json!({"kty": "oct", "k": encode("short")})).is_err());
}

#[test]
fn keys_for_other_purposes_are_passed_over() {
    let mut encryption = p256_jwk(1, "a");
    encryption["use"] = json!("enc");
    let mut signing = p256_jwk(1, "b");
    signing["key_ops"] = json!(["sign"]);
    let mut other = p256_jwk(1, "c");
    other["alg"] = json!("ES256K");
    let mut confused = p256_jwk(1, "d");
    confused["alg"] = json!("HS256");
    let unknown = json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"});
    let unusable = [encryption, signing, other, confused, unknown, json!({}), json!(5)];
    assert!(Key::set(&json!({"keys": unusable})).is_err());
    let mut good = unusable.to_vec();
    good.push(p256_jwk(2, "good"));
    let keys = Key::set(&json!({"keys": good})).unwrap();
    assert_eq!(keys.len(), 1);
    assert!(Key::set(&json!([])).is_err());
}
