//! Requests that change something: `POST` only, from this machine or by somebody who is known, and never on behalf of a web page.
//!
//! A browser sends a page's requests to any address that its machine can reach. It says so (`origin`, `sec-fetch-site`), and a
//! page that had its own name resolved to this address cannot hide that name (`host.rs`).

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, ORIGIN};
use http::{Request, StatusCode};

use super::{Admin, Answer, NotDone, host, json};
use crate::config::Token;

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

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) address: SocketAddr,
    pub(super) over: Over,
}

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Cleartext,
    Tls,
    /// TLS, with a certificate of the client that is trusted.
    ClientCertificate,
}

impl Asker {
    /// Whether the host that a request names may be answered. A browser that was sent here under another name notices it by the
    /// certificate, if there is TLS.
    pub(super) fn may_name<B>(self, request: &Request<B>, hosts: &[String]) -> bool {
        self.over != Over::Cleartext || host::is_allowed(request, hosts)
    }
    fn is_known<B>(self, request: &Request<B>, token: Option<&Token>) -> bool {
        match self.over {
            _ if self.address.ip().to_canonical().is_loopback() => true,
            Over::Cleartext => false,
            Over::Tls => token.zip(bearer(request)).is_some_and(|(token, given)| token.is(given)),
            Over::ClientCertificate => true,
        }
    }
}

/// The token that a request carries (RFC 6750 §2.1), if it carries one.
fn bearer<B>(request: &Request<B>) -> Option<&[u8]> {
    let mut fields = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = field.as_bytes().split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Why a request may change nothing, if it may not.
pub(super) fn refusal<B>(
    request: &Request<B>,
    asker: Asker,
    token: Option<&Token>,
    hosts: &[String],
) -> Option<&'static str> {
    let headers = request.headers();
    let site = |value: &http::HeaderValue| matches!(value.as_bytes(), b"none" | b"same-origin");
    if !asker.is_known(request, token) {
        return Some("changes are made from this machine, or over TLS with a trusted certificate or the token");
    }
    if headers.contains_key(ORIGIN) {
        return Some("a request with an origin comes from a web page");
    }
    if !headers.get_all(SEC_FETCH_SITE).iter().all(site) {
        return Some("sec-fetch-site says that the request comes from another site");
    }
    (!asker.may_name(request, hosts)).then_some(host::REFUSED)
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
            let asker = Asker { address: peer.parse().unwrap(), over: Over::Cleartext };
            refusal(&request.body(()).unwrap(), asker, Some(&Token::of("secret")), &[]).is_some()
        };
        assert!(!refused("127.0.0.1:1", &[]));
        assert!(!refused("[::ffff:127.0.0.1]:1", &[("sec-fetch-site", "none")]));
        assert!(!refused("[::1]:1", &[("sec-fetch-site", "same-origin")]));
        assert!(refused("10.0.0.1:1", &[]));
        assert!(
            refused("10.0.0.1:1", &[("authorization", "Bearer secret")]),
            "in the clear a token counts for nothing"
        );
        assert!(refused("127.0.0.1:1", &[("origin", "https://evil.example")]));
        assert!(refused("127.0.0.1:1", &[("origin", "null")]));
        assert!(refused("127.0.0.1:1", &[("sec-fetch-site", "cross-site")]));
        assert!(refused("127.0.0.1:1", &[("sec-fetch-site", "none"), ("sec-fetch-site", "same-site")]));
    }
    #[test]
    fn over_tls_a_certificate_or_the_token_lets_others_change_something() {
        let refused = |over: Over, token: Option<&Token>, fields: &[&str]| {
            let mut request = Request::builder().uri("/api/v1/reload").header("host", "gateway.internal");
            for field in fields {
                request = request.header("authorization", *field);
            }
            let asker = Asker { address: "10.0.0.1:1".parse().unwrap(), over };
            refusal(&request.body(()).unwrap(), asker, token, &[]).is_some()
        };
        let token = Token::of("secret");
        assert!(!refused(Over::ClientCertificate, None, &[]));
        assert!(!refused(Over::Tls, Some(&token), &["Bearer secret"]));
        assert!(!refused(Over::Tls, Some(&token), &["bearer  secret "]));
        for fields in
            [&[][..], &["Bearer"], &["Bearer "], &["Bearer secre"], &["Basic secret"], &["Bearer secret", "Bearer x"]]
        {
            assert!(refused(Over::Tls, Some(&token), fields), "{fields:?}");
        }
        assert!(refused(Over::Tls, None, &["Bearer secret"]) && refused(Over::Tls, None, &["Bearer "]));
        // Nor on behalf of a web page.
        let request =
            Request::builder().uri("/api/v1/reload").header("origin", "https://evil.example").body(()).unwrap();
        let asker = Asker { address: "10.0.0.1:1".parse().unwrap(), over: Over::ClientCertificate };
        assert!(refusal(&request, asker, None, &[]).is_some());
    }
}
