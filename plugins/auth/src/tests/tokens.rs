//! Keys and tokens for tests. The RSA key's private half was thrown away after it had signed [`RS256`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// A shared secret.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A public key.
pub(crate) const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwC0t9oHj+habTxS0krpq
A5BH2lbCnx+LYmTVJqH26iMlzxGJyMoyF7QR8tCW6u8dG7U678Ziyi8DfATTtEXn
6A+ahvjq3obezkVR3dAHF4uvEXQNWfE0zlh5e79IFoy7oK4y3ThFTeUnDnyuTpc3
GuH2di6l6M8YpnGRNueCnrGkSRzO8LuR26k1ZDq5lkpY7YGePE52CpHMinx+5Q3k
IEealwqdFTNF4BYXDByUx/EU+5Nxb4AOA61Qz6PrOqh+EuOGAJPXMHquU3fGWiPa
OKLZ+RYO9ttDgex/Y7geVpILel1hPfUAXaGcnpepkh+DimxUR7YW/Mor/R1KCcYw
kQIDAQAB
-----END PUBLIC KEY-----
";

/// `{"alg":"RS256","kid":"r1"}`, `{"sub":"alice","exp":4102444800}`, signed by [`RSA_PEM`]'s other half.
pub(crate) const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InIxIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.\
c1hyMXnKHhjaDmA9SQdQikTTGNgyS_hCaZVzjXZhMy4MVjfamucp9__SV9LoVZWTsKpNg-xu3xY_bcZXQ_3arA2gtnSA4RwSC8L09_CPeQbo4sJ19xoVLgbO\
MyQmgZ84g1uKN9P7cmpco65Rd6JCWy4LMDrMPXTCtZpAK2fBYdC0rJ1Z77LI8eUlXvj9KcQtRwYVi3oU6paGgRyb-bgGLFwKONE9EnMVdloJ3rFIHo63SJ0PE6\
ATAP6C0PL3PJ5_QxMsUVMxQj6_itzw5-5wntBORmrEQuNhS7ffjuKmWLo4G4GsYP8aXts5vCa2FGGMfNDeRtjCIErWPv0Da2fgng";

/// 2100-01-01: an `exp` that tests will not see.
pub(crate) const FAR: u64 = 4_102_444_800;

/// A token with any header, signed with HS256 by any secret.
pub(crate) fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let signed = signed(header, claims);
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(&signed).finalize();
    with_signature(&signed, &mac.into_bytes())
}

/// A token of [`SECRET`].
pub(crate) fn token(claims: &Value) -> String {
    hs256(&json!({"alg": "HS256"}), claims, SECRET.as_bytes())
}

/// A token of the P-256 key made of `seed`.
pub(crate) fn es256(header: &Value, claims: &Value, seed: u8) -> String {
    let signed = signed(header, claims);
    let signature: p256::ecdsa::Signature = p256_key(seed).sign(signed.as_bytes());
    with_signature(&signed, &signature.to_bytes())
}

/// A token of the Ed25519 key made of `seed`.
pub(crate) fn eddsa(header: &Value, claims: &Value, seed: u8) -> String {
    let signed = signed(header, claims);
    with_signature(&signed, &ed25519_key(seed).sign(signed.as_bytes()).to_bytes())
}

/// The public half of a P-256 key as a JSON Web Key.
pub(crate) fn p256_jwk(seed: u8, id: &str) -> Value {
    let point = p256_key(seed).verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(32);
    json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256", "x": encode(x), "y": encode(y)})
}

/// The public half of an Ed25519 key as a JSON Web Key.
pub(crate) fn ed25519_jwk(seed: u8, id: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(ed25519_key(seed).verifying_key().as_bytes())})
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn with_signature(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", encode(signature))
}

/// What is signed.
pub(crate) fn signed(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

fn p256_key(seed: u8) -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn ed25519_key(seed: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
}
