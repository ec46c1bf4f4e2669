//! What a reload has changed about the routes: counted for the log.

use std::collections::HashMap;
use std::sync::Arc;

use super::generation::Generation;
use crate::config::{FilterEntry, Route};
use crate::wasm::FilterSpec;

/// How many routes two generations do not have in common. Routes are known by their names; without one, by their place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) added: usize,
    pub(super) removed: usize,
    /// In themselves or in their filters; a new version of a plugin changes no route.
    pub(super) changed: usize,
}

impl Difference {
    pub(super) fn between(old: &Generation, new: &Generation) -> Self {
        let mut before: HashMap<&str, (&Route, &Vec<Arc<FilterSpec>>)> =
            old.config.routes.iter().zip(&old.routes).map(|pair| (&*pair.0.name, pair)).collect();
        let mut difference = Self::default();
        for route in new.config.routes.iter().zip(&new.routes) {
            match before.remove(&*route.0.name) {
                None => difference.added += 1,
                Some(known) if !is_same(known, route) => difference.changed += 1,
                Some(_) => {}
            }
        }
        difference.removed = before.len();
        difference
    }
}

type Chained<'a> = (&'a Route, &'a Vec<Arc<FilterSpec>>);

fn is_same((old, old_specs): Chained<'_>, (new, new_specs): Chained<'_>) -> bool {
    let mut pairs = old.filters.iter().zip(old_specs).zip(new.filters.iter().zip(new_specs));
    old_specs.len() == new_specs.len() && own_words(old) == own_words(new) && pairs.all(is_same_filter)
}

/// A route without its filters, as a text: regular expressions compare no other way.
fn own_words(route: &Route) -> String {
    format!("{:?}", Route { filters: Vec::new(), ..route.clone() })
}

/// A filter's entry with what it became.
type Used<'a> = (&'a FilterEntry, &'a Arc<FilterSpec>);

/// The place in the file, and the plugin's version, aside.
fn is_same_filter(((old_entry, old), (new_entry, new)): (Used<'_>, Used<'_>)) -> bool {
    let when = |entry: &FilterEntry| format!("{:?}", entry.when);
    (&old.name, &old.config, &old.upstreams) == (&new.name, &new.config, &new.upstreams)
        && (old.on_error, old.deadline, old.memory) == (new.on_error, new.deadline, new.memory)
        && (old.pause, &old.env, &old.capabilities) == (new.pause, &new.env, &new.capabilities)
        && (&old.vm, old.ticks) == (&new.vm, new.ticks)
        && when(old_entry) == when(new_entry)
}
