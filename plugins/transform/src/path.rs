//! Changes to the path. The query is not touched.

use regex_lite::Regex;

use crate::PathConfig;
use crate::template::{Facts, Place, Template};

/// A checked change.
#[derive(Debug)]
pub(crate) enum PathEdit {
    /// The whole path.
    Set(Template),
    /// A prefix of whole segments.
    Prefix {
        /// Without a trailing slash.
        from: String,
        /// Without a trailing slash.
        to: Template,
    },
    /// The first match of an expression, with its captures.
    Regex(Regex, String),
}

impl PathEdit {
    /// Checks the configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(config: &PathConfig) -> Result<Self, String> {
        let rooted = |path: &str| {
            if path.starts_with('/') { Ok(()) } else { Err(format!("path {path:?} does not begin with \"/\"")) }
        };
        match config {
            PathConfig::Set(path) => {
                rooted(path)?;
                Template::parse(path).map(Self::Set)
            }
            PathConfig::Prefix(prefix) => {
                rooted(&prefix.from)?;
                rooted(&prefix.to)?;
                let to = Template::parse(prefix.to.trim_end_matches('/'))?;
                Ok(Self::Prefix { from: prefix.from.trim_end_matches('/').to_owned(), to })
            }
            PathConfig::Regex(regex) => {
                let pattern = Regex::new(&regex.pattern).map_err(|error| format!("path: {error}"))?;
                Ok(Self::Regex(pattern, regex.replacement.clone()))
            }
        }
    }

    /// The new path; `None`: it stays.
    #[must_use]
    pub(crate) fn apply(&self, path: &str, facts: &impl Facts) -> Option<String> {
        match self {
            Self::Set(template) => Some(template.render(Place::Path, facts)),
            Self::Prefix { from, to } => {
                let rest = path.strip_prefix(from.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
                let path = to.render(Place::Path, facts) + rest;
                Some(if path.is_empty() { "/".to_owned() } else { path })
            }
            Self::Regex(pattern, replacement) => {
                let replaced = pattern.is_match(path).then(|| pattern.replace(path, replacement.as_str()))?;
                Some(if replaced.starts_with('/') { replaced.into_owned() } else { format!("/{replaced}") })
            }
        }
    }
}

/// Whether a path climbs (`..`, also encoded): what was filled in must not lead out of where the configuration points.
#[must_use]
pub(crate) fn climbs(path: &str) -> bool {
    path.split('/').any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(segment.as_str(), "." | "..")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Placeholder;
    use crate::{PrefixConfig, RegexConfig};

    struct Query(&'static str);
    impl Facts for Query {
        fn value(&self, placeholder: &Placeholder) -> String {
            match placeholder {
                Placeholder::RequestPath => "/a/b".to_owned(),
                _ => self.0.to_owned(),
            }
        }
    }

    fn apply(config: &PathConfig, path: &str) -> Option<String> {
        PathEdit::new(config).unwrap().apply(path, &Query("x/y"))
    }
    fn prefix(from: &str, to: &str) -> PathConfig {
        PathConfig::Prefix(PrefixConfig { from: from.to_owned(), to: to.to_owned() })
    }
    fn regex(pattern: &str, replacement: &str) -> PathConfig {
        PathConfig::Regex(RegexConfig { pattern: pattern.to_owned(), replacement: replacement.to_owned() })
    }

    #[test]
    fn the_whole_path_is_set() {
        let set = PathConfig::Set("/items/{request.query.id}".to_owned());
        assert_eq!(apply(&set, "/old").as_deref(), Some("/items/x%2Fy"));
        assert_eq!(apply(&PathConfig::Set("/v2{request.path}".to_owned()), "/a/b").as_deref(), Some("/v2/a/b"));
    }

    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        for (from, to, path, expected) in [
            ("/api", "/v2", "/api/users", Some("/v2/users")),
            ("/api/", "/v2/", "/api/users", Some("/v2/users")),
            ("/api", "/v2", "/api", Some("/v2")),
            ("/api", "/v2", "/apis", None),
            ("/api", "/", "/api/users", Some("/users")),
            ("/api", "/", "/api", Some("/")),
            ("/", "/v2", "/users", Some("/v2/users")),
        ] {
            assert_eq!(apply(&prefix(from, to), path).as_deref(), expected, "{from} {to} {path}");
        }
    }

    #[test]
    fn an_expression_moves_its_captures() {
        let swap = regex("^/users/([^/]+)/(?<what>[a-z]+)$", "/$what/of/$1");
        assert_eq!(apply(&swap, "/users/7/orders").as_deref(), Some("/orders/of/7"));
        assert_eq!(apply(&swap, "/other"), None);
        assert_eq!(apply(&regex("^/old/", ""), "/old/a").as_deref(), Some("/a"));
    }

    #[test]
    fn a_path_that_climbs_is_seen() {
        for path in ["/a/../b", "/a/%2e%2E/b", "/a/.", "/.%2e"] {
            assert!(climbs(path), "{path}");
        }
        for path in ["/a/..b", "/a/...", "/a.b/c", "/"] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn bad_changes_are_refused() {
        for config in [PathConfig::Set("x".to_owned()), prefix("api", "/v2"), prefix("/api", "v2"), regex("(", "")] {
            assert!(PathEdit::new(&config).is_err(), "{config:?}");
        }
    }
}
