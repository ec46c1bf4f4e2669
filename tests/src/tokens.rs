//! Keys and JSON Web Tokens, made once by `fixtures/make_tokens.py`.

use std::sync::OnceLock;

use serde_json::Value;

fn all() -> &'static Value {
    static ALL: OnceLock<Value> = OnceLock::new();
    ALL.get_or_init(|| serde_json::from_str(include_str!("../fixtures/tokens.json")).expect("the file is JSON"))
}

/// The shared secret of the HS256 tokens.
///
/// # Panics
/// The file has none.
#[must_use]
pub fn secret() -> &'static str {
    all()["secret"].as_str().expect("a secret")
}

/// The public key of an algorithm's tokens, in PEM.
///
/// # Panics
/// The file has none.
#[must_use]
pub fn pem(algorithm: &str) -> &'static str {
    all()["pem"][algorithm].as_str().expect("a key")
}

/// The public keys as a JSON Web Key Set.
#[must_use]
pub fn jwks() -> &'static Value {
    &all()["jwks"]
}

/// A token, by its name in the file.
///
/// # Panics
/// The file has none of that name.
#[must_use]
pub fn token(name: &str) -> &'static str {
    all()["tokens"][name].as_str().unwrap_or_else(|| panic!("no token {name}"))
}

/// The `authorization` value of a token.
#[must_use]
pub fn bearer(name: &str) -> String {
    format!("Bearer {}", token(name))
}
