//! Upstreams that nothing uses: warned about, for something was probably meant to.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{Action, Loaded, Problem};
use crate::wasm::FilterSpec;

/// A warning for every upstream that no route, TCP listener or filter leads to. `specs`: all filters.
pub(super) fn upstreams<'a>(loaded: &Loaded, specs: impl Iterator<Item = &'a Arc<FilterSpec>>) -> Vec<Problem> {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for route in &loaded.config.routes {
        if let Action::Forward(shares) = &route.action {
            used.extend(shares.iter().map(|share| &*share.upstream));
        }
        used.extend(route.mirrors.iter().map(|mirror| &*mirror.upstream));
    }
    used.extend(loaded.config.listeners.iter().filter_map(|listener| Some(&*listener.tcp.as_ref()?.upstream)));
    for spec in specs {
        used.extend(spec.upstreams.iter().map(String::as_str));
    }
    let unused = loaded.config.upstreams.keys().filter(|name| !used.contains(name.as_str()));
    unused.map(|name| loaded.origins.upstream_problem(name, "nothing uses this upstream")).collect()
}
