//! The filters that tests use, compiled by the build script or carried by the gateway's own bundle.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The bytes of a guest, by its constant.
///
/// # Panics
/// The build script did not leave it there.
#[must_use]
pub fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(path).expect("the build script compiled it")
}

/// The filter that does what its configuration says.
#[must_use]
pub fn script() -> Vec<u8> {
    bytes(SCRIPT)
}

/// The filter of TCP connections that does what its configuration says.
#[must_use]
pub fn tcp_script() -> Vec<u8> {
    bytes(TCP_SCRIPT)
}

/// The bytes of a first-party filter, by its name.
///
/// # Panics
/// There is none of that name.
#[must_use]
pub fn bundled(name: &str) -> Vec<u8> {
    let found = sluicegate_bundle::plugins().iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no first-party filter {name}")).1.to_vec()
}

/// A module's digest as the gateway writes it: SHA-256, lower-case hex.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The five first-party filters as the benchmarks use them: names and configurations, in the order of the chain.
#[must_use]
pub fn five() -> [(&'static str, Value); 5] {
    let jwt =
        json!({ "keys": [{ "secret": crate::tokens::secret() }], "issuer": "https://idp.example", "audience": "api" });
    let transform = json!({
        "request": { "headers": { "set": { "x-user": "{consumer}" }, "remove": ["x-internal"] } },
        "response": { "headers": { "set": { "x-served-by": "gateway" }, "remove": ["server"] } },
    });
    [
        ("cors", json!({ "origins": ["https://app.example"], "credentials": true })),
        ("auth", json!({ "jwt": jwt })),
        ("rate-limit", json!({ "limit": 1_000_000_000_u64, "per": "1h", "key": "consumer" })),
        ("transform", transform),
        ("log", json!({})),
    ]
}
