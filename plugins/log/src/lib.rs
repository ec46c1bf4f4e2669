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

mod choice;
mod field;
mod line;
mod redact;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use sluicegate_sdk::prelude::*;

use choice::Choice;
use field::{Field, Naming};
use line::{Format, Value};
use redact::Redaction;

/// What is written about which requests.
#[derive(Config)]
pub struct LogConfig {
    /// A line of your own instead of JSON: "{method} {path} {status} {request.header.x-tenant}". "{{" is a brace.
    pub template: Option<String>,
    /// Names of the keys in JSON: "short" (status, client_ip) or "otel" (http.response.status_code, client.address).
    #[config(default)]
    pub keys: Keys,
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
    /// Only statuses from this one on.
    pub min_status: Option<u64>,
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

/// Names of the keys in JSON.
#[derive(Config, Clone, Copy, Default)]
pub enum Keys {
    /// status, client_ip
    #[default]
    Short,
    /// http.response.status_code, client.address
    Otel,
}

/// The filter.
pub struct Log {
    choice: Choice,
    format: Format,
    redaction: Redaction,
}

#[filter]
impl Filter for Log {
    type Config = LogConfig;

    fn new(config: LogConfig) -> Result<Self> {
        let naming = match config.keys {
            Keys::Short => Naming::Short,
            Keys::Otel => Naming::Otel,
        };
        let format = match &config.template {
            Some(template) => Format::template(template).map_err(Fault::new)?,
            None => Format::Json(Field::record(naming, &config.request_headers, &config.response_headers)),
        };
        let choice = Choice::new(&config.only, config.min_status, config.sample).map_err(Fault::new)?;
        Ok(Self { choice, format, redaction: Redaction::new(&config.redact.headers, &config.redact.query) })
    }

    fn done(&self, end: &End) {
        let mut id = end.request().id();
        if id.is_empty() {
            // A host without request ids: the clock tells requests apart.
            id = format!("{:?}", now());
        }
        if self.choice.logs(end.status(), &id) {
            print_line(&self.format.line(|field| self.value(end, field)));
        }
    }
}

impl Log {
    /// What is known of a field when the request is over.
    fn value(&self, end: &End, field: &Field) -> Option<Value> {
        let text = |text: String| (!text.is_empty()).then_some(Value::Text(text));
        let property = |path: &[&str]| end.property_str(path).and_then(text);
        match field {
            Field::Time => text(humantime::format_rfc3339_micros(arrival(end)).to_string()),
            Field::Method => text(end.method()),
            Field::Scheme => property(&["request", "scheme"]),
            Field::Host => property(&["request", "host"]),
            Field::Path => text(split_path(&end.path()).0.to_owned()),
            Field::Query => split_path(&end.path()).1.and_then(|query| text(self.redaction.query(query))),
            Field::Route => text(end.request().route()),
            Field::Protocol => property(&["request", "protocol"]),
            Field::Status => Some(Value::Count(end.status().into())),
            Field::Duration => Some(Value::Millis(end.duration().as_secs_f64() * 1000.0)),
            Field::RequestSize => Some(Value::Count(end.request_size())),
            Field::ResponseSize => Some(Value::Count(end.response_size())),
            Field::ClientIp => end.request().client_ip().and_then(|ip| text(ip.to_string())),
            Field::UserAgent => header(end.request_headers(), "user-agent").and_then(text),
            Field::Referer => header(end.request_headers(), "referer").and_then(|url| text(self.redaction.url(&url))),
            Field::RequestId => text(end.request().id()),
            Field::Consumer => end.consumer().and_then(text),
            Field::Upstream => property(&["cluster_name"]),
            Field::UpstreamAddress => property(&["upstream", "address"]),
            Field::Details => text(end.details()),
            Field::RequestHeader(name) => {
                header(end.request_headers(), name).and_then(|value| text(self.redaction.header(name, value)))
            }
            Field::ResponseHeader(name) => {
                header(end.response_headers(), name).and_then(|value| text(self.redaction.header(name, value)))
            }
        }
    }
}

/// Path and query.
fn split_path(path: &str) -> (&str, Option<&str>) {
    path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)))
}

/// A header's value; bytes that are no text show as U+FFFD.
fn header(headers: Headers<'_>, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_string_lossy().into_owned())
}

/// When the request came: the host's word (nanoseconds since 1970), or what the duration says.
fn arrival(end: &End) -> SystemTime {
    let nanos =
        end.property(&["request", "time"]).and_then(|time| time.as_ref().try_into().ok()).map(u64::from_le_bytes);
    nanos.map_or_else(|| now() - end.duration(), |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}
