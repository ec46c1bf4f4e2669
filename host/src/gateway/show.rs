//! A generation as people see it: its configuration without secrets, its routes in the order of precedence, the schema of the file.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::generation::Generation;
use super::library::{self, find};
use super::{StartError, short};
use crate::config::{self, FilterEntry, Plugins, Route, schema};
use crate::wasm::{Engine, FilterSpec, Report};

/// What a route may do; one of these is there.
const ACTIONS: [&str; 4] = ["upstream", "upstreams", "redirect", "respond"];

impl Generation {
    /// The configuration with every default and without secrets.
    pub(super) fn shown(&self) -> Value {
        self.origins.shown(&self.config, |plugin| self.plugins.get(plugin)?.schema.as_deref())
    }

    /// The routes, the one that takes precedence first. Those of different hosts are never rivals, and stay in the order of the file.
    pub(super) fn shown_routes(&self) -> Value {
        let shown = self.shown();
        let global: Vec<Value> = self.config.filters.iter().zip(&self.global).map(shown_filter).collect();
        let mut routes: Vec<(usize, &Route)> = self.config.routes.iter().enumerate().collect();
        routes.sort_by_key(|(index, route)| (Reverse(route.matches.rank(None)), *index));
        let route = |(index, route): (usize, &Route)| {
            let shown = &shown["routes"][index];
            let own = self.routes.get(index).into_iter().flatten();
            let own = route.filters.iter().zip(own).map(shown_filter);
            json!({
                "name": &*route.name,
                "path": format!("routes[{index}]"),
                "listeners": shown["listeners"],
                "match": shown["match"],
                "filters": global.iter().cloned().chain(own).collect::<Vec<_>>(),
                "action": action(shown),
            })
        };
        json!({ "routes": routes.into_iter().map(route).collect::<Vec<_>>() })
    }
}

fn shown_filter((entry, spec): (&FilterEntry, &Arc<FilterSpec>)) -> Value {
    json!({
        "path": &*entry.path,
        "use": &*entry.plugin,
        "digest": short(&spec.plugin.digest),
        "conditional": entry.when.is_some(),
    })
}

/// The part of a route that says what it does.
pub(super) fn action(route: &Value) -> Value {
    let there = ACTIONS.iter().filter_map(|key| Some(((*key).to_owned(), route.get(*key)?.clone())));
    there.collect::<Map<_, _>>().into()
}

/// One JSON Schema of the configuration file at `path`, with those of all plugins that it could use. The file itself may be
/// broken or missing: then plugins are looked for where they are by default.
///
/// The second value names plugins whose schema cannot be used.
///
/// # Errors
/// The engine does not start.
pub fn schema_of(path: &Path) -> Result<(Value, Vec<String>), StartError> {
    let engine = Engine::new().map_err(anyhow::Error::from)?;
    let beside = path.parent().unwrap_or(Path::new("")).join("plugins");
    let plugins = match config::load(path) {
        Ok(loaded) => loaded.config.plugins,
        Err(refused) => refused.rest.map_or_else(|| Plugins { dir: beside, ..Plugins::default() }, |rest| rest.plugins),
    };
    let schemas = library::names(&plugins).into_iter().filter_map(|name| {
        let bytes = find(&plugins, &name)?.bytes.ok()?;
        let schema = Report::new(&engine, &name, &bytes).schema?;
        Some((name, schema.to_string()))
    });
    let schemas: Vec<(String, String)> = schemas.collect();
    Ok(schema::whole(schemas.iter().map(|(name, schema)| (name.as_str(), schema.as_str()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_the_built_in_filters_and_fits_the_repositorys_gateway() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let Ok((schema, unusable)) = schema_of(&root.join("gateway.json")) else { panic!("there is a schema") };
        assert!(unusable.is_empty(), "{unusable:?}");
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let filter = |filter: Value| {
            let route = json!({ "respond": {}, "filters": [filter] });
            validator.is_valid(&json!({ "listeners": [{ "address": "127.0.0.1:0" }], "routes": [route] }))
        };
        assert!(filter(json!({ "use": "auth", "config": { "api_keys": { "alice": "${ALICE_KEY:-demo}" } } })));
        assert!(filter(json!({ "use": "rate_limit", "config": { "limit": 100, "per": "1m", "key": "consumer" } })));
        assert!(filter(json!({ "use": "log" })));
        assert!(!filter(json!({ "use": "cors" })), "its origins are required");
        assert!(!filter(json!({ "use": "auth", "config": { "api_kes": {} } })));
        assert!(!filter(json!({ "use": "rate_limit", "config": { "limit": 100, "per": "1m", "key": "consumers" } })));
    }
}
