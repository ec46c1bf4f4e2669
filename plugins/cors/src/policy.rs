//! The decisions of the CORS protocol (Fetch standard §3.2), made from a checked configuration.

use sluicegate_sdk::prelude::*;

use crate::CorsConfig;
use crate::origin::Pattern;

/// Longest `Access-Control-Request-Headers` that is answered, bytes; a longer one is refused.
const MAX_REQUESTED_HEADERS: usize = 4096;

/// What a checked configuration allows.
pub(crate) struct Policy {
    /// Every answer is the same for all origins, so caches need not keep them apart.
    pub(crate) is_public: bool,
    origins: Vec<Pattern>,
    config: CorsConfig,
}

/// Header fields of an answer.
pub(crate) type Fields = Vec<(&'static str, String)>;

impl Policy {
    /// Checks a configuration; the error says what is wrong with it.
    pub(crate) fn new(config: CorsConfig) -> Result<Self, String> {
        let CorsConfig { methods, headers, expose_headers, credentials, .. } = &config;
        for (option, names) in [("methods", methods), ("headers", headers), ("expose_headers", expose_headers)] {
            if let Some(bad) = names.iter().find(|name| !is_token(name)) {
                return Err(format!("{option}: {bad:?} is not a name"));
            }
        }
        let is_public = is_any(&config.origins);
        let origins = config.origins.iter().filter(|text| *text != "*").map(|text| Pattern::parse(text));
        let origins = origins.collect::<Result<Vec<_>, _>>()?;
        let problem = if config.origins.is_empty() {
            "origins is empty: nobody could be allowed; list the origins of your pages"
        } else if methods.is_empty() {
            "methods is empty: no preflight could pass"
        } else if *credentials && is_public {
            "origins \"*\" together with credentials would let every site act as the user: list the origins"
        } else if *credentials && is_any(expose_headers) {
            "expose_headers \"*\" means nothing to browsers together with credentials: list the headers"
        } else {
            return Ok(Self { is_public, origins, config });
        };
        Err(problem.to_owned())
    }

    /// The fields of any answer to a request with this `Origin`; none: it is not allowed.
    pub(crate) fn allow(&self, origin: Option<&str>) -> Fields {
        let allowed = match origin {
            _ if self.is_public => "*",
            Some(origin) if self.origins.iter().any(|pattern| pattern.matches(origin)) => origin,
            _ => return Vec::new(),
        };
        let mut fields = vec![("access-control-allow-origin", allowed.to_owned())];
        if self.config.credentials {
            fields.push(("access-control-allow-credentials", "true".to_owned()));
        }
        fields
    }

    /// What an allowed answer to an actual request has besides.
    pub(crate) fn expose(&self) -> Option<(&'static str, String)> {
        let exposed = &self.config.expose_headers;
        (!exposed.is_empty()).then(|| ("access-control-expose-headers", exposed.join(", ")))
    }

    /// What an allowed answer to a preflight has besides. The browser compares it with what it wants to do, so that its
    /// console can name the method or the header that is missing.
    pub(crate) fn preflight(&self, req: &Request, method: &str) -> Fields {
        let mut fields = vec![("access-control-max-age", self.config.max_age.as_secs().to_string())];
        let mut add = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
        // With credentials `*` is a method of that name: what was asked for is named instead.
        let methods = match is_any(&self.config.methods) {
            true if self.config.credentials => is_token(method).then(|| method.to_owned()),
            _ => Some(self.config.methods.join(", ")),
        };
        add("access-control-allow-methods", methods);
        // `*` covers neither `authorization` nor anything with credentials: what was asked for is named instead.
        let headers = match is_any(&self.config.headers) {
            true => req.headers().get_str("access-control-request-headers").and_then(|asked| token_list(&asked)),
            false => Some(self.config.headers.join(", ")).filter(|headers| !headers.is_empty()),
        };
        add("access-control-allow-headers", headers);
        let private =
            req.headers().get_str("access-control-request-private-network").is_some_and(|asked| asked == "true");
        let opened = (private && self.config.private_network).then(|| "true".to_owned());
        add("access-control-allow-private-network", opened);
        fields
    }

    /// The request fields on which answers to preflights depend.
    pub(crate) fn preflight_vary(&self) -> String {
        let origin = if self.is_public { "" } else { "Origin, " };
        let private = if self.config.private_network { ", Access-Control-Request-Private-Network" } else { "" };
        format!("{origin}Access-Control-Request-Method, Access-Control-Request-Headers{private}")
    }
}

fn is_any(names: &[String]) -> bool {
    names.iter().any(|name| name == "*")
}

/// The names of a comma-separated list, written anew; `None` when it is not such a list.
fn token_list(value: &str) -> Option<String> {
    let names: Vec<&str> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let usable = value.len() <= MAX_REQUESTED_HEADERS && !names.is_empty() && names.iter().all(|name| is_token(name));
    usable.then(|| names.join(", "))
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
