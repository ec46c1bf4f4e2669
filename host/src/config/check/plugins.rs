//! Where plugins come from, and which bytes may run: `plugins`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use minisign_verify::PublicKey;

use super::{all, path};
use crate::config::Plugins;
use crate::config::fields::{Fields, is_note};
use crate::config::node::{Member, Node};
use crate::config::origins::Place;

/// The drop-in directory beside the configuration.
const DIRECTORY: &str = "plugins";
/// Hexadecimal digits of a SHA-256.
const DIGEST_DIGITS: usize = 64;

pub(super) fn default(base_dir: &Path) -> Plugins {
    Plugins { dir: base_dir.join(DIRECTORY), sha256: BTreeMap::new(), keys: Vec::new() }
}

pub(super) fn plugins(node: &Node<'_>) -> Option<Plugins> {
    let mut fields = Fields::of(node)?;
    let base_dir = node.document.base_dir;
    let dir = fields.optional("dir").map_or_else(|| Some(base_dir.join(DIRECTORY)), |node| path(&node));
    let sha256 = fields.optional("sha256").map_or_else(|| Some(BTreeMap::new()), |node| pins(&node));
    let keys = fields.optional("keys").map_or_else(|| Some(Vec::new()), |node| all(&node.elements()?, key));
    fields.finish();
    Some(Plugins { dir: dir?, sha256: sha256?, keys: keys? })
}

fn pins(node: &Node<'_>) -> Option<BTreeMap<Arc<str>, Arc<str>>> {
    let pin = |member: &Member<'_>| {
        let name: Arc<str> = member.key.replace('_', "-").into();
        // Whether there is such a plugin is known only when the directory has been read.
        let (path, key) = (member.node.path.to_string(), Some(member.key_span));
        let place = Place { path, key, value: member.node.span() };
        node.document.pins.borrow_mut().insert(Arc::clone(&name), place);
        let digest = member.node.parsed("64 hexadecimal digits, as `plugins inspect` shows them", |text| {
            let text = text.strip_prefix("sha256:").unwrap_or(text);
            let legal = text.len() == DIGEST_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            legal.then(|| Arc::from(text.to_ascii_lowercase()))
        })?;
        Some((name, digest))
    };
    let members = node.members()?;
    let checked: Vec<_> = members.iter().filter(|member| !is_note(&member.key)).map(pin).collect();
    checked.into_iter().collect()
}

fn key(node: &Node<'_>) -> Option<PublicKey> {
    node.parsed("a public key of minisign such as \"RWQ…\"", |text| PublicKey::from_base64(text).ok())
}
