//! Where plugins come from: `plugins`.

use std::path::Path;

use crate::config::Plugins;
use crate::config::fields::Fields;
use crate::config::node::Node;

/// The drop-in directory beside the configuration.
const DIRECTORY: &str = "plugins";

pub(super) fn default(base_dir: &Path) -> Plugins {
    Plugins { dir: base_dir.join(DIRECTORY) }
}

pub(super) fn plugins(node: &Node<'_>) -> Option<Plugins> {
    let mut fields = Fields::of(node)?;
    let dir = fields.optional("dir");
    fields.finish();
    let base_dir = node.document.base_dir;
    let Some(dir) = dir else {
        return Some(default(base_dir));
    };
    let text = dir.text()?;
    if text.value.is_empty() {
        dir.problem("must not be empty");
        return None;
    }
    Some(Plugins { dir: base_dir.join(&*text.value) })
}
