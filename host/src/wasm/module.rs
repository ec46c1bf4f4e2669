//! Bytes → a plugin: size, validity, compilation, sections, exports, imports. Everything that can be refused is refused
//! here.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::{ExternType, InstancePre, Linker, Module};

use super::fault::Abort;
use super::host_state::HostState;
use super::limits::MODULE_BYTES;
use super::{CompileCache, PluginError, complexity, exports, hostcalls, manifest};
use crate::config::PauseMeaning;
use crate::config::capabilities::{self, AREAS, Capabilities, area};
use crate::filter::Callbacks;
use crate::filter::tcp::TcpCallbacks;

/// A compiled module: one name, one digest.
pub struct Plugin {
    /// File stem, `_` written as `-`.
    pub name: Arc<str>,
    /// SHA-256 of the bytes, lower-case hex.
    pub digest: Arc<str>,
    /// JSON Schema of its configuration, from the custom section `sluicegate.schema`.
    pub schema: Option<Arc<str>>,
    /// How long it took to compile.
    pub compile_time: Duration,
    /// Things an operator should know (imports answered by trapping stubs …).
    pub warnings: Vec<String>,
    /// Imports (`module.name`) that this host does not have.
    pub unsupported: Vec<String>,
    /// The hostcalls that it imports, each once.
    pub(super) hostcalls: Vec<Box<str>>,
    pub(super) callbacks: Callbacks,
    pub(super) tcp: TcpCallbacks,
    /// What Pause means, when the module says.
    pub(super) pause: Option<PauseMeaning>,
    /// The module with everything it imports.
    pub(super) code: InstancePre<HostState>,
    /// It was taken from where compiled modules are kept.
    pub(super) kept: bool,
    late_write: AtomicBool,
}

impl Plugin {
    /// Whether it can be a filter of TCP connections.
    #[must_use]
    pub fn takes_connections(&self) -> bool {
        self.tcp != TcpCallbacks::default()
    }
    /// The hostcalls that it imports without being granted them, with their areas.
    #[must_use]
    pub fn not_granted(&self, capabilities: &Capabilities) -> Vec<String> {
        let refused = self.hostcalls.iter().filter(|name| !capabilities.allows_hostcall(name));
        refused.map(|name| format!("{name} (\"{}\")", area(name).unwrap_or_default())).collect()
    }
    /// The areas of the ABI that it needs.
    pub(super) fn areas(&self) -> Vec<&'static str> {
        let needed = |area: &str| self.hostcalls.iter().any(|name| capabilities::area(name) == Some(area));
        AREAS.iter().map(|(area, _)| *area).filter(|area| needed(area)).collect()
    }
    /// `true` once: for what is logged once per plugin, writes that come too late.
    pub(super) fn first_late_write(&self) -> bool {
        !self.late_write.load(Ordering::Relaxed) && !self.late_write.swap(true, Ordering::Relaxed)
    }
}

/// See [`super::Engine::load`].
pub(super) fn load(
    engine: &wasmtime::Engine,
    name: &str,
    bytes: &[u8],
    cache: Option<&CompileCache>,
) -> Result<Plugin, PluginError> {
    check_envelope(bytes)?;
    complexity::check(bytes)?;
    let sections = manifest::read(bytes)?;
    let digest = hex(&Sha256::digest(bytes));
    let started = Instant::now();
    let known = cache.and_then(|cache| cache.find(engine, &digest));
    let kept = known.is_some();
    let module = known
        .map_or_else(|| Module::new(engine, bytes), Ok)
        .map_err(|error| PluginError(format!("it does not compile: {error:#}")))?;
    let compile_time = started.elapsed();
    let mut warnings = Vec::new();
    let (exported, tcp) = exports::check(&module)?;
    if !module.exports().any(|export| export.name().starts_with("proxy_abi_version_")) {
        warnings.push("it does not say which version of the ABI it speaks; 0.2.1 is assumed".into());
    }
    let (code, unsupported) = link(engine, &module)?;
    warnings.extend(
        unsupported
            .iter()
            .map(|name| format!("it imports {name}, which this host does not have: calling it ends the instance")),
    );
    Ok(Plugin {
        name: Arc::from(name),
        digest,
        schema: sections.schema,
        compile_time,
        warnings,
        unsupported,
        hostcalls: hostcalls_of(&module),
        callbacks: sections.manifest.as_ref().map_or(exported, |manifest| manifest.narrow(exported)),
        // The SDK that writes manifests makes filters of requests; it exports the rest for nothing.
        tcp: if sections.manifest.is_some() { TcpCallbacks::default() } else { tcp },
        pause: sections.manifest.as_ref().and_then(manifest::Manifest::pause),
        code,
        kept,
        late_write: AtomicBool::new(false),
    })
}

/// What can be said about the bytes before anything reads them in earnest.
fn check_envelope(bytes: &[u8]) -> Result<(), PluginError> {
    let error = |message: String| Err(PluginError(message));
    if bytes.len() > MODULE_BYTES {
        return error(format!("it has {} bytes, more than the {MODULE_BYTES} that are compiled", bytes.len()));
    }
    match bytes {
        [] => error("it is empty".into()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => {
            error("it is a WebAssembly component; a core module is needed (target wasm32-wasip1)".into())
        }
        [0, b'a', b's', b'm', ..] => error("it is cut off, or of an unknown version of WebAssembly".into()),
        _ => error("it is not WebAssembly".into()),
    }
}

fn hostcalls_of(module: &Module) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> =
        module.imports().filter(|import| import.module() == "env").map(|import| import.name().into()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Gives the module its imports: ours, and for functions that we do not know stubs that end the instance when called.
fn link(engine: &wasmtime::Engine, module: &Module) -> Result<(InstancePre<HostState>, Vec<String>), PluginError> {
    let mut unsupported = Vec::new();
    let mut linker = Linker::new(engine);
    hostcalls::link(&mut linker, module)
        .map_err(|error| PluginError(format!("hostcalls cannot be linked: {error:#}")))?;
    for import in module.imports() {
        let name = format!("{}.{}", import.module(), import.name());
        let ExternType::Func(ty) = import.ty() else {
            return Err(PluginError(format!(
                "it imports {name}, which is not a function; only functions can be imported"
            )));
        };
        let missing = format!("called {name}, which this host does not have");
        // Refused for a name that is defined already, that is, for a hostcall of ours.
        let stub = linker
            .func_new(import.module(), import.name(), ty, move |_, _, _| Err(Abort::trap(missing.clone()).into()));
        if stub.is_ok() {
            unsupported.push(name);
        }
    }
    let code = linker.instantiate_pre(module);
    Ok((code.map_err(|error| PluginError(format!("its imports do not fit: {error:#}")))?, unsupported))
}

/// Bytes as lower-case hex.
pub(super) fn hex(digest: &[u8]) -> Arc<str> {
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    Arc::from(text)
}
