//! Which origins are allowed: what is written in the configuration, parsed once, and matched against `Origin` headers.
//!
//! Browsers write an origin in one way only (Fetch standard §3.1: lower case, no default port), so patterns are brought into
//! the same form. What a wildcard stands for has to be labels or a port: `https://evil.com/.example.com` is neither.

/// An origin as it may be written in the configuration: `https://app.example`, `https://*.example.com`, `http://localhost:*`,
/// `null` (sandboxed frames and local files; every site can make such a frame).
pub(crate) struct Pattern {
    /// The whole origin, or what stands before the wildcard.
    before: String,
    /// What stands behind the labels of `below`.
    after: String,
    /// One label or more between `before` and `after`.
    below: bool,
    any_port: bool,
}

impl Pattern {
    /// Reads one entry of `origins`; the error says how it should be written.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "null" {
            return Ok(Self { before: text.to_owned(), after: String::new(), below: false, any_port: false });
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower
            .split_once("://")
            .ok_or_else(|| format!("origin {text:?} has no scheme: write \"https://{text}\""))?;
        if authority.contains(['/', '?', '#', '@']) {
            return Err(format!("origin {text:?} is more than scheme, host and port: write \"https://app.example\""));
        }
        let (host, port) = split_port(authority);
        if port.is_some_and(|port| port != "*" && !is_port(port)) {
            return Err(format!("origin {text:?} has a bad port"));
        }
        let labels = host.strip_prefix("*.");
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if !is_name(labels.unwrap_or(host)) && address.is_none_or(|ip| ip.parse::<std::net::Ipv6Addr>().is_err()) {
            return Err(format!(
                "origin {text:?} has a bad host: a wildcard stands for the leftmost labels, \"https://*.example.com\""
            ));
        }
        let any_port = port == Some("*");
        let port = match (scheme, port) {
            (_, None | Some("*")) | ("https", Some("443")) | ("http", Some("80")) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        Ok(match labels {
            Some(labels) => {
                Self { before: format!("{scheme}://"), after: format!(".{labels}{port}"), below: true, any_port }
            }
            None => Self { before: format!("{scheme}://{host}{port}"), after: String::new(), below: false, any_port },
        })
    }

    /// Whether an `Origin` header's value is meant by this pattern.
    pub(crate) fn matches(&self, origin: &str) -> bool {
        let Some(rest) = origin.strip_prefix(&self.before) else { return false };
        let rest = match split_port(rest) {
            (host, Some(port)) if self.any_port && is_port(port) => host,
            _ => rest,
        };
        let labels = rest.strip_suffix(&self.after);
        labels.is_some_and(|labels| if self.below { is_name(labels) } else { labels.is_empty() })
    }
}

/// The port after the last colon; a colon inside an IPv6 address is none.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Labels with dots between them.
fn is_name(text: &str) -> bool {
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label))
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
            ("https://app.example:443", false),
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
        assert!(allows("HTTPS://App.example:443", "https://app.example"));
        assert!(allows("http://[::1]:3000", "http://[::1]:3000"));
        assert!(!allows("http://[::1]", "http://[::1]:3000"));
        assert!(allows("capacitor://localhost", "capacitor://localhost"));
    }

    #[test]
    fn a_wildcard_stands_for_one_label_or_more() {
        for (origin, expected) in [
            ("https://a.example.com", true),
            ("https://a.b.example.com", true),
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
        assert!(allows("https://*.a.example:*", "https://b.a.example:1") && allows("http://[::1]:*", "http://[::1]:1"));
        assert!(!allows("http://localhost:*", "http://localhost:5173.evil.com"));
    }

    #[test]
    fn null_is_only_allowed_by_name() {
        assert!(allows("null", "null"));
        assert!(!allows("null", "https://app.example"));
        assert!(!allows("https://*.example.com", "null"));
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
            let error = Pattern::parse(text).err().unwrap();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
