//! An object of a fixed shape: its keys are asked for one by one, and what was never asked for is unknown.

use super::node::{Member, Node, join};
use super::suggest::closest;

/// The members of one object, while they are read.
pub(super) struct Fields<'a> {
    node: Node<'a>,
    members: Vec<Member<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Begins to read an object.
    pub(super) fn of(node: &Node<'a>) -> Option<Self> {
        Some(Self { node: node.clone(), members: node.members()?, asked: Vec::new() })
    }
    /// The value of a key that may be left out.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<Node<'a>> {
        self.asked.push(key);
        self.members.iter().find(|member| member.key == key).map(|member| member.node.clone())
    }
    /// The value of a key that must be there; its absence is reported.
    pub(super) fn required(&mut self, key: &'static str) -> Option<Node<'a>> {
        let value = self.optional(key);
        if value.is_none() {
            self.node.problem(format!("missing key \"{key}\""));
        }
        value
    }
    /// The one of these keys that is there; none or several are reported.
    pub(super) fn one_of(&mut self, keys: &[&'static str]) -> Option<(&'static str, Node<'a>)> {
        let mut present: Vec<_> = keys.iter().filter_map(|key| Some((*key, self.optional(key)?))).collect();
        if present.len() != 1 {
            let names: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
            self.node.problem(format!("expected exactly one of {}", names.join(", ")));
            return None;
        }
        present.pop()
    }
    /// Reports a key that is there.
    pub(super) fn key_problem(&self, key: &str, message: String, suggestion: Option<String>) {
        if let Some(member) = self.members.iter().find(|member| member.key == key) {
            member.node.problem_at(member.key_span, &member.node.path, message, suggestion);
        }
    }
    /// Warns about a key that is there.
    pub(super) fn key_warning(&self, key: &str, message: String) {
        if let Some(member) = self.members.iter().find(|member| member.key == key) {
            member.node.warning_at(member.key_span, &member.node.path, message);
        }
    }
    /// Reports every key that was not asked for, but notes: keys that start with `x-` or `//`.
    pub(super) fn finish(self) {
        #[cfg(test)]
        asked::note(&self.node.path, &self.asked);
        for member in &self.members {
            let key = &*member.key;
            if self.asked.contains(&key) || key.starts_with("x-") || is_note(key) {
                continue;
            }
            let present = |known: &&str| !self.members.iter().any(|member| member.key == *known);
            let suggestion = closest(key, self.asked.iter().copied().filter(present));
            let path = join(&self.node.path, key);
            self.node.problem_at(member.key_span, &path, "unknown key".to_owned(), suggestion);
        }
    }
}

/// Whether a key is a note to the reader (`"// why"`), in any object but a plugin's configuration.
pub(super) fn is_note(key: &str) -> bool {
    key.starts_with("//")
}

/// For the test that compares the checks with the schema: which keys were asked for, by the object's path.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    type Keys = BTreeMap<String, BTreeSet<&'static str>>;

    thread_local! {
        static NOTED: RefCell<Keys> = RefCell::default();
    }

    pub(super) fn note(path: &str, keys: &[&'static str]) {
        NOTED.with(|noted| noted.borrow_mut().entry(path.to_owned()).or_default().extend(keys));
    }

    /// What was noted on this thread since the last call.
    pub(in crate::config) fn take() -> Keys {
        NOTED.with(RefCell::take)
    }
}
