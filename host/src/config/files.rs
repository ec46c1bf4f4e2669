//! Files that a configuration names: read whole, within a bound, when a generation is built.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Most bytes of a PEM file. All public authorities together take a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

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

/// Reads a regular file whole.
///
/// # Errors
/// What is wrong, for the operator.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read the file: {error}");
    // Opening a named pipe would wait for a writer, perhaps for ever.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err("cannot read the file: it is none".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("larger than {} MiB", FILE_BYTES_MAX / (1024 * 1024)));
    }
    Ok(bytes)
}
