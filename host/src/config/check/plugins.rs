//! Where plugins come from, and which bytes may run: `plugins`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jsonc_parser::ast::Value;
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

pub(super) fn default(root: &Node<'_>) -> Plugins {
    Plugins { dir: root.base_dir().join(DIRECTORY), cache: default_cache(root), ..Plugins::default() }
}

/// Where this user's programs keep what they could make again: as systemd says, as the XDG base directories say, or `~/.cache`.
fn default_cache(node: &Node<'_>) -> Option<PathBuf> {
    let absolute = |name: &str| node.document.env.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".cache"));
    let of_user = || absolute("XDG_CACHE_HOME").or_else(home).map(|dir| dir.join("sluicegate"));
    absolute("CACHE_DIRECTORY").or_else(of_user)
}

pub(super) fn plugins(node: &Node<'_>) -> Option<Plugins> {
    let mut fields = Fields::of(node)?;
    let base_dir = node.base_dir();
    let dir = fields.optional("dir").map_or_else(|| Some(base_dir.join(DIRECTORY)), |node| path(&node));
    let sha256 = fields.optional("sha256").map_or_else(|| Some(BTreeMap::new()), |node| pins(&node));
    let keys = fields.optional("keys").map_or_else(|| Some(Vec::new()), |node| all(&node.elements()?, key));
    let cache = fields.optional("cache").map_or_else(|| Some(default_cache(node)), |node| cache(&node));
    fields.finish();
    Some(Plugins { dir: dir?, files: BTreeMap::new(), sha256: sha256?, keys: keys?, cache: cache? })
}

/// A directory, or `false` for none.
fn cache(node: &Node<'_>) -> Option<Option<PathBuf>> {
    match node.value {
        Value::BooleanLit(literal) if !literal.value => Some(None),
        Value::BooleanLit(_) => {
            node.problem("expected a directory, or false for no cache");
            None
        }
        _ => path(node).map(Some),
    }
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
