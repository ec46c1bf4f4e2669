//! Syntax tree → [`Config`]: one file per noun, every problem reported, nothing fixed silently.
//!
//! A check answers `None` once it has reported a problem; its caller goes on with the other parts first.

mod actions;
mod balance;
mod capabilities;
mod filters;
mod limits;
mod listeners;
mod matches;
mod plugins;
mod routes;
mod tls;
mod upstreams;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use jsonc_parser::ast::Value;

use super::Config;
use super::fields::Fields;
use super::node::{Member, Node, Text};
use super::suggest::closest;

/// Checks a whole file.
pub(super) fn config(root: &Node<'_>) -> Option<Config> {
    let mut fields = Fields::of(root)?;
    // For editors; what it names is not read.
    if let Some(schema) = fields.optional("$schema") {
        schema.plain_text();
    }
    let listeners = fields.required("listeners").and_then(|node| listeners::listeners(&node));
    let admin = fields.optional("admin").map(|node| listeners::admin(&node, listeners.as_deref().unwrap_or_default()));
    let plugins = match fields.optional("plugins") {
        Some(node) => plugins::plugins(&node),
        None => Some(plugins::default(root)),
    };
    let upstreams = fields.optional("upstreams");
    let names = UpstreamNames::of(upstreams.as_ref());
    let upstreams = upstreams.map_or_else(|| Some(Default::default()), |node| upstreams::upstreams(&node));
    let filters = fields.optional("filters").map_or_else(|| Some(Vec::new()), |node| filters::filters(&node, &names));
    let routes = fields.optional("routes").map_or_else(|| Some(Vec::new()), |node| routes::routes(&node, &names));
    let limits = fields.optional("limits").map_or_else(|| Some(Default::default()), |node| limits::limits(&node));
    fields.finish();
    Some(Config {
        listeners: listeners?,
        admin: match admin {
            Some(admin) => Some(admin?),
            None => None,
        },
        plugins: plugins?,
        upstreams: upstreams?,
        filters: filters?,
        routes: routes?,
        limits: limits?,
    })
}

/// Checks every element before any failure counts, so that the problems of all are reported.
fn all<'a, T>(nodes: &[Node<'a>], check: impl FnMut(&Node<'a>) -> Option<T>) -> Option<Vec<T>> {
    let checked: Vec<Option<T>> = nodes.iter().map(check).collect();
    checked.into_iter().collect()
}

/// The path of a file or directory; a relative one starts beside the configuration.
fn path(node: &Node<'_>) -> Option<PathBuf> {
    let text = node.text()?;
    if text.value.is_empty() {
        node.problem("must not be empty");
        return None;
    }
    Some(node.document.base_dir.join(&*text.value))
}

/// The names that upstreams may be called by: those of faulty upstreams too, which are reported once, where they stand.
/// `None` when the upstreams are no object, so that any name may be right.
struct UpstreamNames(Option<BTreeSet<String>>);

impl UpstreamNames {
    fn of(upstreams: Option<&Node<'_>>) -> Self {
        match upstreams.map(|node| node.value) {
            Some(Value::Object(object)) => {
                Self(Some(object.properties.iter().map(|property| property.name.as_str().to_owned()).collect()))
            }
            Some(_) => Self(None),
            None => Self(Some(BTreeSet::new())),
        }
    }
    /// The name in `node`, when it is an upstream's.
    fn resolve(&self, node: &Node<'_>) -> Option<String> {
        let text = node.text()?;
        let names = match &self.0 {
            Some(names) if !names.contains(&*text.value) => names,
            _ => return Some(text.value.into_owned()),
        };
        let suggestion = suggest(&text, names.iter().map(String::as_str));
        node.problem_suggesting(format!("unknown upstream {}", text.shown), suggestion);
        None
    }
}

impl UpstreamNames {
    /// The name that is a member's key, when it is an upstream's.
    fn resolve_key(&self, member: &Member<'_>) -> Option<Arc<str>> {
        let key = &*member.key;
        match &self.0 {
            Some(names) if !names.contains(key) => {
                let suggestion = closest(key, names.iter().map(String::as_str));
                let message = format!("unknown upstream \"{key}\"");
                member.node.problem_at(member.key_span, &member.node.path, message, suggestion);
                None
            }
            _ => Some(key.into()),
        }
    }
}

/// The closest candidate to a text; none for one that may hold a secret.
fn suggest<'c>(text: &Text<'_>, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    if text.secret { None } else { closest(&text.value, candidates) }
}

/// The value of one of a few words.
fn word<T: Copy>(node: &Node<'_>, words: &[(&str, T)]) -> Option<T> {
    let text = node.text()?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    let names: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let suggestion = suggest(&text, words.iter().map(|(word, _)| *word));
    node.problem_suggesting(format!("expected {}, found {}", names.join(" or "), text.shown), suggestion);
    None
}
