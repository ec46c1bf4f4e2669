//! One record as one line: whatever a client sends, nothing in it can end the line, close a string or drive a terminal.

use crate::field::Field;

/// Bytes of one value that are logged; what is longer is cut and ends in `…`.
const MAX_VALUE: usize = 4096;

/// A fact as it is logged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Any text, as the client may have written it.
    Text(String),
    /// A count or a status.
    Count(u64),
    /// Milliseconds.
    Millis(f64),
}

/// How a record becomes a line.
#[derive(Debug)]
pub(crate) enum Format {
    /// One JSON object; facts that are not known are left out.
    Json(Vec<(String, Field)>),
    /// Text with facts in it; those that are not known are `-`.
    Template(Vec<Piece>),
}

/// One part of a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Copied.
    Text(String),
    /// Filled in.
    Field(Field),
}

impl Format {
    /// Reads a template: `{status}` is filled in, `{{` and `}}` are braces.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn template(template: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            let name = match after.split_once('}') {
                Some((name, after)) if brace == "{" => {
                    rest = after;
                    name
                }
                _ => return Err(format!("template: a lone \"{brace}\"; write it twice to have it printed")),
            };
            let field = Field::named(name).ok_or_else(|| format!("template: there is no {{{name}}}"))?;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Field(field));
        }
        text.push_str(rest);
        if text.contains(['\n', '\r']) {
            return Err("template: a record is one line".to_owned());
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self::Template(pieces))
    }

    /// The line of a record, asking `value` for what it needs.
    pub(crate) fn line(&self, mut value: impl FnMut(&Field) -> Option<Value>) -> String {
        let mut line = String::with_capacity(512);
        match self {
            Self::Json(fields) => {
                line.push('{');
                for (key, field) in fields {
                    let Some(value) = value(field) else { continue };
                    if line.len() > 1 {
                        line.push(',');
                    }
                    line.push('"');
                    escape(&mut line, key);
                    line.push_str("\":");
                    match value {
                        Value::Text(text) => {
                            line.push('"');
                            escape(&mut line, &text);
                            line.push('"');
                        }
                        number => plain(&mut line, &number),
                    }
                }
                line.push('}');
            }
            Self::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => line.push_str(text),
                        Piece::Field(field) => match value(field) {
                            Some(value) => plain(&mut line, &value),
                            None => line.push('-'),
                        },
                    }
                }
            }
        }
        line
    }
}

/// A value without quotes around it.
fn plain(line: &mut String, value: &Value) {
    match value {
        Value::Text(text) => escape(line, text),
        Value::Count(count) => line.push_str(&count.to_string()),
        Value::Millis(millis) => line.push_str(&format!("{millis:.3}")),
    }
}

/// Appends `text` as the inside of a JSON string. Beyond what JSON asks for, everything that some reader takes for the end of a
/// line or a terminal for a command (C1 controls, U+2028, U+2029) and what reverses text on a screen is escaped.
fn escape(line: &mut String, text: &str) {
    let cut = text.floor_char_boundary(MAX_VALUE);
    for char in text[..cut].chars() {
        match char {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                line.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            _ => line.push(char),
        }
    }
    if cut < text.len() {
        line.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\"b\\c\r\nd\t\u{0}\u{1b}[31m\u{7f}\u{85}\u{9b}\u{2028}\u{202e}é😀\u{fffd}";

    fn json() -> Format {
        Format::Json(vec![
            ("status".to_owned(), Field::Status),
            ("path".to_owned(), Field::Path),
            ("query".to_owned(), Field::Query),
            ("duration_ms".to_owned(), Field::Duration),
        ])
    }

    fn hostile(field: &Field) -> Option<Value> {
        match field {
            Field::Status => Some(Value::Count(200)),
            Field::Duration => Some(Value::Millis(1.23456)),
            Field::Path => Some(Value::Text(HOSTILE.to_owned())),
            _ => None,
        }
    }

    #[test]
    fn a_json_record_survives_hostile_values_unchanged() {
        let line = json().line(hostile);
        assert!(line.chars().all(|char| !char.is_control() && char != '\u{2028}'), "{line:?}");
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record, serde_json::json!({"status": 200, "path": HOSTILE, "duration_ms": 1.235}));
    }

    #[test]
    fn a_template_fills_in_values_that_cannot_leave_their_place() {
        let format = Format::template("{{{status}}} \"{path}\" {query} {duration_ms}ms").unwrap();
        let line = format.line(hostile);
        assert!(line.starts_with("{200} \"a\\\"b\\\\c\\r\\nd\\t\\u0000\\u001b[31m"), "{line}");
        assert!(line.ends_with("\" - 1.235ms"), "{line}");
        assert!(!line.chars().any(char::is_control));
    }

    #[test]
    fn a_template_that_cannot_be_filled_in_is_refused() {
        for (template, hint) in [
            ("{stauts}", "{stauts}"),
            ("{status", "lone \"{\""),
            ("status}", "lone \"}\""),
            ("{}", "{}"),
            ("a\nb", "one line"),
        ] {
            let error = Format::template(template).unwrap_err();
            assert!(error.contains(hint), "{template}: {error}");
        }
        assert!(Format::template("").is_ok());
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let long = "é".repeat(MAX_VALUE);
        let line = json().line(|field| (*field == Field::Path).then(|| Value::Text(long.clone())));
        assert!(line.len() < MAX_VALUE + 32);
        assert!(line.ends_with("é…\"}"));
    }
}
