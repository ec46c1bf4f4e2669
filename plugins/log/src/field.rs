//! What can be logged about a request, and what it is called.

/// One fact of an access record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// Arrival, RFC 3339.
    Time,
    /// Request method.
    Method,
    /// `http` or `https`.
    Scheme,
    /// `Host` or `:authority`.
    Host,
    /// Path without the query.
    Path,
    /// Query, redacted.
    Query,
    /// The route's name.
    Route,
    /// `HTTP/1.1`, `HTTP/2`.
    Protocol,
    /// Response status; 0 when the client left before there was one.
    Status,
    /// From arrival to the end, milliseconds.
    Duration,
    /// Body bytes received.
    RequestSize,
    /// Body bytes sent.
    ResponseSize,
    /// The client's address.
    ClientIp,
    /// `User-Agent`.
    UserAgent,
    /// `Referer`, redacted.
    Referer,
    /// The request's id.
    RequestId,
    /// Who was authenticated.
    Consumer,
    /// The upstream's name.
    Upstream,
    /// The target that answered.
    UpstreamAddress,
    /// Who made the answer, and why.
    Details,
    /// A request header, by its name in lower case.
    RequestHeader(String),
    /// A response header, by its name in lower case.
    ResponseHeader(String),
}

/// Names of the keys in a JSON record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `status`, `client_ip`.
    Short,
    /// OpenTelemetry's semantic conventions: `http.response.status_code`, `client.address`.
    Otel,
}

/// Every field but the headers, in the order of a record: short name, OpenTelemetry name.
const FIELDS: [(Field, &str, &str); 20] = [
    (Field::Time, "time", "timestamp"),
    (Field::Method, "method", "http.request.method"),
    (Field::Scheme, "scheme", "url.scheme"),
    (Field::Host, "host", "server.address"),
    (Field::Path, "path", "url.path"),
    (Field::Query, "query", "url.query"),
    (Field::Route, "route", "http.route"),
    (Field::Protocol, "protocol", "network.protocol"),
    (Field::Status, "status", "http.response.status_code"),
    (Field::Duration, "duration_ms", "duration_ms"),
    (Field::RequestSize, "request_size", "http.request.body.size"),
    (Field::ResponseSize, "response_size", "http.response.body.size"),
    (Field::ClientIp, "client_ip", "client.address"),
    (Field::UserAgent, "user_agent", "user_agent.original"),
    (Field::Referer, "referer", "http.request.header.referer"),
    (Field::RequestId, "request_id", "http.request.header.x-request-id"),
    (Field::Consumer, "consumer", "user.id"),
    (Field::Upstream, "upstream", "upstream.name"),
    (Field::UpstreamAddress, "upstream_address", "upstream.address"),
    (Field::Details, "details", "http.response.details"),
];

impl Field {
    /// Every field of a JSON record with its key: the fixed ones, then the configured headers.
    #[must_use]
    pub(crate) fn record(
        naming: Naming,
        request_headers: &[String],
        response_headers: &[String],
    ) -> Vec<(String, Self)> {
        let fixed = FIELDS.into_iter().map(|(field, short, otel)| match naming {
            Naming::Short => (short.to_owned(), field),
            Naming::Otel => (otel.to_owned(), field),
        });
        let prefix = match naming {
            Naming::Short => "",
            Naming::Otel => "http.",
        };
        let header = |half: &str, name: &String| (format!("{prefix}{half}.header.{name}"), name.to_ascii_lowercase());
        let request = request_headers.iter().map(|name| header("request", name));
        let response = response_headers.iter().map(|name| header("response", name));
        fixed
            .chain(request.map(|(key, name)| (key, Self::RequestHeader(name))))
            .chain(response.map(|(key, name)| (key, Self::ResponseHeader(name))))
            .map(|(key, field)| (key.to_ascii_lowercase(), field))
            .collect()
    }

    /// The field of a placeholder: a short name, `request.header.NAME` or `response.header.NAME`.
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<Self> {
        if let Some(header) = name.strip_prefix("request.header.") {
            return (!header.is_empty()).then(|| Self::RequestHeader(header.to_ascii_lowercase()));
        }
        if let Some(header) = name.strip_prefix("response.header.") {
            return (!header.is_empty()).then(|| Self::ResponseHeader(header.to_ascii_lowercase()));
        }
        FIELDS.into_iter().find(|(_, short, _)| *short == name).map(|(field, ..)| field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_its_fields_briefly_or_as_opentelemetry_does() {
        let keys = |naming| -> Vec<String> {
            Field::record(naming, &["X-A".to_owned()], &["etag".to_owned()]).into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(Naming::Short)[8], "status");
        assert_eq!(keys(Naming::Short)[20..], ["request.header.x-a", "response.header.etag"]);
        assert_eq!(keys(Naming::Otel)[8], "http.response.status_code");
        assert_eq!(keys(Naming::Otel)[20..], ["http.request.header.x-a", "http.response.header.etag"]);
    }

    #[test]
    fn placeholders_are_the_short_names() {
        assert_eq!(Field::named("status"), Some(Field::Status));
        assert_eq!(Field::named("request.header.X-A"), Some(Field::RequestHeader("x-a".to_owned())));
        assert_eq!(Field::named("response.header."), None);
        assert_eq!(Field::named("stauts"), None);
    }
}
