//! A JSON Web Token as it is sent: JWS compact serialisation (RFC 7515 §7.1), taken apart but not yet believed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::Refusal;

/// Longest token that is looked at, bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// The signature algorithms that are understood. `none` is not one of them, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// EdDSA on Curve25519.
    EdDsa,
}

/// A token whose signature has not been verified.
pub(crate) struct Token<'a> {
    /// What the sender says it is signed with; a key only verifies signatures of its own algorithm.
    pub(crate) algorithm: Algorithm,
    /// Which key the sender says it is; only ever compared with the names of known keys.
    pub(crate) key_id: Option<String>,
    /// What is signed.
    pub(crate) signed: &'a [u8],
    /// The signature.
    pub(crate) signature: Vec<u8>,
    /// The claims.
    pub(crate) claims: Map<String, Value>,
}

impl Algorithm {
    /// Its name in a token (case matters, RFC 7515 §4.1.1).
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "RS256" => Self::Rs256,
            "ES256" => Self::Es256,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is not one, or asks for something that is not understood here.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_TOKEN {
            return Err(Refusal::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        let header = object(header)?;
        // Extensions that must be understood (RFC 7515 §4.1.11) and unencoded payloads (RFC 7797) are not.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Refusal::Algorithm);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Refusal::Malformed)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(key_id.clone()),
            Some(_) => return Err(Refusal::Malformed),
        };
        Ok(Self {
            algorithm: Algorithm::named(algorithm).ok_or(Refusal::Algorithm)?,
            key_id,
            signed: signed.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Malformed)?,
            claims: object(payload)?,
        })
    }
}

/// A base64url-encoded JSON object.
fn object(encoded: &str) -> Result<Map<String, Value>, Refusal> {
    let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice::<Unique>(&json).map(|object| object.0).map_err(|_| Refusal::Malformed)
}

/// A JSON object none of whose names occurs twice: two readers could otherwise see two different tokens (RFC 7519 §4).
struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Unique;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name occurs twice"));
                    }
                }
                Ok(Unique(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }
    fn refusal(text: &str) -> Option<Refusal> {
        Token::parse(text).err()
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text =
            token(r#"{"typ":"JWT","alg":"HS256","kid":"k1","jku":"https://evil.example"}"#, r#"{"sub":"alice"}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!((token.algorithm, token.key_id.as_deref()), (Algorithm::Hs256, Some("k1")));
        assert_eq!(token.signed, text.rsplit_once('.').unwrap().0.as_bytes());
        assert_eq!(token.signature, b"sig");
        assert_eq!(token.claims["sub"], "alice");
    }

    #[test]
    fn algorithms_are_known_by_their_exact_names() {
        for name in ["none", "None", "nOnE", "NONE", "", "hs256", "HS256 ", "HS512", "RS1", "ES256K"] {
            let text = token(&format!(r#"{{"alg":"{name}"}}"#), "{}");
            assert_eq!(refusal(&text), Some(Refusal::Algorithm), "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for header in [
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","b64":false}"#,
            r#"{"alg":"HS256","b64":true}"#,
        ] {
            assert_eq!(refusal(&token(header, "{}")), Some(Refusal::Algorithm), "{header}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for header in
            ["", "[]", "null", "{}", r#"{"alg":5}"#, r#"{"alg":"HS256","kid":5}"#, r#"{"alg":"HS256","alg":"HS256"}"#]
        {
            assert_eq!(refusal(&token(header, "{}")), Some(Refusal::Malformed), "{header}");
        }
        let header = r#"{"alg":"HS256"}"#;
        for payload in ["", "[]", r#"{"exp":1,"exp":2}"#, "{}x", r#"{"\u0065xp":1,"exp":2}"#] {
            assert_eq!(refusal(&token(header, payload)), Some(Refusal::Malformed), "{payload}");
        }
        let good = token(header, "{}");
        for text in [
            "",
            ".",
            "..",
            "...",
            "a.b",
            &format!("{good}."),
            &format!("{good}="),
            &format!("{good} "),
            &format!(" {good}"),
            &good.replace('.', ".."),
        ] {
            assert_eq!(refusal(text), Some(Refusal::Malformed), "{text}");
        }
        assert_eq!(
            refusal(&token(header, &format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_TOKEN)))),
            Some(Refusal::Malformed)
        );
        // Bits that base64 does not use must be zero, or one token would have several spellings.
        assert!(refusal(&good.replace("c2ln", "c2h")).is_some());
    }
}
