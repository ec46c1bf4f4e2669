//! Changes to headers, to a query and to a JSON body: checked once, filled in for each message, and then made.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sluicegate_sdk::prelude::*;

use crate::config::EditsConfig;
use crate::template;

/// Fields that belong to the gateway: with them a message could be split or lose its end.
const FRAMING: [&str; 7] =
    ["content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive"];
/// What is encoded in paths and queries: all but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Changes to what is named by an `N`.
#[derive(Default)]
pub(crate) struct Edits<N> {
    pub(crate) remove: Vec<N>,
    pub(crate) rename: Vec<(N, N)>,
    pub(crate) set: Vec<(N, Json)>,
    pub(crate) add: Vec<(N, Json)>,
}

impl<N: Clone> Edits<N> {
    /// Checks what is configured; `name` reads a name. The error says what is wrong.
    pub(crate) fn new(
        config: &EditsConfig,
        name: impl Fn(&str) -> Result<N, String>,
        in_response: bool,
    ) -> Result<Self, String> {
        let valued = |(at, value): (&String, &Json)| {
            fill(value, &|text| template::check(text, in_response).map(|()| String::new()))?;
            Ok((name(at)?, value.clone()))
        };
        Ok(Self {
            remove: config.remove.iter().map(|at| name(at)).collect::<Result<_, _>>()?,
            rename: config
                .rename
                .iter()
                .map(|(from, to)| Ok((name(from)?, name(to)?)))
                .collect::<Result<_, String>>()?,
            set: config.set.iter().map(valued).collect::<Result<_, String>>()?,
            add: config.add.iter().map(valued).collect::<Result<_, String>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.rename.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// The changes for one message.
    pub(crate) fn fill(&self, fact: impl Fn(&str) -> Option<String>) -> Filled<'_, N> {
        let value = |value: &Json| fill(value, &|text| template::render(text, &fact)).unwrap_or_default();
        let filled = |values: &'_ [(N, Json)]| values.iter().map(|(_, json)| value(json)).collect();
        Filled { edits: self, set: filled(&self.set), add: filled(&self.add) }
    }
}

/// Changes with their values filled in for one message.
pub(crate) struct Filled<'a, N> {
    edits: &'a Edits<N>,
    set: Vec<Json>,
    add: Vec<Json>,
}

impl<N> Filled<'_, N> {
    pub(crate) fn remove(&self) -> &[N] {
        &self.edits.remove
    }
    pub(crate) fn rename(&self) -> &[(N, N)] {
        &self.edits.rename
    }
    pub(crate) fn set(&self) -> impl Iterator<Item = (&N, &Json)> {
        self.edits.set.iter().map(|(name, _)| name).zip(&self.set)
    }
    pub(crate) fn add(&self) -> impl Iterator<Item = (&N, &Json)> {
        self.edits.add.iter().map(|(name, _)| name).zip(&self.add)
    }
}

/// The value with every text in it rendered.
fn fill(value: &Json, render: &impl Fn(&str) -> Result<String, String>) -> Result<Json, String> {
    Ok(match value {
        Json::String(text) => Json::String(render(text)?),
        Json::Array(items) => items.iter().map(|item| fill(item, render)).collect::<Result<_, _>>()?,
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| Ok((name.clone(), fill(value, render)?)));
            Json::Object(members.collect::<Result<_, String>>()?)
        }
        plain => plain.clone(),
    })
}

/// A header's name, in lower case.
pub(crate) fn header_name(name: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = name.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{name:?} is no header name"));
    }
    if FRAMING.contains(&name.as_str()) {
        return Err(format!("{name:?} belongs to the connection, which the gateway looks after"));
    }
    Ok(name)
}

/// Makes changes to headers. Control characters are left out of their values.
pub(crate) fn headers(headers: Headers<'_>, edits: &Filled<'_, String>) {
    let is_bad = |char: char| char != '\t' && char.is_control();
    let value = |value: &Json| match text(value) {
        text if text.contains(is_bad) => text.replace(is_bad, ""),
        text => text.into_owned(),
    };
    for name in edits.remove() {
        headers.remove(name);
    }
    for (from, to) in edits.rename() {
        let values = headers.get_all(from);
        if !values.is_empty() {
            headers.remove(from);
            headers.remove(to);
        }
        for value in values {
            headers.append(to, value);
        }
    }
    for (name, json) in edits.set() {
        headers.set(name, value(json));
    }
    for (name, json) in edits.add() {
        headers.append(name, value(json));
    }
}

/// A query (without `?`) with the changes made. Parameters that are not named stay byte for byte, in their order.
pub(crate) fn query(query: &str, edits: &Filled<'_, String>) -> String {
    let decode = |raw: &str| percent_decode_str(&raw.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pair = |name: &String, value: &Json| (name.clone(), format!("{}={}", encode(name), encode(&text(value))));
    let raw = query.split('&').filter(|raw| !raw.is_empty());
    let mut pairs: Vec<(String, String)> =
        raw.map(|raw| (decode(raw.split('=').next().unwrap_or_default()), raw.to_owned())).collect();
    pairs.retain(|(name, _)| !edits.remove().contains(name));
    for (from, to) in edits.rename() {
        if pairs.iter().any(|(name, _)| name == from) {
            pairs.retain(|(name, _)| name != to);
        }
        for pair in pairs.iter_mut().filter(|(name, _)| name == from) {
            let value = pair.1.find('=').map_or("", |at| &pair.1[at..]);
            *pair = (to.clone(), encode(to) + value);
        }
    }
    for (name, value) in edits.set() {
        let first = pairs.iter().position(|(found, _)| found == name).unwrap_or(pairs.len());
        pairs.retain(|(found, _)| found != name);
        pairs.insert(first, pair(name, value));
    }
    pairs.extend(edits.add().map(|(name, value)| pair(name, value)));
    pairs.into_iter().map(|(_, raw)| raw).collect::<Vec<_>>().join("&")
}

/// A text, percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A value where only text can stand.
fn text(value: &Json) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::from)
}
