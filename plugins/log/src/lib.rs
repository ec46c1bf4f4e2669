//! Writes one line per request to standard output, when the request is over: a JSON object, or a text of your own.
//!
//! Whatever a client sends, a record is one line: every value is escaped. Credentials in headers and queries are replaced by
//! `[redacted]`.
//!
//! ```json
//! { "request_headers": ["x-tenant"], "only": ["4xx", "5xx"], "redact": { "query": ["session"] } }
//! ```
//! ```json
//! { "template": "{client_ip} \"{method} {path}\" {status} {duration_ms}ms", "sample": 0.1 }
//! ```

mod record;
mod redact;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeInclusive;
use std::time::SystemTime;

use sluicegate_sdk::prelude::*;

use record::{Format, Value};
use redact::Redaction;

/// What is written about which requests.
#[derive(Config)]
pub struct LogConfig {
    /// A line of your own instead of JSON: "{method} {path} {status} {request.header.x-tenant}". "{{" is a brace.
    pub template: Option<String>,
    /// Request headers that are logged too.
    #[config(default)]
    pub request_headers: Vec<String>,
    /// Response headers that are logged too.
    #[config(default)]
    pub response_headers: Vec<String>,
    /// Share of the requests that is logged, 0 to 1, chosen by the request's id.
    #[config(default = 1.0)]
    pub sample: f64,
    /// Only these statuses: "404", or classes: "5xx".
    #[config(default)]
    pub only: Vec<String>,
    /// What is secret beyond the usual names.
    #[config(default)]
    pub redact: RedactConfig,
}

/// Names whose values are replaced, in addition to the usual ones (authorization, cookie, token, password …).
#[derive(Config, Default)]
pub struct RedactConfig {
    /// Headers.
    #[config(default)]
    pub headers: Vec<String>,
    /// Query parameters.
    #[config(default)]
    pub query: Vec<String>,
}

/// The filter.
pub struct Log {
    /// Statuses that are logged; none: all.
    only: Vec<RangeInclusive<u16>>,
    sample: f64,
    format: Format,
    redaction: Redaction,
}

#[filter]
impl Filter for Log {
    type Config = LogConfig;

    fn new(config: LogConfig) -> Result<Self> {
        let format = match &config.template {
            Some(template) => Format::template(template).map_err(Fault::new)?,
            None => Format::json(&config.request_headers, &config.response_headers),
        };
        if !(0.0..=1.0).contains(&config.sample) {
            return Err(fault!("sample {} is not between 0 and 1", config.sample));
        }
        let only = config.only.iter().map(|text| statuses(text)).collect::<Result<Vec<_>>>()?;
        let redaction = Redaction::new(&config.redact.headers, &config.redact.query);
        Ok(Self { only, sample: config.sample, format, redaction })
    }

    fn done(&self, end: &End) {
        // One that ended without a response (status 0) is nobody's class and passes `only`.
        let status = end.status();
        let listed = status == 0 || self.only.is_empty() || self.only.iter().any(|range| range.contains(&status));
        if listed && (self.sample >= 1.0 || place(&end.request().id()) < self.sample) {
            print_line(&self.format.line(|field| self.value(end, field)));
        }
    }
}

impl Log {
    /// What is known of a field when the request is over.
    fn value(&self, end: &End, field: &str) -> Option<Value> {
        let text = match field {
            "status" => return Some(Value::Number(end.status().to_string())),
            "duration_ms" => return Some(Value::Number(format!("{:.3}", end.duration().as_secs_f64() * 1000.0))),
            "request_size" => return Some(Value::Number(end.request_size().to_string())),
            "response_size" => return Some(Value::Number(end.response_size().to_string())),
            "time" => humantime::format_rfc3339_micros(arrival(end)).to_string(),
            "method" => end.method(),
            "scheme" => end.property_str(&["request", "scheme"])?,
            "host" => end.property_str(&["request", "host"])?,
            "path" => end.request().path_only(),
            "query" => self.redaction.query(end.path().split_once('?')?.1),
            "route" => end.request().route(),
            "protocol" => end.property_str(&["request", "protocol"])?,
            "client_ip" => end.request().client_ip()?.to_string(),
            "user_agent" => header(end.request_headers(), "user-agent")?,
            "referer" => self.redaction.url(&header(end.request_headers(), "referer")?),
            "request_id" => end.request().id(),
            "consumer" => end.consumer()?,
            "upstream" => end.property_str(&["cluster_name"])?,
            "upstream_address" => end.property_str(&["upstream", "address"])?,
            "details" => end.details(),
            name => {
                let request = name.strip_prefix("request.header.").map(|name| (end.request_headers(), name));
                let response = || name.strip_prefix("response.header.").map(|name| (end.response_headers(), name));
                let (headers, name) = request.or_else(response)?;
                self.redaction.header(name, header(headers, name)?)
            }
        };
        (!text.is_empty()).then_some(Value::Text(text))
    }
}

/// A header's value; bytes that are no text show as U+FFFD.
fn header(headers: Headers<'_>, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_string_lossy().into_owned())
}

/// When the request came: the host's word (nanoseconds since 1970), or what the duration says.
fn arrival(end: &End) -> SystemTime {
    match end.property(&["request", "time"]).map(|time| time.as_ref().try_into()) {
        Some(Ok(nanos)) => SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::from_le_bytes(nanos)),
        _ => now() - end.duration(),
    }
}

/// `5xx`, or a status.
fn statuses(text: &str) -> Result<RangeInclusive<u16>> {
    let class = text.strip_suffix("xx").and_then(|class| class.parse().ok()).filter(|class| (1..=5).contains(class));
    let status = text.parse().ok().filter(|status| (100..=599).contains(status));
    let range = class.map(|class: u16| class * 100..=class * 100 + 99).or_else(|| status.map(|status| status..=status));
    range.ok_or_else(|| fault!("only: {text:?} is neither a class (\"5xx\") nor a status (\"404\")"))
}

/// A request's place between 0 and 1, the same wherever it is logged: its id, hashed. In a host without request ids the clock
/// tells requests apart.
fn place(request_id: &str) -> f64 {
    let mut hash = DefaultHasher::new();
    match request_id {
        "" => hash.write(format!("{:?}", now()).as_bytes()),
        id => hash.write(id.as_bytes()),
    }
    let upper = u32::try_from(hash.finish() >> 32).unwrap_or(u32::MAX);
    f64::from(upper) / (f64::from(u32::MAX) + 1.0)
}
