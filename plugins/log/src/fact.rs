//! What can be logged of a request that is over: where the host says it, and how it is written.

/// How a fact is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it is.
    Text,
    /// A number; what is not known is 0.
    Number,
    /// Nanoseconds, as milliseconds.
    Millis,
    /// Nanoseconds since 1970, as a date.
    Time,
    /// An address without its port.
    Ip,
    /// The path of the target that was asked for.
    Path,
    /// Its query, its secrets left out.
    Query,
    /// A URL, the secrets of its query left out.
    Url,
    /// The name of the route.
    Route,
    /// The id of the request.
    Id,
}

/// A fact.
pub(crate) struct Fact {
    /// Its key, and its placeholder.
    pub(crate) name: &'static str,
    /// The property that has it.
    pub(crate) path: &'static [&'static str],
    pub(crate) kind: Kind,
}

const fn fact(name: &'static str, path: &'static [&'static str], kind: Kind) -> Fact {
    Fact { name, path, kind }
}

/// All of them, in the order of a JSON record.
pub(crate) static FACTS: [Fact; 21] = [
    fact("time", &["request", "time"], Kind::Time),
    fact("method", &["request", "method"], Kind::Text),
    fact("scheme", &["request", "scheme"], Kind::Text),
    fact("host", &["request", "host"], Kind::Text),
    fact("path", &["request", "original_path"], Kind::Path),
    fact("query", &["request", "original_path"], Kind::Query),
    fact("route", &["xds", "route_name"], Kind::Route),
    fact("protocol", &["request", "protocol"], Kind::Text),
    fact("status", &["response", "code"], Kind::Number),
    fact("duration_ms", &["request", "duration"], Kind::Millis),
    fact("request_size", &["request", "size"], Kind::Number),
    fact("response_size", &["response", "size"], Kind::Number),
    fact("client_ip", &["source", "address"], Kind::Ip),
    fact("user_agent", &["request", "useragent"], Kind::Text),
    fact("referer", &["request", "referer"], Kind::Url),
    fact("request_id", &["request", "id"], Kind::Id),
    fact("consumer", &["consumer"], Kind::Text),
    fact("upstream", &["cluster_name"], Kind::Text),
    fact("upstream_address", &["upstream", "address"], Kind::Text),
    fact("upstream_path", &["upstream", "path"], Kind::Url),
    fact("details", &["response", "code_details"], Kind::Text),
];
