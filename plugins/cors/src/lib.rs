//! Lets the pages of other origins call what is behind this gateway: the CORS protocol of the Fetch standard.
//!
//! Preflights are answered here (204) and go no further, so this filter belongs before `auth` and `rate-limit`. Every
//! other answer, the replies of later filters included, gets the CORS fields that this configuration gives it, and only
//! those: what an upstream said about CORS is removed. A request of an origin that is not allowed is still passed on,
//! without CORS fields in the answer: the browser keeps the answer from the page.
//!
//! ```json
//! { "origins": ["https://app.example", "https://*.preview.example"], "credentials": true, "expose_headers": ["x-request-id"] }
//! ```

mod origin;
mod policy;
#[cfg(test)]
mod tests;

use sluicegate_sdk::prelude::*;

use policy::{Policy, Preflight};

/// Which pages may call.
#[derive(Config)]
pub struct CorsConfig {
    /// Origins of the pages that may call: "https://app.example", "https://*.example.com" (any host below), "http://localhost:*"
    /// (any port), "null", or "*" for all (not together with credentials).
    pub origins: Vec<String>,
    /// Methods that may be used beyond GET, HEAD and POST. "*": all.
    #[config(default = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].map(String::from).to_vec())]
    pub methods: Vec<String>,
    /// Request headers that may be sent beyond the safelisted ones. "*": all.
    #[config(default = vec!["*".to_owned()])]
    pub headers: Vec<String>,
    /// Response headers that the page may read beyond the safelisted ones. "*": all (not together with credentials).
    #[config(default)]
    pub expose_headers: Vec<String>,
    /// Cookies and HTTP authentication may be used.
    #[config(default)]
    pub credentials: bool,
    /// How long a browser may remember a preflight.
    #[config(default = "10m")]
    pub max_age: Duration,
    /// Pages from the public network may call this private one (Private Network Access).
    #[config(default)]
    pub private_network: bool,
}

/// The filter.
pub struct Cors {
    policy: Policy,
}

/// What the request phase leaves for the response phase.
#[derive(Default)]
struct Verdict {
    /// The preflight was answered here, complete.
    answered: bool,
    /// `Access-Control-Allow-Origin` of the answer; `None`: not allowed.
    allow_origin: Option<String>,
}

/// Fields that an upstream may have set and that only this filter decides on.
const OWNED: [&str; 7] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-allow-private-network",
];

#[filter]
impl Filter for Cors {
    type Config = CorsConfig;

    fn new(config: CorsConfig) -> Result<Self> {
        Ok(Self { policy: Policy::new(&config).map_err(Fault::new)? })
    }

    fn request(&self, req: &mut Request) -> Result {
        let origin = req.headers().get_str("origin");
        let allow_origin = self.policy.allow_origin(origin.as_deref());
        let preflight = req.method() == "OPTIONS" && origin.is_some();
        if preflight && let Some(method) = req.headers().get_str("access-control-request-method") {
            req.ext::<Verdict>().answered = true;
            return Err(self.answer_preflight(req, &method, allow_origin).into());
        }
        req.ext::<Verdict>().allow_origin = allow_origin;
        Ok(())
    }

    fn response(&self, res: &mut Response) -> Result {
        let verdict = std::mem::take(&mut *res.ext::<Verdict>());
        if verdict.answered {
            return Ok(());
        }
        for name in OWNED {
            res.headers().remove(name);
        }
        for (name, value) in verdict.allow_origin.iter().flat_map(|origin| self.policy.actual(origin)) {
            res.headers().set(name, value);
        }
        if !self.policy.is_public() && !varies_by_origin(res) {
            res.headers().append("vary", "Origin");
        }
        Ok(())
    }
}

impl Cors {
    fn answer_preflight(&self, req: &Request, method: &str, allow_origin: Option<String>) -> Reply {
        let headers = req.headers().get_str("access-control-request-headers");
        let private_network = req.headers().get_str("access-control-request-private-network");
        let asked = Preflight {
            method,
            headers: headers.as_deref(),
            private_network: private_network.as_deref() == Some("true"),
        };
        let reply = Reply::new(204).header("vary", self.policy.preflight_vary());
        let fields = allow_origin.map(|origin| self.policy.preflight(&origin, asked)).unwrap_or_default();
        fields.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value))
    }
}

/// Whether the upstream already says so.
fn varies_by_origin(res: &Response) -> bool {
    let named =
        |value: String| value.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("origin"));
    res.headers().get_str("vary").is_some_and(named)
}
