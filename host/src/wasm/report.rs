//! What can be said about a module without running it: for people who wonder what a file is and whether it would load.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, KnownCustom, Parser, Payload};

use super::engine::Engine;
use super::module::hex;
use crate::config::capabilities::{AREAS, area};

/// What a file is.
pub struct Report {
    /// SHA-256, lower-case hex.
    pub digest: String,
    /// Bytes.
    pub size: usize,
    /// Versions of the ABI that it says it speaks: `0.2.1`.
    pub abi: Vec<String>,
    /// Version of the SDK that wrote its manifest, if it has one.
    pub sdk: Option<String>,
    /// What made it, from its `producers` section: `rustc 1.95.0`.
    pub producers: Vec<String>,
    /// The callbacks that are called, in the words of the manifest.
    pub callbacks: Vec<String>,
    /// What it imports, `module.name`.
    pub imports: Vec<String>,
    /// The areas of hostcalls that it needs, as `capabilities.hostcalls` names them.
    pub areas: Vec<String>,
    /// Those of the imports that this host does not have. Calling one ends the instance.
    pub unsupported: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// Its sections with their bytes, in order; custom ones by their own names.
    pub sections: Vec<(String, usize)>,
    /// JSON Schema of its configuration.
    pub schema: Option<Value>,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// Why it is no plugin; nothing when it loads.
    pub problem: Option<String>,
}

impl Report {
    /// Reads as much as can be read, and loads the module as the gateway would.
    #[must_use]
    pub fn new(engine: &Engine, name: &str, bytes: &[u8]) -> Self {
        let mut report = Self {
            digest: hex(&Sha256::digest(bytes)).to_string(),
            size: bytes.len(),
            abi: Vec::new(),
            sdk: None,
            producers: Vec::new(),
            callbacks: Vec::new(),
            imports: Vec::new(),
            areas: Vec::new(),
            unsupported: Vec::new(),
            exports: Vec::new(),
            sections: Vec::new(),
            schema: None,
            warnings: Vec::new(),
            problem: None,
        };
        for payload in Parser::new(0).parse_all(bytes) {
            // What is behind a mistake cannot be read; the mistake itself is told by loading.
            let Ok(payload) = payload else { break };
            if matches!(&payload, Payload::Version { encoding: Encoding::Component, .. }) {
                break;
            }
            report.read(&payload);
        }
        match engine.load(name, bytes) {
            Ok(plugin) => {
                report.callbacks = plugin.callbacks.names().chain(plugin.tcp.names()).map(str::to_owned).collect();
                report.warnings.clone_from(&plugin.warnings);
                report.areas = plugin.areas().into_iter().map(str::to_owned).collect();
                report.unsupported.clone_from(&plugin.unsupported);
            }
            Err(error) => report.problem = Some(error.to_string()),
        }
        report
    }

    /// Its imports, under the area of `capabilities.hostcalls` that grants them, in the order of the areas; the others under the
    /// module that they are imported from, which goes without saying for hostcalls.
    #[must_use]
    pub fn imports_by_area(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> =
            AREAS.iter().map(|(area, _)| ((*area).to_owned(), Vec::new())).collect();
        for import in &self.imports {
            let (module, name) = import.split_once('.').unwrap_or(("", import));
            let area = area(name).filter(|_| module == "env").unwrap_or(module);
            let mark = if self.unsupported.contains(import) { " (this host does not have it)" } else { "" };
            let group = match groups.iter().position(|(known, _)| known == area) {
                Some(group) => group,
                None => {
                    groups.push((area.to_owned(), Vec::new()));
                    groups.len() - 1
                }
            };
            if let Some((_, names)) = groups.get_mut(group) {
                names.push(format!("{name}{mark}"));
            }
        }
        groups.retain(|(_, names)| !names.is_empty());
        groups
    }

    fn read(&mut self, payload: &Payload<'_>) {
        match payload {
            Payload::ImportSection(section) => {
                let imports = section.clone().into_imports().filter_map(Result::ok);
                self.imports.extend(imports.map(|import| format!("{}.{}", import.module, import.name)));
            }
            Payload::ExportSection(section) => {
                self.exports
                    .extend(section.clone().into_iter().filter_map(|export| Some(export.ok()?.name.to_owned())));
                let versions = self.exports.iter().filter_map(|name| name.strip_prefix("proxy_abi_version_"));
                self.abi = versions.map(|version| version.replace('_', ".")).collect();
            }
            Payload::CustomSection(section) => {
                self.sections.push((section.name().to_owned(), section.data().len()));
                let json = || serde_json::from_slice::<Value>(section.data()).ok();
                match section.name() {
                    "sluicegate.manifest" => self.sdk = json().and_then(|json| Some(json["sdk"].as_str()?.to_owned())),
                    "sluicegate.schema" => self.schema = json(),
                    _ => {}
                }
                if let KnownCustom::Producers(fields) = section.as_known() {
                    for field in fields.into_iter().filter_map(Result::ok) {
                        let made = field.values.into_iter().filter_map(Result::ok);
                        self.producers
                            .extend(made.map(|made| format!("{} {}", made.name, made.version).trim().to_owned()));
                    }
                }
                return;
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            self.sections.push((section_name(id).to_owned(), range.len()));
        }
    }

    /// For `-o json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "valid": self.problem.is_none(),
            "problem": self.problem,
            "digest": self.digest,
            "size": self.size,
            "abi": self.abi,
            "sdk": self.sdk,
            "producers": self.producers,
            "callbacks": self.callbacks,
            "imports": self.imports,
            "areas": self.areas,
            "unsupported": self.unsupported,
            "exports": self.exports,
            "sections": self.sections.iter().map(|(name, size)| json!({ "name": name, "size": size })).collect::<Vec<_>>(),
            "schema": self.schema,
            "warnings": self.warnings,
        })
    }
}

/// Names of sections by their numbers (WebAssembly core specification §5.5.2).
fn section_name(id: u8) -> &'static str {
    const NAMES: [&str; 14] = [
        "custom",
        "type",
        "import",
        "function",
        "table",
        "memory",
        "global",
        "export",
        "start",
        "element",
        "code",
        "data",
        "data count",
        "tag",
    ];
    NAMES.get(usize::from(id)).copied().unwrap_or("unknown")
}
