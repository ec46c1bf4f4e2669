//! One record as one line: whatever a client sends, nothing in it can end the line, close a string or drive a terminal.

use std::fmt::{Arguments, Write};

use crate::fact::{FACTS, Fact};

/// Bytes of one value that are logged; what is longer is cut and ends in `…`.
const MAX_VALUE: usize = 4096;

/// What stands in a record at one place.
pub(crate) enum Field {
    Fact(&'static Fact),
    RequestHeader { key: String, name: String },
    ResponseHeader { key: String, name: String },
}

/// How a record becomes a line.
pub(crate) struct Format {
    pub(crate) fields: Vec<Field>,
    shape: Shape,
}

enum Shape {
    /// One JSON object; what is not known is left out. The beginning of each field, up to its colon.
    Json(Vec<String>),
    /// The texts before each field, and the last one. What is not known is `-`.
    Template(Vec<String>, String),
}

impl Field {
    /// The field of that name: a fact, `request.header.NAME` or `response.header.NAME`.
    fn named(name: &str) -> Option<Self> {
        let header = |prefix| name.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(str::to_ascii_lowercase);
        if let Some(name) = header("request.header.") {
            return Some(Self::RequestHeader { key: format!("request.header.{name}"), name });
        }
        if let Some(name) = header("response.header.") {
            return Some(Self::ResponseHeader { key: format!("response.header.{name}"), name });
        }
        FACTS.iter().find(|fact| fact.name == name).map(Self::Fact)
    }
    fn key(&self) -> &str {
        match self {
            Self::Fact(fact) => fact.name,
            Self::RequestHeader { key, .. } | Self::ResponseHeader { key, .. } => key,
        }
    }
}

impl Format {
    /// A JSON object of all facts and these headers.
    pub(crate) fn json(request_headers: &[String], response_headers: &[String]) -> Self {
        let request = request_headers.iter().map(|name| format!("request.header.{name}"));
        let response = response_headers.iter().map(|name| format!("response.header.{name}"));
        let headers = request.chain(response).filter_map(|name| Field::named(&name));
        let fields: Vec<Field> = FACTS.iter().map(Field::Fact).chain(headers).collect();
        let beginning = |field: &Field| {
            let mut text = "\"".to_owned();
            escape(&mut text, field.key());
            text + "\":"
        };
        let beginnings = fields.iter().map(beginning).collect();
        Self { fields, shape: Shape::Json(beginnings) }
    }

    /// Reads a template: `{status}` is filled in, `{{` and `}}` are braces. The error says what is wrong with it.
    pub(crate) fn template(template: &str) -> Result<Self, String> {
        if template.contains(['\n', '\r']) {
            return Err("template: a record is one line".to_owned());
        }
        let (mut fields, mut texts, mut text, mut rest) = (Vec::new(), Vec::new(), String::new(), template);
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
                return Err(format!("template: a lone \"{brace}\"; write it twice to have it printed"));
            };
            fields.push(Field::named(name).ok_or_else(|| format!("template: there is no {{{name}}}"))?);
            texts.push(std::mem::take(&mut text));
            rest = after;
        }
        Ok(Self { fields, shape: Shape::Template(texts, text + rest) })
    }

    /// The line of a record: `write` fills in each field in turn.
    pub(crate) fn line(&self, mut write: impl FnMut(&Field, &mut Place<'_>)) -> String {
        let mut line = String::with_capacity(640);
        match &self.shape {
            Shape::Json(beginnings) => {
                line.push('{');
                for (beginning, field) in beginnings.iter().zip(&self.fields) {
                    write(field, &mut Place { line: &mut line, beginning: Some(beginning), is_filled: false });
                }
                line.push('}');
            }
            Shape::Template(texts, end) => {
                for (text, field) in texts.iter().zip(&self.fields) {
                    line.push_str(text);
                    let mut place = Place { line: &mut line, beginning: None, is_filled: false };
                    write(field, &mut place);
                    if !place.is_filled {
                        line.push('-');
                    }
                }
                line.push_str(end);
            }
        }
        line
    }
}

/// Where one field of a record is written, at most once. What is empty is not known.
pub(crate) struct Place<'a> {
    line: &'a mut String,
    /// Of a JSON object.
    beginning: Option<&'a str>,
    is_filled: bool,
}

impl Place<'_> {
    /// Any bytes, as the client may have written them; what is not UTF-8 shows as U+FFFD.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(text),
            Err(_) => self.text(&String::from_utf8_lossy(bytes)),
        }
    }
    /// Any text.
    pub(crate) fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.quoted(|line| escape(line, text));
        }
    }
    /// A text of ours, in which nothing needs an escape.
    pub(crate) fn plain(&mut self, text: Arguments<'_>) {
        // A string takes whatever is written.
        self.quoted(|line| line.write_fmt(text).unwrap_or_default());
    }
    /// A number.
    pub(crate) fn number(&mut self, number: Arguments<'_>) {
        self.begin();
        self.line.write_fmt(number).unwrap_or_default();
    }
    fn quoted(&mut self, write: impl FnOnce(&mut String)) {
        self.begin();
        let quote = if self.beginning.is_some() { "\"" } else { "" };
        self.line.push_str(quote);
        write(self.line);
        self.line.push_str(quote);
    }
    fn begin(&mut self) {
        self.is_filled = true;
        if let Some(beginning) = self.beginning {
            if self.line.len() > 1 {
                self.line.push(',');
            }
            self.line.push_str(beginning);
        }
    }
}

/// Appends `text` as the inside of a JSON string. Beyond what JSON asks for, everything that some reader takes for the end of a
/// line or a terminal for a command (C1 controls, U+2028, U+2029) and what reverses text on a screen is escaped.
fn escape(line: &mut String, text: &str) {
    let cut = text.floor_char_boundary(MAX_VALUE);
    let mut rest = &text[..cut];
    // Nearly all there ever is are runs of plain characters, which are copied at once.
    while let Some(at) = rest.bytes().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\')) {
        let (plain, other) = rest.split_at(at);
        line.push_str(plain);
        let mut chars = other.chars();
        if let Some(char) = chars.next() {
            escape_char(line, char);
        }
        rest = chars.as_str();
    }
    line.push_str(rest);
    if cut < text.len() {
        line.push('…');
    }
}

fn escape_char(line: &mut String, char: char) {
    match char {
        '"' | '\\' => line.extend(['\\', char]),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            line.push_str(&format!("\\u{:04x}", u32::from(char)));
        }
        _ => line.push(char),
    }
}
