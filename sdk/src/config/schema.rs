//! JSON Schema (draft 2020-12) as a constant: a tree of references that is rendered to text when the filter is compiled, so
//! that a module carries its schema in a custom section and no code for it.

/// What a configuration, or a part of it, may be.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are the schema's own keywords; an empty string or false means absent")]
pub enum Schema {
    /// Anything.
    Any,
    /// true or false.
    Boolean,
    /// A whole number between two bounds, written in JSON.
    Integer { min: &'static str, max: &'static str },
    /// A number.
    Number,
    /// A string.
    String { format: &'static str, pattern: &'static str, write_only: bool },
    /// A list.
    Array(&'static Self),
    /// A value, or a list of such values.
    OneOrMany(&'static Self),
    /// An object with any names.
    Map(&'static Self),
    /// An object with these names only.
    Object { description: &'static str, fields: &'static [Field] },
    /// One of several: `"name"`, or `{"name": value}`.
    OneOf { description: &'static str, variants: &'static [Variant] },
}

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its doc comment.
    pub description: &'static str,
    /// What it may be.
    pub schema: &'static Schema,
    /// Whether it has to be there.
    pub required: bool,
    /// Its default, as JSON; empty: none that can be shown.
    pub default: &'static str,
    /// The lower bound, as JSON; empty: none.
    pub min: &'static str,
    /// The upper bound, as JSON; empty: none.
    pub max: &'static str,
}

/// One choice of an enum.
#[derive(Debug)]
pub struct Variant {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its doc comment.
    pub description: &'static str,
    /// What its value may be; none: it stands alone.
    pub schema: Option<&'static Schema>,
}

impl Schema {
    /// The length of the rendered text, bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        let mut out = Writer { buffer: &mut [], length: 0, last: 0 };
        self.write(&mut out, "", "", "", "");
        out.length
    }

    /// The rendered text; `N` is [`Schema::length`].
    #[must_use]
    pub const fn render<const N: usize>(&self) -> [u8; N] {
        let mut text = [b' '; N];
        let mut out = Writer { buffer: &mut text, length: 0, last: 0 };
        self.write(&mut out, "", "", "", "");
        text
    }

    /// The rendered text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = vec![b' '; self.length()];
        self.write(&mut Writer { buffer: &mut text, length: 0, last: 0 }, "", "", "", "");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Writes the schema with what a field adds to it.
    const fn write(&self, out: &mut Writer<'_>, description: &str, default: &str, min: &str, max: &str) {
        out.raw("{");
        let mut own = description;
        match self {
            Self::Object { description, .. } | Self::OneOf { description, .. } if own.is_empty() => own = description,
            _ => {}
        }
        if !own.is_empty() {
            out.key("description");
            out.string(own);
        }
        match self {
            Self::Any => {}
            Self::Boolean => out.keyword("type", "boolean"),
            Self::Integer { min: low, max: high } => {
                out.keyword("type", "integer");
                out.raw_member("minimum", if min.is_empty() { low } else { min });
                out.raw_member("maximum", if max.is_empty() { high } else { max });
            }
            Self::Number => {
                out.keyword("type", "number");
                out.raw_member("minimum", min);
                out.raw_member("maximum", max);
            }
            Self::String { format, pattern, write_only } => {
                out.keyword("type", "string");
                out.keyword("format", format);
                out.keyword("pattern", pattern);
                out.raw_member("writeOnly", if *write_only { "true" } else { "" });
            }
            Self::Array(element) => {
                out.keyword("type", "array");
                out.key("items");
                element.write(out, "", "", "", "");
            }
            Self::OneOrMany(value) => {
                out.key("anyOf");
                out.raw("[");
                value.write(out, "", "", "", "");
                out.raw(",");
                Self::Array(value).write(out, "", "", "", "");
                out.raw("]");
            }
            Self::Map(value) => {
                out.keyword("type", "object");
                out.key("additionalProperties");
                value.write(out, "", "", "", "");
            }
            Self::Object { fields, .. } => write_fields(fields, out),
            Self::OneOf { variants, .. } => write_variants(variants, out),
        }
        out.raw_member("default", default);
        out.raw("}");
    }
}

const fn write_fields(fields: &[Field], out: &mut Writer<'_>) {
    out.keyword("type", "object");
    out.key("properties");
    out.raw("{");
    let mut at = 0;
    while at < fields.len() {
        let field = &fields[at];
        out.key(field.name);
        field.schema.write(out, field.description, field.default, field.min, field.max);
        at += 1;
    }
    out.raw("}");
    let mut at = 0;
    let mut any = false;
    while at < fields.len() {
        if fields[at].required {
            if any {
                out.raw(",");
            } else {
                out.key("required");
                out.raw("[");
            }
            any = true;
            out.string(fields[at].name);
        }
        at += 1;
    }
    if any {
        out.raw("]");
    }
    out.raw_member("additionalProperties", "false");
}

const fn write_variants(variants: &[Variant], out: &mut Writer<'_>) {
    out.key("oneOf");
    out.raw("[");
    let mut at = 0;
    while at < variants.len() {
        let variant = &variants[at];
        out.raw(if at > 0 { ",{" } else { "{" });
        if !variant.description.is_empty() {
            out.key("description");
            out.string(variant.description);
        }
        match variant.schema {
            None => out.keyword("const", variant.name),
            Some(schema) => {
                out.keyword("type", "object");
                out.key("properties");
                out.raw("{");
                out.key(variant.name);
                schema.write(out, "", "", "", "");
                out.raw("}");
                out.key("required");
                out.raw("[");
                out.string(variant.name);
                out.raw("]");
                out.raw_member("additionalProperties", "false");
            }
        }
        out.raw("}");
        at += 1;
    }
    out.raw("]");
}

/// Writes JSON into a buffer; counts only, where the buffer is too short.
struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// The last byte written; a counting pass has no buffer to look it up in.
    last: u8,
}

impl Writer<'_> {
    const fn byte(&mut self, byte: u8) {
        if self.length < self.buffer.len() {
            self.buffer[self.length] = byte;
        }
        self.length += 1;
        self.last = byte;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self.byte(bytes[at]);
            at += 1;
        }
    }

    /// A JSON string (RFC 8259 §7).
    const fn string(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = text.as_bytes();
        self.byte(b'"');
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                byte @ (b'"' | b'\\') => {
                    self.byte(b'\\');
                    self.byte(byte);
                }
                b'\n' => self.raw("\\n"),
                byte if byte < b' ' => {
                    self.raw("\\u00");
                    self.byte(HEX[(byte >> 4) as usize]);
                    self.byte(HEX[(byte & 15) as usize]);
                }
                byte => self.byte(byte),
            }
            at += 1;
        }
        self.byte(b'"');
    }

    /// The next member's name. A comma first, unless the object has just been opened.
    const fn key(&mut self, name: &str) {
        if self.last != b'{' {
            self.byte(b',');
        }
        self.string(name);
        self.byte(b':');
    }

    /// A member whose value is a string; nothing for an empty one.
    const fn keyword(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.key(name);
            self.string(value);
        }
    }

    /// A member whose value is JSON; nothing for an empty one.
    const fn raw_member(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.key(name);
            self.raw(value);
        }
    }
}
