//! Syntax tree → [`Config`]: one file per noun, every problem reported, nothing fixed silently.
//!
//! A check answers `None` once it has reported a problem; its caller goes on with the other parts first.

mod actions;
mod balance;
mod capabilities;
mod dns;
mod effect;
mod filters;
mod limits;
mod listeners;
mod matches;
mod plugins;
mod pool;
mod reach;
mod routes;
mod tcp;
mod tls;
mod unix;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jsonc_parser::ast::Value;

use super::fields::Fields;
use super::node::{Member, Node, Text};
use super::suggest::closest;
use super::{Config, Place, Target, Upstream, UpstreamProtocol};

/// Checks a whole file.
pub(super) fn config(root: &Node<'_>) -> Option<Config> {
    let mut fields = Fields::of(root)?;
    // For editors; what it names is not read.
    if let Some(schema) = fields.optional("$schema") {
        schema.plain_text();
    }
    // What it names has been read, and is part of this.
    if let Some(include) = fields.optional("include") {
        include.elements().unwrap_or_default().iter().for_each(|pattern| drop(pattern.text()));
    }
    let (listeners, admin) = (fields.required("listeners"), fields.optional("admin"));
    let plugins = match fields.optional("plugins") {
        Some(node) => plugins::plugins(&node),
        None => Some(plugins::default(root)),
    };
    let upstreams = fields.optional("upstreams");
    let mut names = UpstreamNames::of(upstreams.as_ref());
    let upstreams = upstreams.map_or_else(|| Some(Default::default()), |node| upstreams::upstreams(&node));
    names.carriers = upstreams.iter().flatten().map(|(name, upstream)| (name.clone(), Carrier::of(upstream))).collect();
    // Without the names of upstreams, plugins' schemas cannot be checked.
    let known = plugins.as_ref().filter(|_| names.all.is_some());
    *root.document.plugins.borrow_mut() = known.cloned();
    let listening = listeners.clone();
    let listeners = listeners.and_then(|node| listeners::listeners(&node, &names));
    let admin = admin.map(|node| listeners::admin(&node, listeners.as_deref().unwrap_or_default()));
    let filters = fields.optional("filters").map_or_else(|| Some(Vec::new()), |node| filters::filters(&node, &names));
    let global = filters.as_deref().unwrap_or_default();
    let routes = fields.optional("routes").map_or_else(
        || Some(Vec::new()),
        |node| {
            let listeners = listeners::ListenerNames::of(listeners.as_deref());
            routes::routes(&node, &names, &listeners, global)
        },
    );
    let limits = fields.optional("limits").map_or_else(|| Some(Default::default()), |node| limits::limits(&node));
    if let (Some(node), Some(listeners), Some(limits)) = (listening, &listeners, &limits)
        && root.document.problems.borrow().is_empty()
    {
        effect::warn_of_listeners(&mut fields, &node, listeners, limits);
        if routes.as_ref().is_some_and(Vec::is_empty) && global.is_empty() {
            effect::warn_of_no_routes(root, &mut fields, listeners);
        }
    }
    fields.finish();
    let (mut upstreams, limits) = (upstreams?, limits?);
    for upstream in upstreams.values_mut() {
        upstream.pool = upstream.pool.part(limits.workers);
    }
    Some(Config {
        listeners: listeners?,
        admin: match admin {
            Some(admin) => Some(admin?),
            None => None,
        },
        plugins: plugins?,
        upstreams,
        filters: filters?,
        routes: routes?,
        limits,
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
    Some(node.base_dir().join(&*text.value))
}

/// The names that upstreams may be called by: those of faulty upstreams too, which are reported once, where they stand.
/// `None` when the upstreams are no object, so that any name may be right.
struct UpstreamNames {
    all: Option<BTreeSet<String>>,
    /// What those carry that are right.
    carriers: BTreeMap<String, Carrier>,
}

/// What an upstream can carry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    /// Requests, and bytes as they are.
    Both,
    /// Requests: its protocol, TLS, or a Unix socket is in the way of bytes.
    Http,
    /// Bytes: its targets are `tcp://…`.
    Tcp,
}

impl Carrier {
    fn of(upstream: &Upstream) -> Self {
        match upstream.protocol {
            UpstreamProtocol::Tcp => Self::Tcp,
            UpstreamProtocol::Http1 if upstream.targets.iter().all(carries_bytes) => Self::Both,
            UpstreamProtocol::Http1 | UpstreamProtocol::Http2 => Self::Http,
        }
    }
}

fn carries_bytes(target: &Target) -> bool {
    !target.tls && matches!(target.place, Place::Network { .. })
}

const TCP_ONLY: &str = "an upstream of tcp:// targets takes no requests";

impl UpstreamNames {
    fn of(upstreams: Option<&Node<'_>>) -> Self {
        let all = match upstreams.map(|node| node.value) {
            Some(Value::Object(object)) => {
                Some(object.properties.iter().map(|property| property.name.as_str().to_owned()).collect())
            }
            Some(_) => None,
            None => Some(BTreeSet::new()),
        };
        Self { all, carriers: BTreeMap::new() }
    }
    /// The name in `node`, when it is that of an upstream for requests.
    fn resolve(&self, node: &Node<'_>) -> Option<String> {
        let name = self.known(node)?;
        if self.carriers.get(&name) == Some(&Carrier::Tcp) {
            node.problem(TCP_ONLY);
            return None;
        }
        Some(name)
    }
    /// The name in `node`, when it is that of an upstream for the bytes of connections.
    fn resolve_tcp(&self, node: &Node<'_>) -> Option<String> {
        let name = self.known(node)?;
        if self.carriers.get(&name) == Some(&Carrier::Http) {
            node.problem("TCP connections need an upstream of tcp:// (or http://) targets, without TLS or HTTP/2");
            return None;
        }
        Some(name)
    }
    /// The name in `node`, when it is an upstream's.
    fn known(&self, node: &Node<'_>) -> Option<String> {
        let text = node.text()?;
        let names = match &self.all {
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
        match &self.all {
            Some(names) if !names.contains(key) => {
                let suggestion = closest(key, names.iter().map(String::as_str));
                let message = format!("unknown upstream \"{key}\"");
                member.node.problem_at(member.key_span, &member.node.path, message, suggestion);
                None
            }
            _ if self.carriers.get(key) == Some(&Carrier::Tcp) => {
                let message = TCP_ONLY.to_owned();
                member.node.problem_at(member.key_span, &member.node.path, message, None);
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
