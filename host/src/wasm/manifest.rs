//! What a module says of itself in the custom sections `sluicegate.manifest` and `sluicegate.schema` (sdk/HOST.md).

use std::sync::Arc;

use serde::Deserialize;
use wasmparser::{Parser, Payload};

use super::PluginError;
use crate::config::PauseMeaning;
use crate::filter::Callbacks;

const MANIFEST: &str = "sluicegate.manifest";
const SCHEMA: &str = "sluicegate.schema";

/// Both sections, read and checked.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) manifest: Option<Manifest>,
    pub(super) schema: Option<Arc<str>>,
}

/// What the author wrote, as the SDK records it.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    callbacks: Vec<String>,
    #[serde(default)]
    pause: Option<Pause>,
    #[serde(default)]
    streams: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pause {
    StopAll,
    StopIteration,
}

/// Reads the custom sections of a module, without validating the rest of it.
pub(super) fn read(module: &[u8]) -> Result<Sections, PluginError> {
    let mut sections = Sections::default();
    for payload in Parser::new(0).parse_all(module) {
        let Ok(Payload::CustomSection(section)) = payload else { continue };
        match section.name() {
            MANIFEST => {
                let manifest = serde_json::from_slice(section.data())
                    .map_err(|error| PluginError(format!("its section {MANIFEST} cannot be read: {error}")))?;
                sections.manifest = Some(manifest);
            }
            SCHEMA => {
                let text = std::str::from_utf8(section.data()).ok();
                let valid = text.filter(|text| {
                    serde_json::from_str::<serde_json::Value>(text).is_ok_and(|schema| schema.is_object())
                });
                let text = valid.ok_or_else(|| PluginError(format!("its section {SCHEMA} is not a JSON object")))?;
                sections.schema = Some(Arc::from(text));
            }
            _ => {}
        }
    }
    Ok(sections)
}

impl Manifest {
    /// The callbacks among those `exported` that the author wrote.
    pub(super) fn narrow(&self, exported: Callbacks) -> Callbacks {
        let wrote = |name: &str| self.callbacks.iter().any(|callback| callback == name);
        let streams = |name: &str| self.streams.iter().any(|direction| direction == name);
        Callbacks {
            request_headers: exported.request_headers && wrote("request_headers"),
            request_body: exported.request_body && wrote("request_body"),
            request_trailers: exported.request_trailers && wrote("request_trailers"),
            response_headers: exported.response_headers && wrote("response_headers"),
            response_body: exported.response_body && wrote("response_body"),
            response_trailers: exported.response_trailers && wrote("response_trailers"),
            finish: exported.finish && wrote("finish"),
            streams_request_body: streams("request"),
            streams_response_body: streams("response"),
        }
    }
    /// What Pause means, when the manifest says.
    pub(super) fn pause(&self) -> Option<PauseMeaning> {
        self.pause.map(|pause| match pause {
            Pause::StopAll => PauseMeaning::StopAll,
            Pause::StopIteration => PauseMeaning::StopIteration,
        })
    }
}
