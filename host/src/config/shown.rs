//! A configuration as it may be shown to whoever asks: what the file says, with every default, and without secrets.
//!
//! It is made from the text of the file, not from the checked values: what a `${…}` stood for is not known here, and so cannot
//! be shown. Of a reference the name stays, its default goes. What is secret although it stands in the file (a plugin's schema
//! says so, or the name of a header) is written `***`.

use jsonc_parser::ast::{ObjectPropName, Value as Syntax};
use serde_json::{Map, Value};

use super::include;
use super::interpolate::names_only;
use super::schema::cover;
use super::{Action, Config, Origins, UpstreamProtocol, schema};

/// Headers whose values are credentials.
const SECRET_HEADERS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-amz-security-token",
];

/// Parts of the names of headers, query parameters and the like that carry secrets.
const SECRET_WORDS: [&str; 5] = ["secret", "token", "passw", "credential", "apikey"];

impl Origins {
    /// The configuration, as it may be shown. `schema_of`: the text of a plugin's schema, by its name.
    #[must_use]
    pub fn shown<'s>(&self, config: &Config, schema_of: impl Fn(&str) -> Option<&'s str>) -> Value {
        // The text was parsed before; it is again, as this is asked for seldom and by people.
        let tree = include::tree(&self.source, &mut Vec::new()).ok().flatten();
        let mut shown = tree.as_ref().map_or(Value::Null, plain);
        // What it names is shown in its place.
        if let Some(top) = shown.as_object_mut() {
            top.remove("include");
        }
        schema::fill(&mut shown);
        effective(&mut shown, config);
        let routed =
            config.routes.iter().enumerate().map(|(index, route)| (format!("/routes/{index}"), &route.filters));
        let listening =
            config.listeners.iter().enumerate().filter_map(|(index, listener)| {
                Some((format!("/listeners/{index}/tcp"), &listener.tcp.as_ref()?.filters))
            });
        for (pointer, entries) in std::iter::once((String::new(), &config.filters)).chain(routed).chain(listening) {
            let filters = shown.pointer_mut(&pointer).and_then(|chain| chain.get_mut("filters")?.as_array_mut());
            for (filter, entry) in filters.into_iter().flatten().zip(entries) {
                hide_secrets(filter, schema_of(&entry.plugin));
            }
        }
        hide_all_headers(&mut shown);
        if let Some(token) = shown.pointer_mut("/admin/token") {
            cover(token);
        }
        shown
    }
}

/// A value as it is written, of references the names only.
pub(super) fn plain(value: &Syntax<'_>) -> Value {
    match value {
        Syntax::StringLit(literal) => names_only(&literal.value).into(),
        Syntax::NumberLit(literal) => serde_json::from_str(literal.value).unwrap_or_else(|_| literal.value.into()),
        Syntax::BooleanLit(literal) => literal.value.into(),
        Syntax::NullKeyword(_) => Value::Null,
        Syntax::Array(array) => array.elements.iter().map(plain).collect(),
        Syntax::Object(object) => {
            let member = |property: &jsonc_parser::ast::ObjectProp<'_>| {
                let key = match &property.name {
                    ObjectPropName::String(literal) => literal.value.to_string(),
                    ObjectPropName::Word(word) => word.value.to_owned(),
                };
                (key, plain(&property.value))
            };
            object.properties.iter().map(member).collect::<Map<_, _>>().into()
        }
    }
}

/// What no schema knows: defaults that depend on the machine, and addresses as they are used, which the log tells too.
fn effective(shown: &mut Value, config: &Config) {
    let mut put = |pointer: &str, key: &str, value: Value| {
        if let Some(Value::Object(members)) = shown.pointer_mut(pointer) {
            members.insert(key.to_owned(), value);
        }
    };
    put("/limits", "workers", config.limits.workers.into());
    put("/limits", "memory", config.limits.memory.map_or(false.into(), Value::from));
    put("/plugins", "dir", config.plugins.dir.display().to_string().into());
    let cache = config.plugins.cache.as_ref().map_or(false.into(), |cache| cache.display().to_string().into());
    put("/plugins", "cache", cache);
    for (index, listener) in config.listeners.iter().enumerate() {
        put(&format!("/listeners/{index}"), "address", listener.address.to_string().into());
    }
    if let Some(admin) = &config.admin {
        put("/admin", "address", admin.address.to_string().into());
    }
    for (index, route) in config.routes.iter().enumerate() {
        put(&format!("/routes/{index}"), "name", route.name.to_string().into());
    }
    for (name, upstream) in &config.upstreams {
        let shown = &mut shown["upstreams"][name.as_str()];
        for (target, url) in shown["targets"].as_array_mut().into_iter().flatten().zip(upstream.urls()) {
            match target {
                Value::Object(members) => drop(members.insert("url".to_owned(), url.into())),
                target => *target = url.into(),
            }
        }
    }
    leave_out_idle(shown, config);
}

/// Defaults that have no effect where they are: those about HTTP where there is none, about sending where nothing is sent.
fn leave_out_idle(shown: &mut Value, config: &Config) {
    for (index, _) in config.listeners.iter().enumerate().filter(|(_, listener)| listener.tcp.is_some()) {
        if let Some(Value::Object(tls)) = shown.pointer_mut(&format!("/listeners/{index}/tls")) {
            tls.remove("alpn");
        }
    }
    let http2 = |upstream: &str| {
        config.upstreams.get(upstream).is_some_and(|upstream| upstream.protocol == UpstreamProtocol::Http2)
    };
    for (index, route) in config.routes.iter().enumerate() {
        let Some(Value::Object(members)) = shown.pointer_mut(&format!("/routes/{index}")) else { continue };
        let idle: &[&str] = match &route.action {
            Action::Forward(shares) if shares.iter().all(|share| http2(&share.upstream)) => &["upgrades"],
            Action::Forward(_) => &[],
            Action::Redirect(_) | Action::Respond(_) => &["upgrades", "mirrors"],
        };
        idle.iter().for_each(|key| drop(members.remove(*key)));
    }
    for (name, _) in config.upstreams.iter().filter(|(_, upstream)| upstream.protocol == UpstreamProtocol::Tcp) {
        if let Some(upstream) = shown["upstreams"][name.as_str()].as_object_mut() {
            upstream.remove("protocol");
        }
    }
}

/// Covers what the plugin's schema calls secret, and variables with such names.
fn hide_secrets(filter: &mut Value, schema: Option<&str>) {
    let schema = schema.and_then(|text| serde_json::from_str(text).ok());
    if let (Some(schema), Some(config)) = (schema, filter.get_mut("config")) {
        schema::hide(&schema, config);
    }
    // What these mean is known to the module alone.
    if let Some(Value::Object(variables)) = filter.get_mut("env") {
        variables.values_mut().for_each(cover);
    }
    if let Some(vm_config) = filter.get_mut("vm_config") {
        cover(vm_config);
    }
}

/// Covers headers that carry credentials, and the secrets of cookies; upstreams may have any name, and name cookies themselves.
fn hide_all_headers(shown: &mut Value) {
    for (key, part) in shown.as_object_mut().into_iter().flatten() {
        if key != "upstreams" {
            hide_headers(part);
            continue;
        }
        for upstream in part.as_object_mut().into_iter().flat_map(Map::values_mut) {
            let Some(members) = upstream.as_object_mut() else { continue };
            members.iter_mut().filter(|(key, _)| *key != "balance").for_each(|(_, member)| hide_headers(member));
            if let Some(secret) = upstream.pointer_mut("/balance/cookie/secret") {
                cover(secret);
            }
        }
    }
}

/// Covers what stands under the name of a header that carries credentials, wherever it is.
fn hide_headers(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let name = key.to_ascii_lowercase();
                if SECRET_HEADERS.contains(&&*name) || SECRET_WORDS.iter().any(|word| name.contains(word)) {
                    cover(member);
                } else {
                    hide_headers(member);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(hide_headers),
        _ => {}
    }
}
