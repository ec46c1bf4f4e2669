//! A plugin's configuration → the text it is handed: compact JSON with the references in string values filled in, and the
//! place of every value in it.

use std::collections::HashMap;

use jsonc_parser::ast::Value;

use super::node::Node;
use super::origins::Place;
use super::source::Span;

/// A configuration ready to be handed over.
pub(super) struct Compact {
    pub(super) text: String,
    /// By JSON pointer.
    pub(super) places: HashMap<String, Place>,
    /// It is one string, handed over as that text.
    pub(super) bare: bool,
}

/// Writes `config` compactly; `None` when a reference cannot be resolved or a key is there twice.
pub(super) fn compact(config: &Node<'_>) -> Option<Compact> {
    let mut writer = Writer { text: String::new(), places: HashMap::new() };
    let bare = matches!(config.value, Value::StringLit(_));
    let problems_before = config.document.problems.borrow().len();
    if bare {
        writer.text = config.text()?.value.into_owned();
        writer.place("", config, None);
    } else {
        writer.write(config, "", None);
    }
    let sound = config.document.problems.borrow().len() == problems_before;
    sound.then_some(Compact { text: writer.text, places: writer.places, bare })
}

struct Writer {
    text: String,
    places: HashMap<String, Place>,
}

impl Writer {
    /// Writes a value. The parser bounds the depth of nesting, and so of the recursion (512).
    fn write(&mut self, node: &Node<'_>, pointer: &str, key: Option<Span>) {
        self.place(pointer, node, key);
        match node.value {
            Value::StringLit(_) => {
                if let Some(text) = node.text() {
                    self.string(&text.value);
                }
            }
            Value::NumberLit(number) => self.text.push_str(number.value),
            Value::BooleanLit(boolean) => self.text.push_str(if boolean.value { "true" } else { "false" }),
            Value::NullKeyword(_) => self.text.push_str("null"),
            Value::Array(_) => {
                self.text.push('[');
                for (index, element) in node.elements().into_iter().flatten().enumerate() {
                    self.separate(index);
                    self.write(&element, &format!("{pointer}/{index}"), None);
                }
                self.text.push(']');
            }
            Value::Object(_) => {
                self.text.push('{');
                for (index, member) in node.members().into_iter().flatten().enumerate() {
                    self.separate(index);
                    self.string(&member.key);
                    self.text.push(':');
                    let escaped = member.key.replace('~', "~0").replace('/', "~1");
                    self.write(&member.node, &format!("{pointer}/{escaped}"), Some(member.key_span));
                }
                self.text.push('}');
            }
        }
    }
    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.text.push(',');
        }
    }
    fn string(&mut self, text: &str) {
        self.text.push_str(&serde_json::Value::from(text).to_string());
    }
    fn place(&mut self, pointer: &str, node: &Node<'_>, key: Option<Span>) {
        let place = Place { path: node.path.to_string(), key, value: node.span() };
        self.places.insert(pointer.to_owned(), place);
    }
}
