//! Limits how often somebody may call: the generic cell rate algorithm, counted by the gateway, so that all its workers
//! (and, with shared state, all its nodes) count together.
//!
//! A request over a limit is answered 429 with `Retry-After`; every answer tells the client where it stands in `RateLimit` and
//! `RateLimit-Policy`. Several limits are taken in the order they are written; the first that refuses ends it, so the narrowest
//! belongs first. Uses of this filter whose name, numbers and key are the same share their buckets.
//!
//! ```json
//! { "limit": 100, "per": "1m", "burst": 20, "key": "consumer" }
//! ```
//! ```json
//! { "limits": [{ "name": "second", "limit": 10, "per": "1s", "key": "ip" },
//!              { "name": "day", "limit": 10000, "per": "24h", "key": ["consumer", { "header": "x-tenant" }] }] }
//! ```

mod fields;
mod key;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use sluicegate_sdk::prelude::*;

use fields::Quota;
pub use key::Part;

/// One limit, or several.
#[derive(Config)]
pub struct RateLimitConfig {
    /// The only limit: requests per window.
    #[config(min = 1)]
    pub limit: Option<u64>,
    /// The only limit's window: "1s", "1m", "1h".
    pub per: Option<Duration>,
    /// How many of them at once (default: all).
    #[config(min = 1)]
    pub burst: Option<u64>,
    /// Who or what is counted (default: the consumer, else the client's address): "consumer", "ip", "path", "route", "method",
    /// {"header": "x-tenant"}, or a list of these.
    pub key: Option<OneOrMany<Part>>,
    /// Instead: several limits, all of which must allow a request.
    #[config(default)]
    pub limits: Vec<LimitConfig>,
}

/// One of several limits.
#[derive(Config)]
pub struct LimitConfig {
    /// Its name in the header fields, and of its buckets.
    #[config(default = "default")]
    pub name: String,
    /// Requests per window.
    #[config(min = 1)]
    pub limit: u64,
    /// The window: "1s", "1m", "1h".
    pub per: Duration,
    /// How many of them at once (default: all).
    #[config(min = 1)]
    pub burst: Option<u64>,
    /// Who or what is counted (default: the consumer, else the client's address).
    pub key: Option<OneOrMany<Part>>,
    /// Clients are told about it in the header fields. A limit that only protects may stay unseen.
    #[config(default = true)]
    pub headers: bool,
}

/// The filter.
pub struct RateLimit {
    limits: Vec<Limit>,
    /// `RateLimit-Policy`, when any limit is shown.
    policy: Option<String>,
}

struct Limit {
    quota: Quota,
    window: Window,
    key: Vec<Part>,
    /// The beginning of its buckets' names.
    bucket: String,
    headers: bool,
}

/// What the request phase leaves for the response phase: `RateLimit`.
#[derive(Default)]
struct Shown(Option<String>);

#[filter]
impl Filter for RateLimit {
    type Config = RateLimitConfig;

    fn new(config: RateLimitConfig) -> Result<Self> {
        let limits = config.into_limits().map_err(Fault::new)?;
        let limits = limits.into_iter().map(Limit::new).collect::<Result<Vec<_>, _>>().map_err(Fault::new)?;
        let shown = || limits.iter().filter(|limit| limit.headers).map(|limit| &limit.quota);
        let policy = shown().next().is_some().then(|| fields::policy(shown()));
        Ok(Self { limits, policy })
    }

    fn request(&self, req: &mut Request) -> Result {
        let mut shown = Vec::new();
        for limit in &self.limits {
            let decision = limit.window.take(&key::bucket(&limit.bucket, &limit.key, req), 1)?;
            if limit.headers {
                shown.push(fields::standing(&limit.quota, decision.remaining, decision.reset));
            }
            if !decision.allowed {
                counter!("limited", limit = limit.quota.name.as_str()).inc();
                req.ext::<Shown>().0 = Some(shown.join(", "));
                return Err(refusal(decision.retry_after).into());
            }
        }
        req.ext::<Shown>().0 = Some(shown.join(", "));
        Ok(())
    }

    /// Also runs on the 429 itself.
    fn response(&self, res: &mut Response) -> Result {
        let Some(policy) = &self.policy else { return Ok(()) };
        res.headers().set("ratelimit-policy", policy);
        let shown = res.ext::<Shown>().0.take();
        if let Some(shown) = shown.filter(|shown| !shown.is_empty()) {
            res.headers().set("ratelimit", shown);
        }
        Ok(())
    }
}

impl RateLimitConfig {
    /// The limits as a list, however they were written.
    fn into_limits(self) -> Result<Vec<LimitConfig>, String> {
        let Self { limit, per, burst, key, limits } = self;
        let alone = burst.is_none() && key.is_none();
        match (limit, per) {
            (Some(limit), Some(per)) if limits.is_empty() => {
                Ok(vec![LimitConfig { name: "default".to_owned(), limit, per, burst, key, headers: true }])
            }
            (None, None) if alone && !limits.is_empty() => {
                let names: BTreeSet<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
                if names.len() < limits.len() {
                    return Err("limits: each has a \"name\" of its own".to_owned());
                }
                Ok(limits)
            }
            _ => Err("either \"limit\" and \"per\" (with \"burst\" and \"key\"), or \"limits\"".to_owned()),
        }
    }
}

impl Limit {
    fn new(config: LimitConfig) -> Result<Self, String> {
        let LimitConfig { name, limit, per, burst, key, headers } = config;
        if !fields::is_name(&name) {
            return Err(format!("limit {name:?}: a name is made of letters, digits and -_.:/"));
        }
        if per.is_zero() {
            return Err(format!("limit {name:?}: \"per\" is zero"));
        }
        let key: Vec<Part> = key.map_or_else(|| vec![Part::Consumer], |key| key.into_iter().collect());
        if key.is_empty() {
            return Err(format!("limit {name:?}: \"key\" is empty"));
        }
        let burst = burst.unwrap_or(limit);
        Ok(Self {
            window: Window::gcra(limit, per, burst),
            bucket: format!("{name}/{limit}/{}/{burst}", per.as_millis()),
            quota: Quota { name, limit, window: per },
            key,
            headers,
        })
    }
}

/// The answer to a request over the limit.
fn refusal(retry_after: Duration) -> Reply {
    let seconds = fields::ceil_seconds(retry_after).max(1);
    Reply::problem(429, "Too Many Requests", &format!("Try again in {seconds} s."))
        .header("retry-after", seconds.to_string())
}
