//! `capabilities` of a filter's entry.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{all, suggest};
use crate::config::capabilities::{AREAS, Capabilities};
use crate::config::fields::Fields;
use crate::config::node::Node;

pub(super) fn capabilities(node: &Node<'_>) -> Option<Capabilities> {
    let mut fields = Fields::of(node)?;
    let hostcalls = fields.optional("hostcalls").map(|node| set(&node, hostcall));
    let foreign = fields.optional("foreign").map(|node| set(&node, name));
    let shared = fields.optional("shared").map(|node| set(&node, name));
    fields.finish();
    let whole = |granted: Option<Option<BTreeSet<Arc<str>>>>| match granted {
        Some(granted) => granted.map(Some),
        None => Some(None),
    };
    Some(Capabilities { hostcalls: whole(hostcalls)?, foreign: whole(foreign)?, shared: whole(shared)? })
}

fn set(node: &Node<'_>, check: impl FnMut(&Node<'_>) -> Option<Arc<str>>) -> Option<BTreeSet<Arc<str>>> {
    Some(all(&node.elements()?, check)?.into_iter().collect())
}

fn name(node: &Node<'_>) -> Option<Arc<str>> {
    let text = node.text()?;
    if text.value.is_empty() {
        node.problem("expected a name, found \"\"");
        return None;
    }
    Some(Arc::from(&*text.value))
}

/// An area of the ABI or one hostcall.
fn hostcall(node: &Node<'_>) -> Option<Arc<str>> {
    let text = node.text()?;
    let known = || AREAS.iter().flat_map(|(area, hostcalls)| std::iter::once(area).chain(hostcalls.iter()));
    if known().any(|known| *known == text.value) {
        return Some(Arc::from(&*text.value));
    }
    let message = format!("expected an area such as \"headers\" or the name of a hostcall, found {}", text.shown);
    node.problem_suggesting(message, suggest(&text, known().copied()));
    None
}
