//! JSON Web Tokens (RFC 7519, with the advice of RFC 8725). `jsonwebtoken` reads and verifies them; here a key decides the
//! algorithm, and nothing in a token's header is fetched or believed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::SystemTime;

use jsonwebtoken::crypto::verify;
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, decode_header};
use sluicegate_sdk::prelude::*;

use crate::config::{JwtConfig, KeyConfig};
use crate::jwks::Remote;
use crate::secrets::Recent;

/// Longest token that is looked at, bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// Longest token that is remembered once it is verified, bytes.
const MAX_REMEMBERED_TOKEN: usize = 4 * 1024;
/// Most keys of a set that are used.
const MAX_KEYS: usize = 64;
/// Most keys that are tried on one token: only keys without names make it more than one.
const MAX_TRIES: usize = 8;
/// Length of 32 bytes in base64url: the shortest secret (RFC 7518 §3.2), and every Ed25519 key.
const BASE64_OF_32: usize = 43;
/// Length of 256 bytes in base64url: the shortest RSA modulus (RFC 7518 §3.3).
const BASE64_OF_256: usize = 342;

/// Why a token is refused: a word for the log and for metrics.
pub(crate) type Refusal = &'static str;

/// A key that verifies signatures of one algorithm.
pub(crate) struct Key {
    /// A key without a name serves tokens with any.
    id: Option<String>,
    pub(crate) algorithm: Algorithm,
    key: DecodingKey,
}

impl Key {
    /// Reads keys from the configuration; the error says what is wrong with them.
    pub(crate) fn read(config: &KeyConfig) -> Result<Vec<Self>, String> {
        let read = |key: DecodingKey| Self::jwk(&Jwk::from_decoding_key(&key, None).ok()?);
        let (keys, expected) = match config {
            KeyConfig::Secret(secret) => (
                read(DecodingKey::from_secret(secret.expose().as_bytes())).into_iter().collect(),
                "a secret for HS256 has at least 32 bytes (RFC 7518)",
            ),
            KeyConfig::Pem(pem) => {
                let pem = pem.trim().as_bytes();
                let key = DecodingKey::from_rsa_pem(pem).or_else(|_| DecodingKey::from_ec_pem(pem));
                let key = key.or_else(|_| DecodingKey::from_ed_pem(pem)).ok().and_then(read);
                (key.into_iter().collect(), "this is no public key in PEM (RSA from 2048 bits, P-256 or Ed25519)")
            }
            KeyConfig::Jwks(set) => {
                (Self::set(set), "the JSON Web Key Set has no key for HS256, RS256, ES256 or EdDSA")
            }
        };
        if keys.is_empty() { Err(expected.to_owned()) } else { Ok(keys) }
    }

    /// The usable keys of a JSON Web Key Set; others are passed over.
    pub(crate) fn set(set: &Json) -> Vec<Self> {
        let keys = set.get("keys").and_then(Json::as_array).into_iter().flatten().take(MAX_KEYS);
        keys.filter_map(|key| Self::jwk(&Jwk::deserialize(key).ok()?)).collect()
    }

    /// A key for signatures of an algorithm that is understood.
    fn jwk(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKey(key) if key.value.len() >= BASE64_OF_32 => Algorithm::HS256,
            AlgorithmParameters::RSA(key) if key.n.len() >= BASE64_OF_256 => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key)
                if key.curve == EllipticCurve::Ed25519 && key.x.len() == BASE64_OF_32 =>
            {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        let common = &jwk.common;
        let fits = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify))
            && common.key_algorithm.is_none_or(|declared| declared == KeyAlgorithm::from(algorithm));
        let key = DecodingKey::from_jwk(jwk).ok()?;
        // A key that is not on its curve is found by trying it.
        verify("", b"", &key, algorithm).ok().filter(|_| fits)?;
        Some(Self { id: common.key_id.clone(), algorithm, key })
    }
}

/// One issuer of tokens: its keys, and what its tokens must claim.
pub(crate) struct Issuer {
    keys: Vec<Key>,
    pub(crate) remote: Option<Remote>,
    pub(crate) config: JwtConfig,
    names: Vec<String>,
    audiences: Vec<String>,
    /// Claims by tokens whose signature was right; verifying one takes up to a millisecond.
    recent: Recent<String, Rc<Json>>,
    /// Which fetch of the keys they were verified with.
    keys_of_recent: Cell<u64>,
}

impl Issuer {
    /// Checks a configuration; the error says what is wrong with it.
    pub(crate) fn new(mut config: JwtConfig) -> Result<Self, String> {
        let algorithms = config.algorithms.take().map(|names| {
            let read =
                |name: &String| name.parse::<Algorithm>().map_err(|_| format!("jwt: algorithm {name:?} is not known"));
            names.iter().map(read).collect::<Result<Vec<_>, _>>()
        });
        let algorithms = algorithms.transpose()?;
        let mut keys = Vec::new();
        for key in config.keys.take().into_iter().flatten() {
            keys.extend(Key::read(&key)?);
        }
        keys.retain(|key| algorithms.as_ref().is_none_or(|algorithms| algorithms.contains(&key.algorithm)));
        if keys.is_empty() && config.jwks.is_none() {
            return Err(
                "jwt: without \"keys\" (of the \"algorithms\") or \"jwks\" no signature could be verified".to_owned()
            );
        }
        let names = config.issuer.take().into_iter().flatten().collect();
        let audiences = config.audience.take().into_iter().flatten().collect();
        let remote = config.jwks.take().map(|jwks| Remote::new(jwks, algorithms));
        Ok(Self { keys, remote, config, names, audiences, recent: Recent::new(), keys_of_recent: Cell::new(0) })
    }

    /// Whether a token with these claims may pass.
    pub(crate) fn permits(&self, claims: &Json) -> bool {
        self.config.require.iter().all(|(name, condition)| condition.holds(claims, name))
    }

    /// Whether there is any key.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty() || self.remote.as_ref().is_some_and(|remote| !remote.keys().is_empty())
    }

    /// The claims of a token that is good now.
    pub(crate) fn claims(&self, text: &str) -> Result<Rc<Json>, Refusal> {
        if text.len() > MAX_TOKEN {
            return Err("malformed");
        }
        let now = now();
        // Keys may have gone with the last fetch, and with them the trust in what they signed.
        let generation = self.remote.as_ref().map_or(0, Remote::generation);
        if self.keys_of_recent.replace(generation) != generation {
            self.recent.clear();
        }
        let claims = match self.recent.get(text, now) {
            Some(claims) => claims,
            None => self.verified(text, now)?,
        };
        self.check(&claims, now)?;
        Ok(claims)
    }

    fn verified(&self, text: &str, now: SystemTime) -> Result<Rc<Json>, Refusal> {
        let header = decode_header(text).map_err(|_| "malformed")?;
        // Extensions that must be understood (RFC 7515 §4.1.11) and unencoded payloads (RFC 7797) are not.
        if header.crit.is_some() || header.extras.inner().contains_key("b64") {
            return Err("algorithm");
        }
        let remote = self.remote.as_ref().map(Remote::keys).unwrap_or_default();
        let fits = |key: &&Key| {
            key.algorithm == header.alg && (key.id.is_none() || header.kid.is_none() || key.id == header.kid)
        };
        let (signed, signature) = text.rsplit_once('.').ok_or("malformed")?;
        let is_signed_by =
            |key: &Key| matches!(verify(signature, signed.as_bytes(), &key.key, key.algorithm), Ok(true));
        let mut keys = self.keys.iter().chain(remote.iter()).filter(fits).take(MAX_TRIES).peekable();
        keys.peek().ok_or("unknown_key")?;
        if !keys.any(is_signed_by) {
            return Err("signature");
        }
        // Not insecure here, behind the signature. Its own checks of claims would use another clock than the host's.
        let claims = insecure_decode_claims(text).map_err(|_| "malformed")?;
        let claims = Rc::new(Json::Object(claims));
        if text.len() <= MAX_REMEMBERED_TOKEN {
            self.recent.insert(text.to_owned(), Rc::clone(&claims), now);
        }
        Ok(claims)
    }

    /// Whether verified claims are as expected (RFC 7519 §4.1).
    fn check(&self, claims: &Json, now: SystemTime) -> Result<(), Refusal> {
        let among = |expected: &[String], claim: &Json| expected.iter().any(|name| claim == name);
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.config.leeway.as_secs_f64();
        let date = |name| match claims.get(name) {
            None => Ok(None),
            Some(date) => date.as_f64().map(Some).ok_or("claims"),
        };
        let is_for_us = match claims.get("aud") {
            Some(Json::Array(audiences)) => audiences.iter().any(|audience| among(&self.audiences, audience)),
            Some(audience) => among(&self.audiences, audience),
            None => false,
        };
        if !self.names.is_empty() && !claims.get("iss").is_some_and(|issuer| among(&self.names, issuer)) {
            Err("issuer")
        } else if !self.audiences.is_empty() && !is_for_us {
            Err("audience")
        } else if self.config.required_claims.iter().any(|name| claims.get(name).is_none_or(Json::is_null)) {
            Err("claims")
        } else if date("exp")?.is_some_and(|expires| now >= expires + leeway) {
            Err("expired")
        } else if date("nbf")?.is_some_and(|begins| now + leeway < begins) {
            Err("early")
        } else {
            Ok(())
        }
    }
}

/// A claim that is there. A name that begins with `/` is a JSON Pointer.
pub(crate) fn claim<'a>(claims: &'a Json, name: &str) -> Option<&'a Json> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// A claim as the value of a header: text as it is, everything else as JSON.
/// `None`: there is none, or it could not stand in a header.
pub(crate) fn header_value(claims: &Json, name: &str) -> Option<String> {
    let text = match claim(claims, name)? {
        Json::Null => return None,
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    (!text.is_empty() && !text.chars().any(char::is_control) && text.trim() == text).then_some(text)
}
