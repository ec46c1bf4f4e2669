//! What is soaked: a gateway with listeners, filters and upstreams of every kind.

use serde_json::{Value, json};
use sluicegate_tests::origin::{Seen, answer, with};
use sluicegate_tests::tls::Authority;
use sluicegate_tests::{Gateway, Origin, RawOrigin, guests, site};

/// Worker threads of the gateway.
const WORKERS: usize = 2;
/// Open files that stay when the load has gone: each worker's shared connection to the HTTP/2 upstream, and the memory images of the versions
/// that can be gone back to.
pub(crate) const KEPT_FILES: usize = WORKERS + 2;
/// Bytes of a long response.
pub(crate) const LONG: usize = 512 * 1024;
/// The name that the certificate is for.
pub(crate) const NAME: &str = "soak.test";

/// The upstreams.
pub(crate) struct Origins {
    http1: Origin,
    http2: Origin,
    tcp: RawOrigin,
    pub(crate) authority: Authority,
}

/// Where they are.
#[derive(Clone)]
pub(crate) struct Urls {
    http1: String,
    http2: String,
    tcp: String,
}

/// A folder with a configuration, plugins and a certificate.
pub(crate) struct Site {
    site: site::Site,
    config: Value,
}

impl Origins {
    pub(crate) async fn start() -> Self {
        Self {
            http1: Origin::start(reply).await,
            http2: Origin::start_http2(reply).await,
            tcp: RawOrigin::echo().await,
            authority: Authority::new("Soak"),
        }
    }
    pub(crate) fn urls(&self) -> Urls {
        Urls { http1: self.http1.url(), http2: self.http2.url(), tcp: self.tcp.tcp_url() }
    }
    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        self.http1.forget();
        self.http2.forget();
    }
}

/// The body that was sent, or a long one, or a word.
async fn reply(seen: Seen) -> http::Response<sluicegate_tests::body::Body> {
    match (&*seen.target, seen.body.is_empty()) {
        ("/leave/long", _) => answer(200, vec![b'x'; LONG]),
        (_, false) => answer(200, seen.body),
        (_, true) => with(answer(200, "ok"), &[("server", "origin")]),
    }
}

/// The configuration; `variant` is a number that changes it.
pub(crate) fn config(urls: &Urls, variant: u64) -> Value {
    let five: Vec<Value> =
        guests::five().into_iter().map(|(name, config)| json!({ "use": name, "config": config })).collect();
    let whole = json!([{ "before_end": ["pause"] }]);
    let bodies = json!({ "use": "script", "config": { "request_body": whole, "response_body": whole } });
    let call = json!({ "call": { "upstream": "http2", "path": "/side", "timeout_ms": 20_000 } });
    let calls = json!({
        "use": "script", "upstreams": ["http2"],
        "config": {
            "request_headers": [call, "pause"],
            "call_response": [{ "set": ["request", "x-side", { "header": ["call", ":status"] }] }, { "resume": "request" }],
        },
    });
    let fragile = json!({ "use": "fragile", "config": { "request_headers": [{ "when": ["trap", ["trap"]] }] } });
    let leave = json!({ "use": "script", "config": { "request_body": whole, "trace": false } });
    let changing = json!({ "set": { "x-variant": variant.to_string() } });
    let route = |name: &str, filters: &Value, upstream: &str| {
        json!({
            "name": name, "match": { "path": { "prefix": format!("/{name}") } }, "filters": filters, "upstream": upstream,
            "request_headers": changing,
        })
    };
    let tcp = json!({ "use": "tcp", "config": { "downstream": ["uppercase"] } });
    json!({
        "listeners": [
            { "address": "127.0.0.1:0" },
            { "address": "127.0.0.2:0", "tls": { "certificates": [{ "certificate": "a.pem", "key": "a.key" }] } },
            { "address": "127.0.0.3:0", "tcp": { "upstream": "tcp", "filters": [tcp] } },
        ],
        "upstreams": {
            "http1": { "targets": [urls.http1] },
            "http2": { "targets": [urls.http2], "protocol": "http2" },
            "tcp": { "targets": [urls.tcp] },
        },
        "routes": [
            route("five", &json!(five), "http1"),
            route("bodies", &json!([bodies]), "http1"),
            route("calls", &json!([calls]), "http1"),
            route("fragile", &json!([fragile]), "http1"),
            route("leave", &json!([leave]), "http1"),
            route("plain", &json!([]), "http2"),
        ],
        "limits": { "workers": WORKERS, "drain_timeout": "5s", "buffer_bytes": "2MiB" },
    })
}

/// The scripted guest in a version of that number: the same code with another section that nobody reads.
pub(crate) fn version(number: u64) -> Vec<u8> {
    let mut bytes = guests::script();
    // A custom section of ten bytes: a name of one letter and the number.
    bytes.extend([0, 10, 1, b'v']);
    bytes.extend(number.to_be_bytes());
    bytes
}

impl Site {
    pub(crate) fn new(origins: &Origins) -> Self {
        let config = config(&origins.urls(), 0);
        let site =
            site::Site::new(&config).plugin("script", version(0)).plugin("fragile", version(u64::MAX)).tcp_script();
        let issued = origins.authority.issue(&[NAME]);
        site::replace(&site.folder().join("a.pem"), issued.pem.as_bytes());
        site::replace(&site.folder().join("a.key"), issued.key.as_bytes());
        Self { site, config }
    }
    /// One of every filter entry on every worker.
    pub(crate) fn most_instances(&self) -> usize {
        self.config.to_string().matches("\"use\":").count() * WORKERS
    }
    pub(crate) async fn start(self) -> Gateway {
        self.site.start().await
    }
}
