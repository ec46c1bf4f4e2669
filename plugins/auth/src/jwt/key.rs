//! Keys that verify signatures. What a key is decides the one algorithm it verifies: an RSA key never serves as an HMAC secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Verifier as _;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::token::Algorithm;

/// Shortest HMAC secret, bytes (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;
/// Shortest RSA modulus, bits (RFC 7518 §3.3).
const MIN_RSA_BITS: usize = 2048;
/// Most keys of a set that are used.
const MAX_KEYS: usize = 64;
/// How a SHA-256 digest begins in an RSA signature (RFC 8017 §9.2, note 1).
const SHA256_PREFIX: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// One key.
#[derive(Clone)]
pub(crate) struct Key {
    /// Its name, by which tokens ask for it. A key without a name serves tokens with any.
    pub(crate) id: Option<String>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Hmac(Box<Hmac<Sha256>>),
    Rsa(RsaPublicKey),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

/// A JSON Web Key (RFC 7517, RFC 7518 §6, RFC 8037), as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

impl Key {
    /// A shared secret, for HS256.
    ///
    /// # Errors
    /// It is too short.
    pub(crate) fn secret(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < MIN_SECRET {
            return Err(format!("a secret for HS256 has at least {MIN_SECRET} bytes (RFC 7518)"));
        }
        let hmac = Hmac::new_from_slice(secret).map_err(|error| error.to_string())?;
        Ok(Self { id: None, material: Material::Hmac(Box::new(hmac)) })
    }

    /// A public key in PEM: `PUBLIC KEY` (RSA, P-256, Ed25519) or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn pem(pem: &str) -> Result<Self, String> {
        let pem = pem.trim();
        if pem.contains("PRIVATE KEY") {
            return Err("a private key has no place here: openssl pkey -pubout makes the public key of it".to_owned());
        }
        let rsa = rsa::pkcs8::DecodePublicKey::from_public_key_pem(pem)
            .ok()
            .or_else(|| RsaPublicKey::from_pkcs1_pem(pem).ok());
        if let Some(key) = rsa {
            return Ok(Self { id: None, material: Material::rsa(key)? });
        }
        if let Ok(key) = p256::pkcs8::DecodePublicKey::from_public_key_pem(pem) {
            return Ok(Self { id: None, material: Material::P256(Box::new(key)) });
        }
        if let Ok(key) = ed25519_dalek::pkcs8::DecodePublicKey::from_public_key_pem(pem) {
            return Ok(Self { id: None, material: Material::ed25519(key)? });
        }
        Err("this is no public key in PEM (RSA, P-256 or Ed25519); of a certificate, openssl x509 -pubkey prints it"
            .to_owned())
    }

    /// A key of a set; `None`: it is for something else (encryption, an algorithm that is not understood).
    ///
    /// # Errors
    /// It is meant for signatures and broken.
    pub(crate) fn jwk(json: &serde_json::Value) -> Result<Option<Self>, String> {
        let jwk = Jwk::deserialize(json).map_err(|error| format!("a JSON Web Key is broken: {error}"))?;
        let for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures {
            return Ok(None);
        }
        let Some(material) = Material::jwk(&jwk)? else { return Ok(None) };
        let key = Self { id: jwk.kid, material };
        let declared = jwk.alg.as_deref().map(Algorithm::named);
        Ok((declared.is_none_or(|declared| declared == Some(key.algorithm()))).then_some(key))
    }

    /// The keys of a set.
    ///
    /// # Errors
    /// It is no set, or has no key that could be used. Single broken keys are passed over.
    pub(crate) fn set(json: &serde_json::Value) -> Result<Vec<Self>, String> {
        let keys =
            json.get("keys").and_then(serde_json::Value::as_array).ok_or("a JSON Web Key Set has an array \"keys\"")?;
        let usable: Vec<Self> = keys.iter().take(MAX_KEYS).filter_map(|key| Self::jwk(key).ok().flatten()).collect();
        if usable.is_empty() {
            Err("the JSON Web Key Set has no key for HS256, RS256, ES256 or EdDSA".to_owned())
        } else {
            Ok(usable)
        }
    }

    /// The algorithm of its signatures.
    #[must_use]
    pub(crate) fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Hmac(_) => Algorithm::Hs256,
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether `signature` is this key's on `signed`.
    #[must_use]
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Hmac(hmac) => hmac.as_ref().clone().chain_update(signed).verify_slice(signature).is_ok(),
            Material::Rsa(key) => {
                let scheme = Pkcs1v15Sign { hash_len: Some(32), prefix: SHA256_PREFIX.into() };
                key.verify(scheme, &Sha256::digest(signed), signature).is_ok()
            }
            Material::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
            Material::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
        }
    }
}

impl Material {
    fn jwk(jwk: &Jwk) -> Result<Option<Self>, String> {
        let bytes = |name: &str, member: &Option<String>| {
            let text = member.as_deref().ok_or_else(|| format!("a JSON Web Key lacks {name:?}"))?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("{name:?} of a JSON Web Key is not base64url"))
        };
        Ok(Some(match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("oct", _) => Key::secret(&bytes("k", &jwk.k)?)?.material,
            ("RSA", _) => {
                let (n, e) = (bytes("n", &jwk.n)?, bytes("e", &jwk.e)?);
                let key = RsaPublicKey::new(BigUint::from_bytes_be(&n), BigUint::from_bytes_be(&e));
                Self::rsa(key.map_err(|error| format!("an RSA key is unusable: {error}"))?)?
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x", &jwk.x)?, bytes("y", &jwk.y)?);
                if (x.len(), y.len()) != (32, 32) {
                    return Err("a P-256 key has two coordinates of 32 bytes".to_owned());
                }
                let point = [&[4][..], &x, &y].concat();
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point);
                Self::P256(Box::new(key.map_err(|_| "a P-256 key is not on the curve")?))
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x", &jwk.x)?;
                let x = <[u8; 32]>::try_from(x).map_err(|_| "an Ed25519 key has 32 bytes")?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(&x);
                Self::ed25519(key.map_err(|_| "an Ed25519 key is not on the curve")?)?
            }
            _ => return Ok(None),
        }))
    }

    fn rsa(key: RsaPublicKey) -> Result<Self, String> {
        if key.n().bits() < MIN_RSA_BITS {
            return Err(format!("an RSA key has at least {MIN_RSA_BITS} bits (RFC 7518)"));
        }
        Ok(Self::Rsa(key))
    }

    fn ed25519(key: ed25519_dalek::VerifyingKey) -> Result<Self, String> {
        if key.is_weak() {
            Err("this Ed25519 key verifies everything".to_owned())
        } else {
            Ok(Self::Ed25519(Box::new(key)))
        }
    }
}
