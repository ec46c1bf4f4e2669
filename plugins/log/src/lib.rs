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

mod fact;
mod record;
mod redact;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeInclusive;
use std::time::SystemTime;

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::{Bytes, Property};

use fact::{Fact, Kind};
use record::{Field, Format, Value};
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
    /// The properties of its facts, in order.
    facts: Vec<&'static [&'static str]>,
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
        let path = |field: &Field| match field {
            Field::Fact(fact) => Some(fact.path),
            Field::RequestHeader { .. } | Field::ResponseHeader { .. } => None,
        };
        let facts = format.fields.iter().filter_map(path).collect();
        Ok(Self { only, sample: config.sample, format, facts, redaction })
    }

    fn done(&self, end: &End) {
        if self.is_listed(end) && (self.sample >= 1.0 || place(&end.request().id()) < self.sample) {
            let mut known = end.properties(&self.facts).into_iter();
            print_line(&self.format.line(|field| match field {
                Field::Fact(fact) => self.fact(end, fact, known.next().flatten()),
                Field::RequestHeader { name, .. } => self.header(name, end.request_headers()),
                Field::ResponseHeader { name, .. } => self.header(name, end.response_headers()),
            }));
        }
    }
}

impl Log {
    /// One that ended without a response (status 0) is nobody's class and passes `only`.
    fn is_listed(&self, end: &End) -> bool {
        if self.only.is_empty() {
            return true;
        }
        let status = end.status();
        status == 0 || self.only.iter().any(|range| range.contains(&status))
    }

    /// What is written of a fact, of which the host has said `known`.
    fn fact(&self, end: &End, fact: &Fact, known: Option<Property>) -> Option<Value> {
        let number = |known: Option<Property>| known.and_then(|known| known.number()).unwrap_or(0);
        let text = match fact.kind {
            Kind::Text => return known.map(Bytes::from).filter(|bytes| !bytes.is_empty()).map(Value::Bytes),
            Kind::Number => return Some(Value::Number(number(known).to_string())),
            Kind::Millis => {
                let micros = number(known).saturating_add(500) / 1000;
                return Some(Value::Number(format!("{}.{:03}", micros / 1000, micros % 1000)));
            }
            Kind::Time => humantime::format_rfc3339_micros(arrival(end, known.as_ref())).to_string(),
            Kind::Ip => known?.ip()?.to_string(),
            Kind::Path => before_query(&known?.text()?).to_owned(),
            Kind::Query => self.redaction.query(known?.text()?.split_once('?')?.1),
            Kind::Url => self.redaction.url(&known?.text()?),
            // Hosts know these by several names.
            Kind::Route => known.and_then(Property::text).unwrap_or_else(|| end.request().route()),
            Kind::Id => known.and_then(Property::text).unwrap_or_else(|| end.request().id()),
        };
        (!text.is_empty()).then_some(Value::Text(text))
    }

    /// A header's value.
    fn header(&self, name: &str, headers: Headers<'_>) -> Option<Value> {
        let value = Bytes::from(headers.get(name)?);
        if self.redaction.hides(name) {
            return Some(Value::Text(redact::REDACTED.to_owned()));
        }
        (!value.is_empty()).then_some(Value::Bytes(value))
    }
}

fn before_query(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// When the request came: the host's word (nanoseconds since 1970), or what the duration says.
fn arrival(end: &End, known: Option<&Property>) -> SystemTime {
    match known.map(|time| time.as_bytes().try_into()) {
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
