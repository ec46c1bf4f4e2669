//! Lets the pages of other origins call what is behind this gateway: the CORS protocol of the Fetch standard.
//!
//! Preflights are answered here (204), so this filter belongs before `auth` and `rate-limit`. Every other request is passed on,
//! and every answer, the replies of later filters included, gets the CORS fields that this configuration gives it: none for
//! an origin that is not allowed, so that the browser keeps the answer from the page.
//!
//! ```json
//! { "origins": ["https://app.example", "https://*.preview.example"], "credentials": true, "expose_headers": ["x-request-id"] }
//! ```

mod origin;
mod policy;
#[cfg(test)]
mod tests;

use sluicegate_sdk::prelude::*;

use policy::{Fields, Policy};

/// What an answer can say about CORS (Fetch standard §3.2.3; Private Network Access §3.1).
const ANSWERS: [&str; 7] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
];

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
    /// Fields of the answer.
    fields: Fields,
}

#[filter]
impl Filter for Cors {
    type Config = CorsConfig;

    fn new(config: CorsConfig) -> Result<Self> {
        Ok(Self { policy: Policy::new(config).map_err(Fault::new)? })
    }

    fn request(&self, req: &mut Request) -> Result {
        let origin = req.headers().get_str("origin");
        let mut fields = self.policy.allow(origin.as_deref());
        let allowed = !fields.is_empty();
        let is_preflight = origin.is_some() && req.method() == "OPTIONS";
        if is_preflight && let Some(method) = req.headers().get_str("access-control-request-method") {
            req.ext::<Verdict>().answered = true;
            if allowed {
                fields.extend(self.policy.preflight(req, &method));
            }
            let reply = Reply::new(204).header("vary", self.policy.preflight_vary());
            return Err(fields.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value)).into());
        }
        fields.extend(self.policy.expose().filter(|_| allowed));
        req.ext::<Verdict>().fields = fields;
        Ok(())
    }

    fn response(&self, res: &mut Response) -> Result {
        let verdict = std::mem::take(&mut *res.ext::<Verdict>());
        if verdict.answered {
            return Ok(());
        }
        // What an upstream says about CORS does not count.
        for name in ANSWERS {
            res.headers().remove(name);
        }
        for (name, value) in verdict.fields {
            res.headers().set(name, value);
        }
        if !self.policy.is_public && !varies_by_origin(res) {
            res.headers().append("vary", "Origin");
        }
        Ok(())
    }
}

/// Whether the upstream already says so.
fn varies_by_origin(res: &Response) -> bool {
    let named =
        |value: String| value.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("origin"));
    res.headers().get_str("vary").is_some_and(named)
}
