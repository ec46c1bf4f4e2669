//! The filter chains that are measured, with the modules and configurations of their filters.

use serde_json::Value;
use sluicegate_tests::{guests, wat};

/// A chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// No filter.
    None,
    /// That many filters, each of which reads one header and adds one in each direction.
    Headers(usize),
    /// The five first-party filters: cors, auth with an HS256 token, rate-limit, transform of headers, log.
    Five,
}

impl Chain {
    /// Every chain that has filters.
    pub(crate) const FILTERS: [Self; 4] = [Self::Headers(1), Self::Headers(5), Self::Headers(10), Self::Five];

    /// How the table calls it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Headers(1) => "1 header filter".to_owned(),
            Self::Headers(count) => format!("{count} header filters"),
            Self::Five => "five real ones".to_owned(),
        }
    }
    /// Name, module and configuration of each filter.
    pub(crate) fn filters(self) -> Vec<(&'static str, Vec<u8>, Value)> {
        match self {
            Self::None => Vec::new(),
            Self::Headers(count) => vec![("header", wat::header_guest(), Value::Null); count],
            Self::Five => {
                guests::five().into_iter().map(|(name, config)| (name, guests::bundled(name), config)).collect()
            }
        }
    }
    /// A response header by which one sees that the chain was there.
    pub(crate) fn mark(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Headers(_) => Some("x-bench"),
            Self::Five => Some("ratelimit"),
        }
    }
}
