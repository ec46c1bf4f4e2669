//! How long the client's answer may take once its head is there: the route's timeout, but for events, which come when they come.

use std::time::Duration;

use http::{HeaderMap, header};
use tokio::time::Instant;

use super::Ongoing;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    Endless,
    /// For all of it.
    Until(Instant),
    /// For each piece.
    Between(Duration),
}

impl Patience {
    /// With an answer of that head. `streams`: nobody knows how long its body is.
    pub(super) fn with(
        headers: &HeaderMap,
        streams: bool,
        deadline: Option<std::time::Instant>,
        ongoing: &Ongoing,
    ) -> Self {
        match deadline {
            None => Self::Endless,
            Some(_) if streams && is_events(headers) => Self::Between(ongoing.generation.config.limits.tunnel_timeout),
            Some(deadline) => Self::Until(deadline.into()),
        }
    }
    /// When it ends, if nothing comes from now on.
    pub(super) fn end(self) -> Option<Instant> {
        match self {
            Self::Endless => None,
            Self::Until(deadline) => Some(deadline),
            Self::Between(silence) => Some(Instant::now() + silence),
        }
    }
}

/// Server-sent events (HTML Living Standard §9.2).
fn is_events(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn events_are_known_by_their_media_type_alone() {
        let is = |value| is_events(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]));
        assert!(is("text/event-stream") && is("Text/Event-Stream ; charset=utf-8"));
        assert!(!is("text/event-streams") && !is("text/plain; a=text/event-stream") && !is_events(&HeaderMap::new()));
    }
}
