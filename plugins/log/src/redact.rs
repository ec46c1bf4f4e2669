//! What must not be in a log: credentials in headers, queries and the queries of referring pages.

use std::collections::BTreeSet;

/// What is written in place of a secret.
const REDACTED: &str = "[redacted]";

/// Headers that carry credentials.
const HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"];

/// Query parameters that carry credentials.
const QUERY: [&str; 13] = [
    "access_token",
    "api_key",
    "apikey",
    "api-key",
    "client_secret",
    "code",
    "id_token",
    "key",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];

/// The names whose values are secret, in lower case.
#[derive(Debug)]
pub(crate) struct Redaction {
    headers: BTreeSet<String>,
    query: BTreeSet<String>,
}

impl Redaction {
    /// The names that are always secret, and these.
    #[must_use]
    pub(crate) fn new(headers: &[String], query: &[String]) -> Self {
        let lower = |fixed: &[&str], more: &[String]| {
            fixed
                .iter()
                .map(|name| (*name).to_owned())
                .chain(more.iter().map(|name| name.to_ascii_lowercase()))
                .collect()
        };
        Self { headers: lower(&HEADERS, headers), query: lower(&QUERY, query) }
    }

    /// The value of a header as it may be logged.
    #[must_use]
    pub(crate) fn header(&self, name: &str, value: String) -> String {
        if self.headers.contains(name) { REDACTED.to_owned() } else { value }
    }

    /// A query (without `?`) as it may be logged.
    #[must_use]
    pub(crate) fn query(&self, query: &str) -> String {
        let mut redacted = String::with_capacity(query.len());
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                redacted.push('&');
            }
            match pair.split_once('=') {
                Some((name, _)) if self.query.contains(&decode(name)) => {
                    redacted.push_str(name);
                    redacted.push('=');
                    redacted.push_str(REDACTED);
                }
                _ => redacted.push_str(pair),
            }
        }
        redacted
    }

    /// A URL as it may be logged: its query redacted, its user information and its fragment gone.
    #[must_use]
    pub(crate) fn url(&self, url: &str) -> String {
        let url = url.split_once('#').map_or(url, |(before, _)| before);
        let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
        let mut redacted = match address.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                format!("{scheme}://{host}{path}")
            }
            None => address.to_owned(),
        };
        if let Some(query) = query {
            redacted.push('?');
            redacted.push_str(&self.query(query));
        }
        redacted
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
            assert_eq!(redaction().header(name, "s3cret".to_owned()), REDACTED);
        }
        assert_eq!(redaction().header("accept", "s3cret".to_owned()), "s3cret");
    }

    #[test]
    fn credentials_in_queries_are_never_logged() {
        for (query, expected) in [
            ("a=1&token=s&b=2", "a=1&token=[redacted]&b=2"),
            ("Token=s", "Token=[redacted]"),
            ("%74oken=s", "%74oken=[redacted]"),
            ("to%6Ben=s=s", "to%6Ben=[redacted]"),
            ("pin=1", "pin=[redacted]"),
            ("token", "token"),
            ("tokens=a&%zz=1&%", "tokens=a&%zz=1&%"),
            ("", ""),
        ] {
            assert_eq!(redaction().query(query), expected);
        }
    }

    #[test]
    fn a_url_is_logged_without_credentials() {
        assert_eq!(
            redaction().url("https://u:p@a.example/x?code=1&b=2#token=3"),
            "https://a.example/x?code=[redacted]&b=2"
        );
        assert_eq!(redaction().url("https://u:p@a.example?code=1"), "https://a.example?code=[redacted]");
        assert_eq!(redaction().url("/x?code=1"), "/x?code=[redacted]");
        assert_eq!(redaction().url("/x@y/z"), "/x@y/z");
    }
}
