//! Values with placeholders: `user-{consumer}`. Parsed once; what is filled in is made safe for the place it stands in.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// `{request.header.NAME}`: all its values, joined by commas.
    RequestHeader(String),
    /// `{request.query.NAME}`: the first value, decoded.
    RequestQuery(String),
    /// `{request.path}`: the path as it came, without the query.
    RequestPath,
    /// `{request.method}`
    RequestMethod,
    /// `{request.host}`
    RequestHost,
    /// `{request.id}`
    RequestId,
    /// `{client.ip}`
    ClientIp,
    /// `{consumer}`
    Consumer,
    /// `{route}`
    Route,
    /// `{response.status}`, in responses.
    ResponseStatus,
    /// `{response.header.NAME}`, in responses.
    ResponseHeader(String),
}

/// What placeholders are filled from. What is not known is empty.
pub(crate) trait Facts {
    /// The value of a placeholder, as the client may have written it.
    fn value(&self, placeholder: &Placeholder) -> String;
}

/// The place a value is filled into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A header's value: no control characters.
    Header,
    /// A path segment: percent-encoded, slashes too; `{request.path}` stays as it is.
    Path,
    /// A query parameter or a JSON string, which is encoded as a whole later.
    Text,
}

/// A value with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

impl Template {
    /// Reads a value. `{{` and `}}` are braces.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(template: &str) -> Result<Self, String> {
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
            let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
                return Err(format!("{template:?} has a lone \"{brace}\"; write it twice to mean itself"));
            };
            let placeholder =
                Placeholder::named(name).ok_or_else(|| format!("{template:?}: there is no placeholder {{{name}}}"))?;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Placeholder(placeholder));
            rest = after;
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self(pieces))
    }

    /// Whether a placeholder speaks of the response.
    #[must_use]
    pub(crate) fn needs_response(&self) -> bool {
        self.0.iter().any(|piece| {
            matches!(piece, Piece::Placeholder(Placeholder::ResponseStatus | Placeholder::ResponseHeader(_)))
        })
    }

    /// The value with everything filled in.
    #[must_use]
    pub(crate) fn render(&self, place: Place, facts: &impl Facts) -> String {
        let mut rendered = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => rendered.push_str(text),
                Piece::Placeholder(placeholder) => {
                    let value = facts.value(placeholder);
                    match place {
                        Place::Header => {
                            rendered.extend(value.chars().filter(|char| *char == '\t' || !char.is_control()))
                        }
                        Place::Path if *placeholder != Placeholder::RequestPath => encode(&mut rendered, &value),
                        Place::Path | Place::Text => rendered.push_str(&value),
                    }
                }
            }
        }
        rendered
    }
}

impl Placeholder {
    fn named(name: &str) -> Option<Self> {
        let part = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        if let Some(header) = part("request.header.") {
            return Some(Self::RequestHeader(header.to_ascii_lowercase()));
        }
        if let Some(header) = part("response.header.") {
            return Some(Self::ResponseHeader(header.to_ascii_lowercase()));
        }
        if let Some(parameter) = part("request.query.") {
            return Some(Self::RequestQuery(parameter.to_owned()));
        }
        Some(match name {
            "request.path" => Self::RequestPath,
            "request.method" => Self::RequestMethod,
            "request.host" => Self::RequestHost,
            "request.id" => Self::RequestId,
            "client.ip" => Self::ClientIp,
            "consumer" => Self::Consumer,
            "route" => Self::Route,
            "response.status" => Self::ResponseStatus,
            _ => return None,
        })
    }
}

/// What is encoded: all but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Appends `text` percent-encoded.
pub(crate) fn encode(encoded: &mut String, text: &str) {
    encoded.extend(utf8_percent_encode(text, RESERVED));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hostile;
    impl Facts for Hostile {
        fn value(&self, placeholder: &Placeholder) -> String {
            match placeholder {
                Placeholder::RequestPath => "/a/b%20c".to_owned(),
                Placeholder::Consumer => "al ice/../é\r\nx: y\u{0}".to_owned(),
                _ => String::new(),
            }
        }
    }

    #[test]
    fn what_is_filled_in_cannot_leave_its_place() {
        let template = Template::parse("{{u}}-{consumer}-{request.id}.").unwrap();
        assert_eq!(template.render(Place::Header, &Hostile), "{u}-al ice/../éx: y-.");
        assert_eq!(template.render(Place::Path, &Hostile), "{u}-al%20ice%2F..%2F%C3%A9%0D%0Ax%3A%20y%00-.");
        assert_eq!(template.render(Place::Text, &Hostile), "{u}-al ice/../é\r\nx: y\u{0}-.");
    }

    #[test]
    fn the_request_path_stays_a_path() {
        assert_eq!(Template::parse("/v2{request.path}").unwrap().render(Place::Path, &Hostile), "/v2/a/b%20c");
    }

    #[test]
    fn unknown_placeholders_and_lone_braces_are_refused() {
        for (template, hint) in [
            ("{consumers}", "{consumers}"),
            ("{request.header.}", "{request.header.}"),
            ("a{", "lone \"{\""),
            ("a}b", "lone \"}\""),
            ("{", "lone"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(hint), "{template}: {error}");
        }
        assert_eq!(Template::parse("").unwrap().render(Place::Text, &Hostile), "");
    }
}
