//! Changes to the path. The query is not touched.

use regex_lite::Regex;

use crate::PathConfig;
use crate::edits::encode;
use crate::template;

/// A checked change.
pub(crate) enum PathEdit {
    /// The whole path.
    Set(String),
    /// From and to, without trailing slashes.
    Prefix(String, String),
    /// The first match of an expression, with its captures.
    Regex(Regex, String),
}

impl PathEdit {
    /// Checks the configuration; the error says what is wrong with it.
    pub(crate) fn new(config: PathConfig) -> Result<Self, String> {
        let rooted = |path: &str| {
            template::check(path, false)?;
            if path.starts_with('/') { Ok(()) } else { Err(format!("path {path:?} does not begin with \"/\"")) }
        };
        let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
        Ok(match config {
            PathConfig::Set(path) => {
                rooted(&path)?;
                Self::Set(path)
            }
            PathConfig::Prefix(prefix) => {
                rooted(&prefix.from)?;
                rooted(&prefix.to)?;
                Self::Prefix(trimmed(&prefix.from), trimmed(&prefix.to))
            }
            PathConfig::Regex(regex) => {
                Self::Regex(Regex::new(&regex.pattern).map_err(|error| format!("path: {error}"))?, regex.replacement)
            }
        })
    }

    /// The new path; `None`: it stays. What placeholders bring in is percent-encoded, slashes too.
    pub(crate) fn apply(&self, path: &str, fact: impl Fn(&str) -> Option<String>) -> Option<String> {
        let fact = |name: &str| fact(name).map(|value| if name == "request.path" { value } else { encode(&value) });
        let edited = match self {
            Self::Set(to) => template::render(to, fact).unwrap_or_default(),
            Self::Prefix(from, to) => {
                let rest = path.strip_prefix(from.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
                template::render(to, fact).unwrap_or_default() + rest
            }
            Self::Regex(pattern, to) => {
                pattern.is_match(path).then(|| pattern.replace(path, to.as_str()).into_owned())?
            }
        };
        Some(if edited.starts_with('/') { edited } else { format!("/{edited}") })
    }
}

/// Whether a path climbs (`..`, also encoded): what was filled in must not lead out of where the configuration points.
pub(crate) fn climbs(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | ".."))
}
