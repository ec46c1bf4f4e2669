//! Where the filters of a configuration stand in its file, for problems that are found after the file was read: unknown
//! plugins, schema violations, a plugin that refuses its configuration.

use std::collections::HashMap;
use std::sync::Arc;

use super::node::{join, shown};
use super::problem::Problem;
use super::source::{Source, Span};

/// The places of every filter entry, of every value inside its configuration, and of the pins.
#[derive(Clone, Debug)]
pub struct Origins {
    pub(super) source: Arc<Source>,
    /// By the entry's path: `routes[0].filters[2]`.
    pub(super) filters: HashMap<String, FilterOrigin>,
    /// By the pinned plugin's name.
    pub(super) pins: HashMap<Arc<str>, Place>,
    /// By path: `listeners[0].tls.certificates[0].key`.
    pub(super) files: HashMap<String, Place>,
    /// By name.
    pub(super) upstreams: HashMap<String, Place>,
}

/// The places of one filter entry.
#[derive(Clone, Debug)]
pub(super) struct FilterOrigin {
    /// The whole entry.
    pub(super) entry: Span,
    /// The value of `use`.
    pub(super) plugin: Span,
    /// Whether the configuration is one bare string, handed over without quotes.
    pub(super) bare: bool,
    /// By key of the entry: what else may keep the plugin from starting.
    pub(super) settings: HashMap<&'static str, Place>,
    /// By JSON pointer (RFC 6901) inside the configuration; empty when there is none.
    pub(super) places: HashMap<String, Place>,
}

/// Where one value stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// JSON path from the top of the file.
    pub(super) path: String,
    /// Its key, when it is the member of an object.
    pub(super) key: Option<Span>,
    pub(super) value: Span,
}

impl Origins {
    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &str {
        self.source.name()
    }
    /// A problem with a value inside a filter's configuration. `path`: the filter entry's; `pointer`: a JSON pointer
    /// (RFC 6901) inside its `config`, empty for the whole. What does not stand in the file is reported at its nearest parent.
    #[must_use]
    pub fn problem(
        &self,
        path: &str,
        pointer: &str,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Problem {
        self.report(path, pointer, |place| place.value, message.into()).suggest(suggestion)
    }
    /// A problem with a key inside a filter's configuration.
    #[must_use]
    pub fn key_problem(
        &self,
        path: &str,
        pointer: &str,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Problem {
        self.report(path, pointer, |place| place.key.unwrap_or(place.value), message.into()).suggest(suggestion)
    }
    /// A problem with the plugin that an entry names.
    #[must_use]
    pub fn plugin_problem(&self, path: &str, message: impl Into<String>, suggestion: Option<String>) -> Problem {
        match self.filters.get(path) {
            Some(filter) => Problem::at(&self.source, filter.plugin, &join(path, "use"), message.into()),
            None => self.unplaced(path, message.into()),
        }
        .suggest(suggestion)
    }
    /// A problem with another key of a filter entry, at its `use` when the file does not have the key.
    #[must_use]
    pub fn setting_problem(
        &self,
        path: &str,
        key: &str,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Problem {
        match self.filters.get(path).and_then(|filter| filter.settings.get(key)) {
            Some(place) => Problem::at(&self.source, place.value, &place.path, message.into()).suggest(suggestion),
            None => self.plugin_problem(path, message, None),
        }
    }
    /// A problem with the name of a pinned plugin.
    #[must_use]
    pub fn pin_problem(&self, name: &str, message: impl Into<String>, suggestion: Option<String>) -> Problem {
        match self.pins.get(name) {
            Some(pin) => Problem::at(&self.source, pin.key.unwrap_or(pin.value), &pin.path, message.into()),
            None => self.unplaced("plugins.sha256", message.into()),
        }
        .suggest(suggestion)
    }
    /// A problem with a file that the value at that path names.
    #[must_use]
    pub fn file_problem(&self, path: &str, message: impl Into<String>) -> Problem {
        match self.files.get(path) {
            Some(place) => Problem::at(&self.source, place.value, &place.path, message.into()),
            None => self.unplaced(path, message.into()),
        }
    }
    /// What is to be said about an upstream as a whole.
    #[must_use]
    pub fn upstream_problem(&self, name: &str, message: impl Into<String>) -> Problem {
        match self.upstreams.get(name) {
            Some(place) => Problem::at(&self.source, place.key.unwrap_or(place.value), &place.path, message.into()),
            None => self.unplaced(&join("upstreams", name), message.into()),
        }
    }
    /// How a value inside a filter's configuration is written: the only form for messages.
    pub(super) fn written(&self, path: &str, pointer: &str) -> Option<String> {
        let place = self.filters.get(path)?.places.get(pointer)?;
        Some(shown(self.source.slice(place.value)))
    }
    /// Whether the configuration of an entry is one bare string.
    pub(super) fn is_bare(&self, path: &str) -> bool {
        self.filters.get(path).is_some_and(|filter| filter.bare)
    }

    fn report(&self, path: &str, pointer: &str, span: impl Fn(&Place) -> Span, message: String) -> Problem {
        let Some(filter) = self.filters.get(path) else {
            return self.unplaced(path, message);
        };
        let mut parent = pointer;
        loop {
            if let Some(place) = filter.places.get(parent) {
                return Problem::at(&self.source, span(place), &place.path, message);
            }
            match parent.rfind('/') {
                Some(cut) => parent = &parent[..cut],
                None => return Problem::at(&self.source, filter.entry, &join(path, "config"), message),
            }
        }
    }
    /// A path that is not of this file: the problem is told without a place.
    fn unplaced(&self, path: &str, message: String) -> Problem {
        Problem { path: path.to_owned(), ..Problem::of_file(self.source.name(), message) }
    }
}
