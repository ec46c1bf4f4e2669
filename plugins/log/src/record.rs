//! One record as one line: whatever a client sends, nothing in it can end the line, close a string or drive a terminal.

/// Bytes of one value that are logged; what is longer is cut and ends in `…`.
const MAX_VALUE: usize = 4096;

/// What can be logged, by the name of its key and its placeholder, beside the headers `request.header.NAME` and
/// `response.header.NAME`.
const FIELDS: &str = "time method scheme host path query route protocol status duration_ms request_size response_size \
    client_ip user_agent referer request_id consumer upstream upstream_address details";

/// A fact as it is logged.
pub(crate) enum Value {
    /// Any text, as the client may have written it.
    Text(String),
    /// A number, written out.
    Number(String),
}

/// How a record becomes a line.
pub(crate) enum Format {
    /// One JSON object with these fields; facts that are not known are left out.
    Json(Vec<String>),
    /// Texts, each with the field that follows it, and the last text. Facts that are not known are `-`.
    Template(Vec<(String, String)>, String),
}

impl Format {
    /// A JSON object of all fields and these headers.
    pub(crate) fn json(request_headers: &[String], response_headers: &[String]) -> Self {
        let request = request_headers.iter().map(|name| format!("request.header.{}", name.to_ascii_lowercase()));
        let response = response_headers.iter().map(|name| format!("response.header.{}", name.to_ascii_lowercase()));
        Self::Json(FIELDS.split(' ').map(str::to_owned).chain(request).chain(response).collect())
    }

    /// Reads a template: `{status}` is filled in, `{{` and `}}` are braces. The error says what is wrong with it.
    pub(crate) fn template(template: &str) -> Result<Self, String> {
        if template.contains(['\n', '\r']) {
            return Err("template: a record is one line".to_owned());
        }
        let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), template);
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
            let header = name.strip_prefix("request.header.").or_else(|| name.strip_prefix("response.header."));
            if !FIELDS.split(' ').any(|field| field == name) && header.is_none_or(str::is_empty) {
                return Err(format!("template: there is no {{{name}}}"));
            }
            pieces.push((std::mem::take(&mut text), name.to_ascii_lowercase()));
            rest = after;
        }
        Ok(Self::Template(pieces, text + rest))
    }

    /// The line of a record, asking `value` for what it needs.
    pub(crate) fn line(&self, value: impl Fn(&str) -> Option<Value>) -> String {
        let mut line = String::with_capacity(512);
        match self {
            Self::Json(fields) => {
                for (field, value) in fields.iter().filter_map(|field| Some((field, value(field)?))) {
                    line.push_str(if line.is_empty() { "{\"" } else { ",\"" });
                    escape(&mut line, field);
                    line.push_str("\":");
                    match value {
                        Value::Number(number) => line.push_str(&number),
                        Value::Text(text) => {
                            line.push('"');
                            escape(&mut line, &text);
                            line.push('"');
                        }
                    }
                }
                line.push('}');
            }
            Self::Template(pieces, end) => {
                for (text, field) in pieces {
                    line.push_str(text);
                    match value(field) {
                        Some(Value::Text(text) | Value::Number(text)) => escape(&mut line, &text),
                        None => line.push('-'),
                    }
                }
                line.push_str(end);
            }
        }
        line
    }
}

/// Appends `text` as the inside of a JSON string. Beyond what JSON asks for, everything that some reader takes for the end of a
/// line or a terminal for a command (C1 controls, U+2028, U+2029) and what reverses text on a screen is escaped.
fn escape(line: &mut String, text: &str) {
    let cut = text.floor_char_boundary(MAX_VALUE);
    for char in text[..cut].chars() {
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
    if cut < text.len() {
        line.push('…');
    }
}
