//! The header fields that tell a client where it stands: `RateLimit-Policy` and `RateLimit` of the IETF's HTTP API
//! working group (draft-ietf-httpapi-ratelimit-headers), as structured fields (RFC 9651).

use std::time::Duration;

/// One limit of the policy, as clients see it.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    /// The limit's name.
    pub(crate) name: String,
    /// Requests per window.
    pub(crate) limit: u64,
    /// The window.
    pub(crate) window: Duration,
}

/// `RateLimit-Policy`: `"default";q=100;w=60`.
#[must_use]
pub(crate) fn policy<'a>(quotas: impl Iterator<Item = &'a Quota>) -> String {
    let items: Vec<String> =
        quotas.map(|quota| format!("\"{}\";q={};w={}", quota.name, quota.limit, ceil_seconds(quota.window))).collect();
    items.join(", ")
}

/// One item of `RateLimit`: requests that could still be made at once, and until the whole quota is there again:
/// `"default";r=50;t=30`.
#[must_use]
pub(crate) fn standing(quota: &Quota, remaining: u64, reset: Duration) -> String {
    format!("\"{}\";r={remaining};t={}", quota.name, ceil_seconds(reset))
}

/// Whole seconds, rounded up: a client that waits so long has waited long enough.
#[must_use]
pub(crate) fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// A name that may stand in a structured field's string without escapes.
#[must_use]
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(name: &str, limit: u64, seconds: u64) -> Quota {
        Quota { name: name.to_owned(), limit, window: Duration::from_secs(seconds) }
    }

    #[test]
    fn the_fields_are_structured_lists() {
        let quotas = [quota("burst", 10, 1), quota("daily", 1000, 86400)];
        assert_eq!(policy(quotas.iter()), r#""burst";q=10;w=1, "daily";q=1000;w=86400"#);
        assert_eq!(standing(&quotas[0], 3, Duration::from_millis(1200)), r#""burst";r=3;t=2"#);
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(ceil_seconds(Duration::ZERO), 0);
        assert_eq!(ceil_seconds(Duration::from_nanos(1)), 1);
        assert_eq!(ceil_seconds(Duration::from_secs(2)), 2);
    }

    #[test]
    fn a_name_needs_no_escapes() {
        assert!(is_name("per-minute"));
        assert!(!is_name("a\"b"));
        assert!(!is_name(""));
    }
}
