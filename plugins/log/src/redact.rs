//! What must not be in a log: credentials in headers, queries and the queries of referring pages.

use std::collections::BTreeSet;

/// What is written in place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// Headers that carry credentials.
const HEADERS: &str = "authorization proxy-authorization cookie set-cookie x-api-key x-auth-token";

/// Query parameters that carry credentials.
const QUERY: &str = "access_token api_key apikey api-key auth client_secret code id_token jwt key passwd password refresh_token secret session sig signature token x-amz-credential x-amz-security-token x-amz-signature";

/// The names whose values are secret, in lower case.
pub(crate) struct Redaction {
    headers: BTreeSet<String>,
    query: BTreeSet<String>,
}

impl Redaction {
    /// The names that are always secret, and these.
    pub(crate) fn new(headers: &[String], query: &[String]) -> Self {
        let names = |usual: &str, more: &[String]| {
            usual.split(' ').map(str::to_owned).chain(more.iter().map(|name| name.to_ascii_lowercase())).collect()
        };
        Self { headers: names(HEADERS, headers), query: names(QUERY, query) }
    }

    /// Whether a header's value is not to be logged.
    pub(crate) fn hides(&self, name: &str) -> bool {
        self.headers.contains(name)
    }

    /// A query (without `?`) as it may be logged.
    pub(crate) fn query(&self, query: &str) -> String {
        let redact = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if self.query.contains(&decode(name)) => format!("{name}={REDACTED}"),
            _ => pair.to_owned(),
        };
        // Some servers take `;` between parameters, too.
        let pairs = query.split_inclusive(['&', ';']).map(|pair| {
            let end = pair.trim_end_matches(['&', ';']).len();
            let (pair, delimiter) = pair.split_at(end);
            redact(pair) + delimiter
        });
        pairs.collect()
    }

    /// A URL as it may be logged: its query redacted, without the fragment that browsers leave out of `referer` anyway.
    pub(crate) fn url(&self, url: &str) -> String {
        let url = url.split('#').next().unwrap_or_default();
        url.split_once('?').map_or_else(|| url.to_owned(), |(url, query)| format!("{url}?{}", self.query(query)))
    }
}

/// A parameter's name as servers read it: percent-decoded, in lower case.
fn decode(name: &str) -> String {
    percent_encoding::percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction() -> Redaction {
        Redaction::new(&["X-Secret".to_owned()], &["PIN".to_owned()])
    }

    #[test]
    fn credentials_in_headers_are_never_logged() {
        for name in ["authorization", "cookie", "set-cookie", "x-api-key", "x-secret"] {
            assert!(redaction().hides(name), "{name}");
        }
        assert!(!redaction().hides("accept"));
    }

    #[test]
    fn credentials_in_queries_are_never_logged() {
        for (query, expected) in [
            ("a=1&token=s&b=2", "a=1&token=[redacted]&b=2"),
            ("Token=s", "Token=[redacted]"),
            ("%74oken=s", "%74oken=[redacted]"),
            ("to%6Ben=s=s", "to%6Ben=[redacted]"),
            ("pin=1", "pin=[redacted]"),
            ("x=1;api_key=s;y&refresh_token=s", "x=1;api_key=[redacted];y&refresh_token=[redacted]"),
            ("token", "token"),
            ("tokens=a&%zz=1&%", "tokens=a&%zz=1&%"),
            ("", ""),
        ] {
            assert_eq!(redaction().query(query), expected);
        }
    }

    #[test]
    fn a_url_is_logged_without_credentials() {
        assert_eq!(redaction().url("https://a.example/x?code=1&b=2"), "https://a.example/x?code=[redacted]&b=2");
        assert_eq!(redaction().url("/x@y/z"), "/x@y/z");
    }
}
