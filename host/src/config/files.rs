//! Files that a configuration names: read whole, within a bound, when a generation is built.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

/// Most bytes of a PEM file. All public authorities together take a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The same of a list of revoked certificates: each takes some 40 bytes, and large authorities have revoked hundreds of thousands.
const REVOCATIONS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Said of a file without a certificate.
pub const NO_CERTIFICATE: &str = "has no certificate in PEM form";

/// All certificates of a PEM file.
///
/// # Errors
/// There is none, or the file is broken.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot be read as PEM: {error}"))?;
    if all.is_empty() { Err(NO_CERTIFICATE.to_owned()) } else { Ok(all) }
}

/// All lists of revoked certificates (RFC 5280 §5) of a PEM file.
///
/// # Errors
/// There is none, or the file cannot be read or is broken.
pub fn revocations(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let all: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot be read as PEM: {error}"))?;
    if all.is_empty() { Err("has no list of revoked certificates in PEM form".to_owned()) } else { Ok(all) }
}

/// Reads a regular file whole.
///
/// # Errors
/// What is wrong, for the operator.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_within(path, FILE_BYTES_MAX)
}

/// The same for a list of revoked certificates.
///
/// # Errors
/// What is wrong, for the operator.
pub fn read_revocations(path: &Path) -> Result<Vec<u8>, String> {
    read_within(path, REVOCATIONS_BYTES_MAX)
}

fn read_within(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read the file: {error}");
    // Opening a named pipe would wait for a writer, perhaps for ever.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err("cannot read the file: it is none".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(format!("larger than {} MiB", most / (1024 * 1024)));
    }
    Ok(bytes)
}
