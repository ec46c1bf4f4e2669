//! Changes to a JSON document at JSON Pointers (RFC 6901). Only what lies on the way to a pointer is taken apart: everything else
//! stays byte for byte, large numbers and all.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A place in a document, as its reference tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer(Vec<String>);

/// One change with everything filled in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edit {
    /// The value goes.
    Remove(Pointer),
    /// The value moves.
    Rename(Pointer, Pointer),
    /// The value is this one afterwards; objects on the way are made.
    Set(Pointer, serde_json::Value),
    /// A member that is missing is made; into an array the value is inserted (`-`: at its end).
    Add(Pointer, serde_json::Value),
}

/// The document with the changes made.
///
/// # Errors
/// It is not JSON.
pub(crate) fn apply(document: &[u8], edits: &[Edit]) -> Result<Vec<u8>, serde_json::Error> {
    let mut root = Node::Raw(serde_json::from_slice(document)?);
    for edit in edits {
        match edit {
            Edit::Remove(at) => drop(root.take(&at.0)),
            Edit::Rename(from, to) => {
                if let Some(node) = root.take(&from.0) {
                    root.put(&to.0, node, Put::Replace);
                }
            }
            Edit::Set(at, value) => root.put(&at.0, Node::Value(value.clone()), Put::Replace),
            Edit::Add(at, value) => root.put(&at.0, Node::Value(value.clone()), Put::Insert),
        }
    }
    serde_json::to_vec(&root)
}

/// Whether a `Content-Type` says JSON.
#[must_use]
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

impl Pointer {
    /// Reads `/a/b~1c/0`.
    ///
    /// # Errors
    /// How it should be written.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let tokens = text.strip_prefix('/').ok_or_else(|| format!("{text:?} is no JSON Pointer: write \"/{text}\""))?;
        Ok(Self(tokens.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect()))
    }
}

/// A document, taken apart as far as was necessary.
enum Node {
    Raw(Box<RawValue>),
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    Value(serde_json::Value),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    Replace,
    Insert,
}

impl Node {
    /// Takes an object or an array apart, one level.
    fn open(&mut self) {
        let opened = match self {
            Self::Raw(raw) => {
                let text = raw.get();
                match text.as_bytes().first() {
                    Some(b'{') => serde_json::from_str::<Members>(text).ok().map(|members| Self::Object(members.0)),
                    Some(b'[') => serde_json::from_str::<Vec<Box<RawValue>>>(text)
                        .ok()
                        .map(|items| Self::Array(items.into_iter().map(Self::Raw).collect())),
                    _ => None,
                }
            }
            Self::Value(serde_json::Value::Object(members)) => Some(Self::Object(
                std::mem::take(members).into_iter().map(|(name, value)| (name, Self::Value(value))).collect(),
            )),
            Self::Value(serde_json::Value::Array(items)) => {
                Some(Self::Array(std::mem::take(items).into_iter().map(Self::Value).collect()))
            }
            _ => None,
        };
        if let Some(opened) = opened {
            *self = opened;
        }
    }

    /// Removes what is at `path`.
    fn take(&mut self, path: &[String]) -> Option<Self> {
        let (token, rest) = path.split_first()?;
        self.open();
        match self {
            Self::Object(members) => {
                let at = members.iter().position(|(name, _)| name == token)?;
                if rest.is_empty() { Some(members.remove(at).1) } else { members[at].1.take(rest) }
            }
            Self::Array(items) => {
                let at = index(token).filter(|at| *at < items.len())?;
                if rest.is_empty() { Some(items.remove(at)) } else { items[at].take(rest) }
            }
            _ => None,
        }
    }

    /// Puts `node` at `path`. What is neither object nor array and stands in the way becomes an object; an index beyond an
    /// array's end changes nothing.
    fn put(&mut self, path: &[String], node: Self, how: Put) {
        let Some((token, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        self.open();
        if !matches!(self, Self::Object(_) | Self::Array(_)) {
            *self = Self::Object(Vec::new());
        }
        match self {
            Self::Object(members) => match members.iter().position(|(name, _)| name == token) {
                Some(at) if !rest.is_empty() || how == Put::Replace => members[at].1.put(rest, node, how),
                Some(_) => {}
                None => {
                    let mut member = Self::Object(Vec::new());
                    member.put(rest, node, how);
                    members.push((token.clone(), member));
                }
            },
            Self::Array(items) => {
                let at = if token == "-" { Some(items.len()) } else { index(token).filter(|at| *at <= items.len()) };
                let Some(at) = at else { return };
                if at < items.len() && (!rest.is_empty() || how == Put::Replace) {
                    items[at].put(rest, node, how);
                } else {
                    let mut item = Self::Object(Vec::new());
                    item.put(rest, node, how);
                    items.insert(at, item);
                }
            }
            Self::Raw(_) | Self::Value(_) => {}
        }
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
            Self::Object(members) => serializer.collect_map(members.iter().map(|(name, node)| (name, node))),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

/// The members of an object in their order. Of a name that occurs twice the last one counts, and the reader behind this filter
/// sees only that one.
struct Members(Vec<(String, Node)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::<(String, Node)>::new();
                let mut places = std::collections::HashMap::<String, usize>::new();
                while let Some((name, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                    match places.get(&name) {
                        Some(at) => members[*at].1 = Node::Raw(raw),
                        None => {
                            places.insert(name.clone(), members.len());
                            members.push((name, Node::Raw(raw)));
                        }
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn edited(document: &str, edit: Edit) -> String {
        String::from_utf8(apply(document.as_bytes(), &[edit]).unwrap()).unwrap()
    }
    fn at(pointer: &str) -> Pointer {
        Pointer::parse(pointer).unwrap()
    }

    #[test]
    fn what_is_not_named_stays_byte_for_byte() {
        let document = r#"{"n":123456789012345678901234567890.10,"s":"\u00e9","deep":{"x":[1, 2],"y":1.0},"z":null}"#;
        assert_eq!(
            edited(document, Edit::Remove(at("/deep/y"))),
            r#"{"n":123456789012345678901234567890.10,"s":"\u00e9","deep":{"x":[1, 2]},"z":null}"#
        );
        assert_eq!(edited(document, Edit::Remove(at("/absent/y"))), document);
    }

    #[test]
    fn values_are_removed_and_moved() {
        assert_eq!(edited(r#"{"a":{"b":1,"c":2}}"#, Edit::Remove(at("/a/b"))), r#"{"a":{"c":2}}"#);
        assert_eq!(edited("[1,2,3]", Edit::Remove(at("/1"))), "[1,3]");
        assert_eq!(edited("[1,2,3]", Edit::Remove(at("/01"))), "[1,2,3]");
        assert_eq!(edited(r#"{"a/b":1,"m~n":2}"#, Edit::Remove(at("/a~1b"))), r#"{"m~n":2}"#);
        assert_eq!(
            edited(r#"{"a":{"b":[1]},"c":2}"#, Edit::Rename(at("/a/b"), at("/x/y"))),
            r#"{"a":{},"c":2,"x":{"y":[1]}}"#
        );
        assert_eq!(edited(r#"{"c":2}"#, Edit::Rename(at("/a"), at("/c"))), r#"{"c":2}"#);
        assert_eq!(edited(r#"{"a":1,"c":2}"#, Edit::Rename(at("/a"), at("/c"))), r#"{"c":1}"#);
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
            assert_eq!(edited(document, Edit::Set(at(pointer), json!("v"))), expected, "{document} {pointer}");
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
            assert_eq!(edited(document, Edit::Add(at(pointer), json!("v"))), expected, "{document} {pointer}");
        }
    }

    #[test]
    fn later_edits_see_what_earlier_ones_made() {
        let edits = [
            Edit::Set(at("/a"), json!({"b": [1]})),
            Edit::Set(at("/a/b/0"), json!(2)),
            Edit::Rename(at("/a/b"), at("/c")),
        ];
        assert_eq!(apply(b"{}", &edits).unwrap(), br#"{"a":{},"c":[2]}"#);
    }

    #[test]
    fn of_a_name_that_occurs_twice_nothing_slips_through() {
        assert_eq!(edited(r#"{"a":1,"b":0,"a":2}"#, Edit::Remove(at("/a"))), r#"{"b":0}"#);
        assert_eq!(edited(r#"{"a":1,"b":0,"\u0061":2}"#, Edit::Set(at("/c"), json!(3))), r#"{"a":2,"b":0,"c":3}"#);
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for document in ["", "{", "{\"a\":1}x", "nul", "\u{feff}{}"] {
            assert!(apply(document.as_bytes(), &[]).is_err(), "{document}");
        }
        assert!(apply("[".repeat(100_000).as_bytes(), &[]).is_err());
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        assert!(is_json("application/json") && is_json("Application/Problem+JSON; charset=utf-8"));
        assert!(!is_json("text/plain") && !is_json("application/jsonp") && !is_json("") && !is_json("text/x+json"));
    }
}
