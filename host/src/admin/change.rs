//! Requests that change something: `POST` only, from this machine, and never on behalf of a web page.
//!
//! A browser sends a page's requests to any address that its machine can reach. It says so (`origin`, `sec-fetch-site`), and a
//! page that had its own name resolved to this address cannot hide that name (`host.rs`).

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HeaderName, ORIGIN};
use http::{Request, StatusCode};

use super::{Admin, Answer, NotDone, host, json};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The paths of changes, for people.
pub(super) const PATHS: [&str; 3] = ["/api/v1/reload", "/api/v1/drain", "/api/v1/plugins/NAME/rollback"];

/// What somebody asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Reload,
    Drain,
    RollBack(String),
}

impl Change {
    /// The change that a path stands for.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/api/v1/reload" => Some(Self::Reload),
            "/api/v1/drain" => Some(Self::Drain),
            _ => {
                let name = path.strip_prefix("/api/v1/plugins/")?.strip_suffix("/rollback")?;
                let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                (!name.is_empty() && name.chars().all(legal)).then(|| Self::RollBack(name.replace('_', "-")))
            }
        }
    }

    /// Does it. What takes time is done on a thread of its own.
    pub(super) async fn make(self, admin: Arc<Admin>) -> Answer {
        let control = Arc::clone(&admin.control);
        let done = match self {
            Self::Drain => {
                // In the same breath as the answer is written: the end may be near.
                control.drain();
                return json(StatusCode::ACCEPTED, &json!({ "status": "draining" }));
            }
            Self::Reload => tokio::task::spawn_blocking(move || control.reload()).await,
            Self::RollBack(plugin) => tokio::task::spawn_blocking(move || control.roll_back(&plugin)).await,
        };
        match done {
            Ok(Ok(value)) => json(StatusCode::OK, &value),
            Ok(Err(NotDone::Invalid(problems))) => {
                json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": "not valid", "problems": problems }))
            }
            Ok(Err(NotDone::Conflict(reason))) => json(StatusCode::CONFLICT, &json!({ "error": reason })),
            Ok(Err(NotDone::Unknown(reason))) => json(StatusCode::NOT_FOUND, &json!({ "error": reason })),
            Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        }
    }
}

/// Why a request may change nothing, if it may not.
pub(super) fn refusal<B>(request: &Request<B>, peer: SocketAddr, hosts: &[String]) -> Option<&'static str> {
    let headers = request.headers();
    let site = |value: &http::HeaderValue| matches!(value.as_bytes(), b"none" | b"same-origin");
    if !peer.ip().to_canonical().is_loopback() {
        return Some("changes are made from this machine only");
    }
    if headers.contains_key(ORIGIN) {
        return Some("a request with an origin comes from a web page");
    }
    if !headers.get_all(SEC_FETCH_SITE).iter().all(site) {
        return Some("sec-fetch-site says that the request comes from another site");
    }
    (!host::is_allowed(request, hosts)).then_some(host::REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_rollback_names_a_plugin_and_nothing_else() {
        assert_eq!(Change::of("/api/v1/plugins/my_filter/rollback"), Some(Change::RollBack("my-filter".to_owned())));
        for path in [
            "/api/v1/plugins//rollback",
            "/api/v1/plugins/a/b/rollback",
            "/api/v1/plugins/%2e/rollback",
            "/api/v1/plugins/a",
        ] {
            assert_eq!(Change::of(path), None, "{path}");
        }
    }

    #[test]
    fn only_requests_of_this_machine_that_no_page_made_change_something() {
        let refused = |peer: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/api/v1/reload").header("host", "127.0.0.1");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            refusal(&request.body(()).unwrap(), peer.parse().unwrap(), &[]).is_some()
        };
        assert!(!refused("127.0.0.1:1", &[]));
        assert!(!refused("[::ffff:127.0.0.1]:1", &[("sec-fetch-site", "none")]));
        assert!(!refused("[::1]:1", &[("sec-fetch-site", "same-origin")]));
        assert!(refused("10.0.0.1:1", &[]));
        assert!(refused("127.0.0.1:1", &[("origin", "https://evil.example")]));
        assert!(refused("127.0.0.1:1", &[("origin", "null")]));
        assert!(refused("127.0.0.1:1", &[("sec-fetch-site", "cross-site")]));
        assert!(refused("127.0.0.1:1", &[("sec-fetch-site", "none"), ("sec-fetch-site", "same-site")]));
    }
}
