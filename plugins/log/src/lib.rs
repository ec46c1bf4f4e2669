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

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeInclusive;
use std::time::SystemTime;

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::{Property, PropertyPaths};

use fact::{Fact, Kind};
use record::{Field, Format, Place};
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
    /// Share of the requests that is logged, 0 to 1, chosen by the request's id and its arrival.
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
    facts: PropertyPaths,
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
        let facts = PropertyPaths::new(format.fields.iter().filter_map(path).collect());
        Ok(Self { only, sample: config.sample, format, facts, redaction })
    }

    fn done(&self, end: &End) {
        if self.is_listed(end) && (self.sample >= 1.0 || place(end) < self.sample) {
            let mut known = end.properties(&self.facts);
            print_line(&self.format.line(|field, place| match field {
                Field::Fact(fact) => self.fact(end, fact, known.next().flatten().as_ref(), place),
                Field::RequestHeader { name, .. } => self.header(name, end.request_headers(), place),
                Field::ResponseHeader { name, .. } => self.header(name, end.response_headers(), place),
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

    /// Writes what the host has said of a fact.
    fn fact(&self, end: &End, fact: &Fact, known: Option<&Property>, place: &mut Place<'_>) {
        let number = || known.and_then(Property::number).unwrap_or(0);
        let text = || known.and_then(Property::as_str).unwrap_or_default();
        // Other hosts know the target only as it is in the end.
        let target = || known.and_then(Property::as_str).map_or_else(|| end.request().path().into(), Cow::from);
        match fact.kind {
            Kind::Text => place.bytes(known.map(Property::as_bytes).unwrap_or_default()),
            Kind::Number => place.number(format_args!("{}", number())),
            Kind::Millis => {
                let micros = number().saturating_add(500) / 1000;
                place.number(format_args!("{}.{:03}", micros / 1000, micros % 1000));
            }
            Kind::Time => place.plain(format_args!("{}", humantime::format_rfc3339_micros(arrival(end, known)))),
            Kind::Ip => {
                if let Some(ip) = known.and_then(Property::ip) {
                    place.plain(format_args!("{ip}"));
                }
            }
            Kind::Path => place.text(before_query(&target())),
            Kind::Query => {
                if let Some((_, query)) = target().split_once('?') {
                    place.text(&self.redaction.query(query));
                }
            }
            Kind::Url => place.text(&self.redaction.url(text())),
            // Hosts know these by several names.
            Kind::Route if text().is_empty() => place.text(&end.request().route()),
            Kind::Id if text().is_empty() => place.text(&end.request().id()),
            Kind::Route | Kind::Id => place.text(text()),
        }
    }

    /// Writes a header's value.
    fn header(&self, name: &str, headers: Headers<'_>, place: &mut Place<'_>) {
        match headers.get(name) {
            Some(_) if self.redaction.hides(name) => place.text(redact::REDACTED),
            Some(value) => place.bytes(value.as_bytes()),
            None => {}
        }
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

/// A request's place between 0 and 1, the same in all filters: its id, and the nanosecond of its arrival, hashed. A client may choose
/// the id, but not the nanosecond, and so not whether it is logged. In a host that does not tell, the clock stands in for it.
fn place(end: &End) -> f64 {
    let mut hash = DefaultHasher::new();
    hash.write(end.request().id().as_bytes());
    match end.property(&["request", "time"]) {
        Some(nanos) => hash.write(&nanos),
        None => hash.write(format!("{:?}", now()).as_bytes()),
    }
    let upper = u32::try_from(hash.finish() >> 32).unwrap_or(u32::MAX);
    f64::from(upper) / (f64::from(u32::MAX) + 1.0)
}
