//! `${…}` in string values: `${VAR}`, `${VAR:-default}`, `${file:/run/secrets/x}`; `$${` is a plain `${`.
//!
//! What cannot be resolved is a fault. A fault names the variable or the file, never a value.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most bytes of a file named by `${file:…}`: a certificate chain fits, a wrong path to something large does not.
const SECRET_FILE_BYTES: u64 = 64 * 1024;

/// Where variables come from.
pub trait Environment {
    /// The value of a variable; `None` when it is not set or is not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// One reference that cannot be resolved: bytes `start..end` of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) message: String,
}

/// Fills in every reference of `text`, or says which of them cannot be.
pub(super) fn interpolate<'t>(
    text: &'t str,
    base_dir: &Path,
    env: &dyn Environment,
) -> Result<Cow<'t, str>, Vec<Unresolved>> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let (mut filled, mut unresolved) = (String::with_capacity(text.len()), Vec::new());
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|found| at + found) {
        if text[at..start].ends_with('$') {
            filled.push_str(&text[at..start - 1]);
            filled.push_str("${");
            at = start + 2;
            continue;
        }
        filled.push_str(&text[at..start]);
        let Some(end) = text[start..].find('}').map(|found| start + found) else {
            let message = "\"${\" without \"}\"; write \"$${\" for a plain \"${\"".to_owned();
            unresolved.push(Unresolved { start, end: text.len(), message });
            at = text.len();
            break;
        };
        match resolve(&text[start + 2..end], base_dir, env) {
            Ok(value) => filled.push_str(&value),
            Err(message) => unresolved.push(Unresolved { start, end: end + 1, message }),
        }
        at = end + 1;
    }
    filled.push_str(&text[at..]);
    if unresolved.is_empty() { Ok(Cow::Owned(filled)) } else { Err(unresolved) }
}

/// The text with its references, but without the defaults in them, which are values.
pub(super) fn names_only(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        shown.push_str(before);
        let end = reference.find('}').map_or(reference.len(), |end| end + 1);
        match reference[..end].split_once(":-") {
            Some((name, _)) if !before.ends_with('$') && !name.starts_with("${file:") => {
                shown.push_str(name);
                shown.push('}');
            }
            // `$${` is no reference; what follows it may hold one.
            _ if before.ends_with('$') => {
                shown.push_str("${");
                rest = &reference[2..];
                continue;
            }
            _ => shown.push_str(&reference[..end]),
        }
        rest = &reference[end..];
    }
    shown.push_str(rest);
    shown
}

/// The value of what stands between the braces. As in a shell, `:-` replaces an unset and an empty variable.
fn resolve(reference: &str, base_dir: &Path, env: &dyn Environment) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        return read_secret(&base_dir.join(path)).map_err(|error| format!("cannot read the file \"{path}\": {error}"));
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_variable_name(name) {
        return Err(format!("\"${{{reference}}}\" is not a reference; write \"$${{\" for a plain \"${{\""));
    }
    let value = env.variable(name).filter(|value| default.is_none() || !value.is_empty());
    value.or_else(|| default.map(str::to_owned)).ok_or_else(|| format!("environment variable \"{name}\" is not set"))
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Reads a small regular file of text, without the line break at its end. Opening a pipe would block: it is refused before.
fn read_secret(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(SECRET_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > SECRET_FILE_BYTES {
        return Err(format!("larger than {}", super::size::display(SECRET_FILE_BYTES)));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
