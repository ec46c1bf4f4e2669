//! Foreign functions that Envoy offers, for filters that were made for it. Arguments and results are Envoy's: its messages
//! (`source/extensions/common/wasm/ext`), and zlib's format.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use prost::Message;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use spki::der::Decode;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::{Refused, Status};
use crate::wasm::host_state::HostState;
use crate::wasm::limits::{FOREIGN_BYTES, UNCOMPRESSED_BYTES};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Where `set_envoy_filter_state` keeps what it sets, among the stream's properties.
const FILTER_STATE: &[u8] = b"filter_state\0";

#[derive(Message)]
struct VerifyArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
    #[prost(string, tag = "5")]
    public_key_pem: String,
}

#[derive(Message)]
struct VerifyResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(string, tag = "2")]
    error: String,
}

#[derive(Message)]
struct SignArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    private_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    text: Vec<u8>,
    #[prost(string, tag = "4")]
    private_key_pem: String,
}

#[derive(Message)]
struct SignResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
    #[prost(string, tag = "3")]
    error: String,
}

#[derive(Message)]
struct FilterStateArguments {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

fn arguments<M: Message + Default>(bytes: &[u8]) -> Result<M, Refused> {
    if bytes.len() > FOREIGN_BYTES {
        return Err(Status::InternalFailure.into());
    }
    Ok(M::decode(bytes).map_err(|_| Status::BadArgument)?)
}

/// A key given in one of its two forms.
fn one_key(der: Vec<u8>, pem: &str, parse: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Result<Vec<u8>, Refused> {
    let key = match (der.is_empty(), pem.is_empty()) {
        (false, true) => Some(der),
        (true, false) => parse(pem.as_bytes()),
        _ => None,
    };
    Ok(key.ok_or(Status::BadArgument)?)
}

/// `verify_signature`: RSA (PKCS #1) or ECDSA (P-256, P-384). A signature that does not match is a result, not a failure.
pub(super) fn verify_signature(bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let VerifyArguments { hash_function, public_key, signature, text, public_key_pem } = arguments(bytes)?;
    let from_pem = |pem: &[u8]| Some(SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?.as_ref().to_vec());
    let key = one_key(public_key, &public_key_pem, from_pem)?;
    let key = SubjectPublicKeyInfoRef::from_der(&key).map_err(|_| Status::BadArgument)?;
    let outcome = match verification(&key, &hash_function) {
        None => Err(format!("{hash_function} is not supported for this key.")),
        Some(algorithm) => UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes())
            .verify(&text, &signature)
            .map_err(|_| "Failed to verify digital signature.".to_owned()),
    };
    let result = VerifyResult { result: outcome.is_ok(), error: outcome.err().unwrap_or_default() };
    Ok(result.encode_to_vec())
}

fn verification(key: &SubjectPublicKeyInfoRef<'_>, hash: &str) -> Option<&'static dyn VerificationAlgorithm> {
    let hash = hash.to_ascii_lowercase();
    if key.algorithm.oid == RSA {
        return Some(match hash.as_str() {
            "sha1" => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &signature::RSA_PKCS1_2048_8192_SHA256,
            "sha384" => &signature::RSA_PKCS1_2048_8192_SHA384,
            "sha512" => &signature::RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        });
    }
    let curve = key.algorithm.parameters_oid().ok().filter(|_| key.algorithm.oid == ELLIPTIC_CURVE)?;
    Some(match (curve, hash.as_str()) {
        (P256, "sha256") => &signature::ECDSA_P256_SHA256_ASN1,
        (P256, "sha384") => &signature::ECDSA_P256_SHA384_ASN1,
        (P384, "sha256") => &signature::ECDSA_P384_SHA256_ASN1,
        (P384, "sha384") => &signature::ECDSA_P384_SHA384_ASN1,
        _ => return None,
    })
}

/// `sign`: with a PKCS #8 key of RSA, or of P-256 with SHA-256 or P-384 with SHA-384.
pub(super) fn sign(bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let SignArguments { hash_function, private_key, text, private_key_pem } = arguments(bytes)?;
    let from_pem = |pem: &[u8]| Some(PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?.secret_pkcs8_der().to_vec());
    let key = one_key(private_key, &private_key_pem, from_pem)?;
    let outcome = signed(&key, &hash_function.to_ascii_lowercase(), &text)?;
    let result = match outcome {
        Some(signature) => SignResult { result: true, signature, error: String::new() },
        None => {
            let error = format!("{hash_function} is not supported for this key.");
            SignResult { result: false, signature: Vec::new(), error }
        }
    };
    Ok(result.encode_to_vec())
}

/// The signature; `None` when this key does not go with this hash function.
fn signed(key: &[u8], hash: &str, text: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
    let random = SystemRandom::new();
    let failed = |_| Refused::from(Status::InternalFailure);
    if let Ok(key) = RsaKeyPair::from_pkcs8(key) {
        let encoding: &dyn signature::RsaEncoding = match hash {
            "sha256" => &signature::RSA_PKCS1_SHA256,
            "sha384" => &signature::RSA_PKCS1_SHA384,
            "sha512" => &signature::RSA_PKCS1_SHA512,
            _ => return Ok(None),
        };
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(encoding, &random, text, &mut signature).map_err(failed)?;
        return Ok(Some(signature));
    }
    for (algorithm, goes_with) in
        [(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, "sha256"), (&signature::ECDSA_P384_SHA384_ASN1_SIGNING, "sha384")]
    {
        let Ok(key) = EcdsaKeyPair::from_pkcs8(algorithm, key, &random) else { continue };
        if hash != goes_with {
            return Ok(None);
        }
        return Ok(Some(key.sign(&random, text).map_err(failed)?.as_ref().to_vec()));
    }
    Err(Status::BadArgument.into())
}

/// `compress`, in zlib's format.
pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    if bytes.len() > FOREIGN_BYTES {
        return Err(Status::InternalFailure.into());
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let done = encoder.write_all(bytes).and_then(|()| encoder.finish());
    Ok(done.map_err(|_| Status::SerializationFailure)?)
}

/// `uncompress`: bounded, whatever the bytes claim.
pub(super) fn uncompress(bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    let bound = u64::try_from(UNCOMPRESSED_BYTES).unwrap_or(u64::MAX) + 1;
    ZlibDecoder::new(bytes).take(bound).read_to_end(&mut out).map_err(|_| Status::SerializationFailure)?;
    if out.len() > UNCOMPRESSED_BYTES {
        return Err(Status::InternalFailure.into());
    }
    Ok(out)
}

/// `set_envoy_filter_state`: read by later filters as the property `filter_state`, `<path>`.
pub(super) fn set_filter_state(host: &HostState, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let FilterStateArguments { path, value } = arguments(bytes)?;
    host.set_property(&[FILTER_STATE, path.as_bytes()].concat(), &value);
    Ok(Vec::new())
}

/// A property set by `proxy_set_property` under its other name, which is Envoy's: `filter_state`, `wasm.<path>`.
pub(super) fn filter_state(host: &HostState, path: &[u8]) -> Option<Bytes> {
    host.property_set(path.strip_prefix(FILTER_STATE)?.strip_prefix(b"wasm.")?)
}
