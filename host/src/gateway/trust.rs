//! Which bytes may run: pinned digests, and signatures beside the files.
//!
//! What is checked are the very bytes that are compiled afterwards; a file is never read twice.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use minisign_verify::Signature;
use sha2::{Digest, Sha256};

use crate::config::Plugins;
use crate::wasm::PluginError;

/// Most bytes of a signature file: one has four short lines.
const SIGNATURE_BYTES: u64 = 4096;

/// Whether a plugin of that name may consist of these bytes. `file`: where they come from; what is built in was signed with the
/// binary and needs no signature of its own.
///
/// # Errors
/// What is wrong, for the operator.
pub(super) fn check(plugins: &Plugins, name: &str, file: Option<&Path>, bytes: &[u8]) -> Result<(), PluginError> {
    if let Some(pinned) = plugins.sha256.get(name) {
        let digest = hex(&Sha256::digest(bytes));
        if digest != **pinned {
            return Err(PluginError(format!(
                "its SHA-256 is {digest}, but plugins.sha256 pins {pinned}: it must not run"
            )));
        }
    }
    match file {
        Some(file) if !plugins.keys.is_empty() => check_signature(plugins, file, bytes),
        _ => Ok(()),
    }
}

fn check_signature(plugins: &Plugins, file: &Path, bytes: &[u8]) -> Result<(), PluginError> {
    let beside = signature_file(file);
    let failed = |why: String| {
        PluginError(format!("{}: {why}; it must not run without a signature by one of plugins.keys", beside.display()))
    };
    let text = read(&beside).map_err(|error| failed(error.to_string()))?;
    let signature = Signature::decode(&text).map_err(|_| failed("this is no minisign signature".to_owned()))?;
    match plugins.keys.iter().any(|key| key.verify(bytes, &signature, true).is_ok()) {
        true => Ok(()),
        false => Err(failed("the signature is not of this file by a known key".to_owned())),
    }
}

/// `hello.wasm` → `hello.wasm.minisig`, as minisign names it.
fn signature_file(file: &Path) -> PathBuf {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".minisig");
    beside.into()
}

/// A pipe would be waited for: only files are opened.
fn read(file: &Path) -> std::io::Result<String> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("this is not a file"));
    }
    let mut text = String::new();
    File::open(file)?.take(SIGNATURE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
