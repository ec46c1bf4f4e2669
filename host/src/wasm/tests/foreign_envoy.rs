//! Envoy's foreign functions, with signatures that OpenSSL made.

use std::io::Write;

use super::guest::{Guest, escape};
use super::stage::Bench;

const TEXT: &[u8] = b"the text";
const RSA: &[u8] = include_bytes!("keys/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa.pub.pem");
const RSA_SHA256: &[u8] = include_bytes!("keys/rsa.sha256.sig");
const RSA_SHA512: &[u8] = include_bytes!("keys/rsa.sha512.sig");
const P256: &[u8] = include_bytes!("keys/p256.pem");
const P256_PUBLIC: &[u8] = include_bytes!("keys/p256.pub.pem");
const P256_SHA256: &[u8] = include_bytes!("keys/p256.sha256.sig");

/// One field of a serialised message.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend_from_slice(bytes);
    out
}

/// The status of one call, and its result.
fn call(name: &str, arguments: &[u8]) -> (u32, Vec<u8>) {
    let arguments = escape(arguments);
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        &format!(
            "(i32.store (global.get $n) (i32.const 0))
             (call $note (i32.const 1) (call $proxy_call_foreign_function '{name}' '{arguments}' (global.get $at) (global.get $n)))
             (call $note_result (i32.const 2)) (i32.const 0)"
        ),
    );
    let bench = Bench::new(&guest);
    bench.exchange().request(&[], &[]);
    (bench.number(1), bench.noted(2).unwrap().to_vec())
}

fn verify(hash: &str, key: &[u8], signature: &[u8], text: &[u8]) -> (u32, Vec<u8>) {
    call("verify_signature", &[field(1, hash.as_bytes()), field(5, key), field(3, signature), field(4, text)].concat())
}

/// `result: true`
const TRUE: &[u8] = &[0x08, 0x01];

#[test]
fn signatures_are_verified_with_the_key_and_the_hash_that_made_them() {
    for (hash, key, signature) in
        [("sha256", RSA_PUBLIC, RSA_SHA256), ("SHA512", RSA_PUBLIC, RSA_SHA512), ("sha256", P256_PUBLIC, P256_SHA256)]
    {
        assert_eq!(verify(hash, key, signature, TEXT), (0, TRUE.to_vec()), "{hash}");
        let said = field(2, b"Failed to verify digital signature.");
        assert_eq!(verify(hash, key, signature, b"another text"), (0, said.clone()));
        assert_eq!(verify(hash, key, &signature[1..], TEXT), (0, said.clone()));
    }
    assert_eq!(verify("sha512", RSA_PUBLIC, RSA_SHA256, TEXT).1[0], 0x12, "an error only");
    let said = field(2, b"md5 is not supported for this key.");
    assert_eq!(verify("md5", RSA_PUBLIC, RSA_SHA256, TEXT), (0, said));
}

#[test]
fn a_key_is_given_in_one_form_and_is_one() {
    let rest = [field(1, b"sha256"), field(3, RSA_SHA256), field(4, TEXT)].concat();
    let der = pem_body(RSA_PUBLIC);
    assert_eq!(call("verify_signature", &[rest.clone(), field(2, &der)].concat()), (0, TRUE.to_vec()));
    for keys in [Vec::new(), [field(2, &der), field(5, RSA_PUBLIC)].concat(), field(2, b"nonsense"), field(5, RSA)] {
        assert_eq!(call("verify_signature", &[rest.clone(), keys].concat()).0, 2);
    }
    assert_eq!(call("verify_signature", b"\xff").0, 2, "no message at all");
    assert_eq!(call("sign", &[field(1, b"sha256"), field(4, RSA_PUBLIC)].concat()).0, 2);
}

/// A PEM file's bytes.
fn pem_body(pem: &[u8]) -> Vec<u8> {
    use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
    SubjectPublicKeyInfoDer::from_pem_slice(pem).unwrap().to_vec()
}

#[test]
fn texts_are_signed_as_openssl_signs_them() {
    let sign =
        |hash: &str, key: &[u8]| call("sign", &[field(1, hash.as_bytes()), field(3, TEXT), field(4, key)].concat());
    for (hash, signature) in [("sha256", RSA_SHA256), ("sha512", RSA_SHA512)] {
        assert_eq!(sign(hash, RSA), (0, [TRUE, &field(2, signature)].concat()), "PKCS #1 always gives the same");
    }
    let (status, result) = sign("sha256", P256);
    assert_eq!((status, &result[..2]), (0, TRUE));
    assert_eq!(verify("sha256", P256_PUBLIC, &result[4..], TEXT), (0, TRUE.to_vec()));
    assert_eq!(sign("sha384", P256), (0, field(3, b"sha384 is not supported for this key.")));
}

#[test]
fn what_was_compressed_is_uncompressed_again() {
    let text = b"again and again and again and again and again".repeat(20);
    let (status, packed) = call("compress", &text);
    assert!(status == 0 && packed.len() < text.len() / 5);
    assert_eq!(call("uncompress", &packed), (0, text));
    assert_eq!(call("uncompress", b"not zlib").0, 3);
    assert_eq!(call("uncompress", &packed[..packed.len() - 6]).0, 3, "cut off");
}

#[test]
fn a_small_packet_that_unfolds_to_gigabytes_is_refused() {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..9 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    assert_eq!(call("uncompress", &encoder.finish().unwrap()), (10, Vec::new()));
}

#[test]
fn filter_state_is_read_as_a_property_under_both_of_its_names() {
    let arguments = escape(&[field(1, b"my.key"), field(2, b"value")].concat());
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        &format!(
            "(call $note (i32.const 1) (call $proxy_call_foreign_function 'set_envoy_filter_state' '{arguments}' (i32.const 0) (i32.const 0)))
             (drop (call $proxy_get_property 'filter_state\\0my.key' (global.get $at) (global.get $n)))
             (call $note_result (i32.const 2))
             (drop (call $proxy_set_property 'mine' 'yours'))
             (drop (call $proxy_get_property 'filter_state\\0wasm.mine' (global.get $at) (global.get $n)))
             (call $note_result (i32.const 3)) (i32.const 0)"
        ),
    );
    let bench = Bench::new(&guest);
    bench.exchange().request(&[], &[]);
    assert_eq!((bench.number(1), bench.text(2).as_str(), bench.text(3).as_str()), (0, "value", "yours"));
}
