//! Which origins are allowed: what is written in the configuration, parsed once, and matched against `Origin` headers.
//!
//! An origin is compared as its three parts (RFC 6454 §5), never as text: neither `https://evil-example.com` nor
//! `https://example.com.evil` can look like `example.com`.

/// An origin as it may be written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// `*`: every origin, for answers without credentials.
    Any,
    /// `null`: sandboxed frames and local files. Every site can make such a frame.
    Null,
    /// `https://app.example`, `https://*.example.com`, `http://localhost:*`.
    Tuple(Tuple),
}

/// Scheme, host and port of a pattern, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    scheme: String,
    host: Host,
    port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Exact(String),
    /// `.example.com`: one label or more before it.
    Below(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    /// The scheme's default port is `None`, as browsers write it.
    Exact(Option<u16>),
    Any,
}

impl Pattern {
    /// Reads one entry of `origins`.
    ///
    /// # Errors
    /// What is wrong with it and how it should be written.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower
            .split_once("://")
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or_else(|| format!("origin {text:?} has no scheme: write \"https://{text}\""))?;
        if authority.contains(['/', '?', '#', '@']) {
            return Err(format!("origin {text:?} is more than scheme, host and port: write \"https://app.example\""));
        }
        let (host, port) = split_port(authority);
        let port = match port {
            Some("*") => Port::Any,
            Some(digits) => {
                Port::Exact(parse_port(scheme, digits).ok_or_else(|| format!("origin {text:?} has a bad port"))?)
            }
            None => Port::Exact(None),
        };
        let host = match host.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') && is_host(&rest[1..]) => Host::Below(rest.to_owned()),
            None if is_host(host) => Host::Exact(host.to_owned()),
            _ => {
                return Err(format!(
                    "origin {text:?} has a bad host: a wildcard stands for the leftmost labels, \"https://*.example.com\""
                ));
            }
        };
        Ok(Self::Tuple(Tuple { scheme: scheme.to_owned(), host, port }))
    }

    /// Whether an `Origin` header's value is meant by this pattern.
    #[must_use]
    pub(crate) fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Null => origin == "null",
            Self::Tuple(tuple) => tuple.matches(origin),
        }
    }
}

impl Tuple {
    fn matches(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        if !scheme.eq_ignore_ascii_case(&self.scheme) {
            return false;
        }
        let (host, port) = split_port(authority);
        let port_matches = match &self.port {
            Port::Any => port.is_none_or(|digits| digits.parse::<u16>().is_ok()),
            Port::Exact(expected) => match port {
                None => expected.is_none(),
                Some(digits) => parse_port(&self.scheme, digits).is_some_and(|port| port == *expected),
            },
        };
        port_matches
            && match &self.host {
                Host::Exact(expected) => host.eq_ignore_ascii_case(expected),
                Host::Below(suffix) => below(host, suffix),
            }
    }
}

/// Whether `host` is one label or more followed by `suffix` (`.example.com`).
fn below(host: &str, suffix: &str) -> bool {
    let Some(split) = host.len().checked_sub(suffix.len()) else { return false };
    match (host.get(..split), host.get(split..)) {
        (Some(labels), Some(end)) => end.eq_ignore_ascii_case(suffix) && is_host(labels) && !labels.starts_with('['),
        _ => false,
    }
}

/// The port after the last colon; a colon inside an IPv6 literal is none.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// `None`: not a port. `Some(None)`: the default port of the scheme.
fn parse_port(scheme: &str, digits: &str) -> Option<Option<u16>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port: u16 = digits.parse().ok()?;
    let default = matches!((scheme, port), ("https", 443) | ("http", 80));
    Some((!default).then_some(port))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A name of labels, or a bracketed IPv6 address.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !text.is_empty()
        && text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn allows(pattern: &str, origin: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(origin)
    }

    #[test]
    fn an_exact_origin_is_compared_by_scheme_host_and_port() {
        for (origin, expected) in [
            ("https://app.example", true),
            ("HTTPS://APP.Example", true),
            ("https://app.example:443", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil", false),
            ("https://evil-app.example", false),
            ("https://x.app.example", false),
            ("https://app.example/", false),
            ("https://app.example:", false),
            ("https://app.example:+443", false),
            ("app.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(allows("https://app.example", origin), expected, "{origin}");
        }
        assert!(allows("http://localhost:3000", "http://localhost:3000"));
        assert!(!allows("http://localhost:3000", "http://localhost"));
        assert!(allows("https://app.example:443", "https://app.example"));
        assert!(allows("http://[::1]:3000", "http://[::1]:3000"));
        assert!(!allows("http://[::1]", "http://[::1]:3000"));
        assert!(allows("capacitor://localhost", "capacitor://localhost"));
    }

    #[test]
    fn a_wildcard_stands_for_one_label_or_more() {
        for (origin, expected) in [
            ("https://a.example.com", true),
            ("https://a.b.example.com", true),
            ("https://A.EXAMPLE.com", true),
            ("https://example.com", false),
            ("https://.example.com", false),
            ("https://evil-example.com", false),
            ("https://a.example.com.evil", false),
            ("https://a..example.com", false),
            ("https://evil.com/.example.com", false),
            ("https://evil.com#.example.com", false),
            ("https://evil.com@a.example.com", false),
            ("https://evil.com\u{0}.example.com", false),
            ("https://é.example.com", false),
            ("http://a.example.com", false),
            ("https://a.example.com:8443", false),
        ] {
            assert_eq!(allows("https://*.example.com", origin), expected, "{origin}");
        }
        assert!(allows("http://localhost:*", "http://localhost:5173"));
        assert!(allows("http://localhost:*", "http://localhost"));
        assert!(!allows("http://localhost:*", "http://localhost:5173.evil.com"));
    }

    #[test]
    fn null_is_only_allowed_by_name_or_by_the_wildcard() {
        assert!(allows("null", "null"));
        assert!(allows("*", "null"));
        assert!(!allows("null", "https://app.example"));
    }

    #[test]
    fn a_bad_pattern_says_how_to_write_it() {
        for (text, hint) in [
            ("app.example", "https://app.example"),
            ("https://app.example/", "scheme, host and port"),
            ("https://app.example/path", "scheme, host and port"),
            ("https://user@app.example", "scheme, host and port"),
            ("https://", "bad host"),
            ("https://*", "bad host"),
            ("https://a.*.example", "bad host"),
            ("https://*example.com", "bad host"),
            ("https://app.example:99999", "bad port"),
            ("https://app.example:", "bad port"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
