//! Changes to a JSON document at JSON Pointers (RFC 6901). Only what lies on the way to a pointer is taken apart: everything else
//! stays byte for byte, large numbers and all.

use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::edits::Filled;

/// A place in a document, as its reference tokens.
pub(crate) type Pointer = Vec<String>;

/// The document with the changes made.
///
/// # Errors
/// It is not JSON.
pub(crate) fn apply(document: &[u8], edits: &Filled<'_, Pointer>) -> Result<Vec<u8>, serde_json::Error> {
    let mut root = Node::Raw(serde_json::from_slice(document)?);
    for at in edits.remove() {
        drop(root.take(at));
    }
    for (from, to) in edits.rename() {
        if let Some(node) = root.take(from) {
            root.put(to, node, true);
        }
    }
    for (at, value) in edits.set() {
        root.put(at, Node::Raw(to_raw_value(value)?), true);
    }
    for (at, value) in edits.add() {
        root.put(at, Node::Raw(to_raw_value(value)?), false);
    }
    serde_json::to_vec(&root)
}

/// Whether a `Content-Type` says JSON.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads `/a/b~1c/0`; the error says how it should be written.
pub(crate) fn pointer(text: &str) -> Result<Pointer, String> {
    let tokens = text.strip_prefix('/').ok_or_else(|| format!("{text:?} is no JSON Pointer: write \"/{text}\""))?;
    Ok(tokens.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

/// A document, taken apart as far as was necessary. Of a name that occurs twice in an object the last one counts, and the reader
/// behind this filter sees only that one.
enum Node {
    Raw(Box<RawValue>),
    Object(IndexMap<String, Self>),
    Array(Vec<Self>),
}

impl Node {
    /// Takes an object or an array apart, one level.
    fn open(&mut self) {
        let Self::Raw(raw) = self else { return };
        if let Ok(members) = serde_json::from_str::<IndexMap<String, Box<RawValue>>>(raw.get()) {
            *self = Self::Object(members.into_iter().map(|(name, raw)| (name, Self::Raw(raw))).collect());
        } else if let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()) {
            *self = Self::Array(items.into_iter().map(Self::Raw).collect());
        }
    }

    /// Removes what is at `path`.
    fn take(&mut self, path: &[String]) -> Option<Self> {
        let (token, rest) = path.split_first()?;
        self.open();
        match self {
            Self::Object(members) if rest.is_empty() => members.shift_remove(token),
            Self::Object(members) => members.get_mut(token)?.take(rest),
            Self::Array(items) => {
                let at = index(token).filter(|at| *at < items.len())?;
                if rest.is_empty() { Some(items.remove(at)) } else { items[at].take(rest) }
            }
            Self::Raw(_) => None,
        }
    }

    /// Puts `node` at `path`. What is neither object nor array and stands in the way becomes an object; an index beyond an
    /// array's end changes nothing. What is there already is replaced, or else stays (in an array: moves up).
    fn put(&mut self, path: &[String], node: Self, replace: bool) {
        let Some((token, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        self.open();
        let into = !rest.is_empty() || replace;
        match self {
            Self::Object(members) if into || !members.contains_key(token) => {
                members.entry(token.clone()).or_insert_with(Self::empty).put(rest, node, replace);
            }
            Self::Object(_) => {}
            Self::Array(items) => match if token == "-" { Some(items.len()) } else { index(token) } {
                Some(at) if at < items.len() && into => items[at].put(rest, node, replace),
                Some(at) if at <= items.len() => {
                    items.insert(at, Self::empty());
                    items[at].put(rest, node, replace);
                }
                _ => {}
            },
            Self::Raw(_) => {
                *self = Self::empty();
                self.put(path, node, replace);
            }
        }
    }

    fn empty() -> Self {
        Self::Object(IndexMap::new())
    }
}

/// An array index, without leading zeros (RFC 6901 §4).
fn index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| canonical)
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw(raw) => raw.serialize(serializer),
            Self::Object(members) => members.serialize(serializer),
            Self::Array(items) => items.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edits::Edits;
    use serde_json::json;

    type Change = fn(&mut Edits<Pointer>, Pointer, serde_json::Value);
    const SET: Change = |edits, at, value| edits.set.push((at, value));
    const ADD: Change = |edits, at, value| edits.add.push((at, value));

    fn edited(document: &str, change: impl FnOnce(&mut Edits<Pointer>)) -> String {
        let mut edits = Edits::default();
        change(&mut edits);
        String::from_utf8(apply(document.as_bytes(), &edits.fill(|_| None)).unwrap()).unwrap()
    }
    fn remove(document: &str, pointer: &str) -> String {
        edited(document, |edits| edits.remove.push(at(pointer)))
    }
    fn rename(document: &str, from: &str, to: &str) -> String {
        edited(document, |edits| edits.rename.push((at(from), at(to))))
    }
    fn put(document: &str, how: Change, pointer: &str) -> String {
        edited(document, |edits| how(edits, at(pointer), json!("v")))
    }
    fn at(text: &str) -> Pointer {
        pointer(text).unwrap()
    }

    #[test]
    fn what_is_not_named_stays_byte_for_byte() {
        let document = r#"{"n":123456789012345678901234567890.10,"s":"\u00e9","deep":{"x":[1, 2],"y":1.0},"z":null}"#;
        assert_eq!(
            remove(document, "/deep/y"),
            r#"{"n":123456789012345678901234567890.10,"s":"\u00e9","deep":{"x":[1, 2]},"z":null}"#
        );
        assert_eq!(remove(document, "/absent/y"), document);
    }

    #[test]
    fn values_are_removed_and_moved() {
        assert_eq!(remove(r#"{"a":{"b":1,"c":2}}"#, "/a/b"), r#"{"a":{"c":2}}"#);
        assert_eq!(remove("[1,2,3]", "/1"), "[1,3]");
        assert_eq!(remove("[1,2,3]", "/01"), "[1,2,3]");
        assert_eq!(remove(r#"{"a/b":1,"m~n":2}"#, "/a~1b"), r#"{"m~n":2}"#);
        assert_eq!(rename(r#"{"a":{"b":[1]},"c":2}"#, "/a/b", "/x/y"), r#"{"a":{},"c":2,"x":{"y":[1]}}"#);
        assert_eq!(rename(r#"{"c":2}"#, "/a", "/c"), r#"{"c":2}"#);
        assert_eq!(rename(r#"{"a":1,"c":2}"#, "/a", "/c"), r#"{"c":1}"#);
    }

    #[test]
    fn set_leaves_exactly_this_value() {
        for (document, pointer, expected) in [
            (r#"{"a":1}"#, "/a", r#"{"a":"v"}"#),
            (r#"{"a":1}"#, "/b/c", r#"{"a":1,"b":{"c":"v"}}"#),
            (r#"{"a":1}"#, "/a/b", r#"{"a":{"b":"v"}}"#),
            ("7", "/a", r#"{"a":"v"}"#),
            ("[1,2]", "/1", r#"[1,"v"]"#),
            ("[1,2]", "/-", r#"[1,2,"v"]"#),
            ("[1,2]", "/9", "[1,2]"),
            (r#"[{"a":1}]"#, "/0/a", r#"[{"a":"v"}]"#),
            ("[]", "/0/a", r#"[{"a":"v"}]"#),
            (r#"{"a":1}"#, "/", r#"{"a":1,"":"v"}"#),
        ] {
            assert_eq!(put(document, SET, pointer), expected, "{document} {pointer}");
        }
    }

    #[test]
    fn add_never_overwrites() {
        for (document, pointer, expected) in [
            (r#"{"a":1}"#, "/a", r#"{"a":1}"#),
            (r#"{"a":1}"#, "/b", r#"{"a":1,"b":"v"}"#),
            (r#"{"a":[1,2]}"#, "/a/0", r#"{"a":["v",1,2]}"#),
            (r#"{"a":[1,2]}"#, "/a/-", r#"{"a":[1,2,"v"]}"#),
            (r#"{"a":{"b":1}}"#, "/a/c", r#"{"a":{"b":1,"c":"v"}}"#),
        ] {
            assert_eq!(put(document, ADD, pointer), expected, "{document} {pointer}");
        }
    }

    #[test]
    fn later_edits_see_what_earlier_ones_made() {
        let edits = Edits {
            set: vec![(at("/a"), json!({"b": [1]})), (at("/a/b/0"), json!(2))],
            add: vec![(at("/a/b/-"), json!(3))],
            ..Edits::default()
        };
        assert_eq!(apply(b"{}", &edits.fill(|_| None)).unwrap(), br#"{"a":{"b":[2,3]}}"#);
    }

    #[test]
    fn of_a_name_that_occurs_twice_nothing_slips_through() {
        assert_eq!(remove(r#"{"a":1,"b":0,"a":2}"#, "/a"), r#"{"b":0}"#);
        assert_eq!(put(r#"{"a":1,"b":0,"\u0061":2}"#, SET, "/c"), r#"{"a":2,"b":0,"c":"v"}"#);
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for document in ["", "{", "{\"a\":1}x", "nul", "\u{feff}{}"] {
            assert!(apply(document.as_bytes(), &Edits::default().fill(|_| None)).is_err(), "{document}");
        }
        assert!(apply("[".repeat(100_000).as_bytes(), &Edits::default().fill(|_| None)).is_err());
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        assert!(is_json("application/json") && is_json("Application/Problem+JSON; charset=utf-8"));
        assert!(!is_json("text/plain") && !is_json("application/jsonp") && !is_json("") && !is_json("text/x+json"));
    }
}
