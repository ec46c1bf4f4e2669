//! The decisions of the CORS protocol (Fetch standard §3.2), free of any gateway.

use crate::CorsConfig;
use crate::origin::Pattern;

/// Longest `Access-Control-Request-Headers` that is answered, bytes; a longer one is refused.
const MAX_REQUESTED_HEADERS: usize = 4096;

/// What a checked configuration allows.
#[derive(Debug)]
pub(crate) struct Policy {
    origins: Vec<Pattern>,
    methods: List,
    headers: List,
    /// `Access-Control-Expose-Headers`, when something is exposed.
    pub(crate) expose: Option<String>,
    /// Cookies and HTTP authentication may be used.
    pub(crate) credentials: bool,
    /// `Access-Control-Max-Age`, seconds.
    pub(crate) max_age: String,
    /// Pages of the public network may call this one (Private Network Access).
    pub(crate) private_network: bool,
}

/// A list that may be `*`.
#[derive(Debug)]
enum List {
    Any,
    These(String),
}

/// The part of a preflight that a policy looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preflight<'a> {
    /// `Access-Control-Request-Method`.
    pub(crate) method: &'a str,
    /// `Access-Control-Request-Headers`.
    pub(crate) headers: Option<&'a str>,
    /// `Access-Control-Request-Private-Network: true`.
    pub(crate) private_network: bool,
}

/// Header fields of an answer.
pub(crate) type Fields = Vec<(&'static str, String)>;

impl Policy {
    /// Checks a configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(config: &CorsConfig) -> Result<Self, String> {
        let origins = config.origins.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if origins.is_empty() {
            return Err("origins is empty: nobody could be allowed; list the origins of your pages".to_owned());
        }
        if config.credentials && origins.contains(&Pattern::Any) {
            return Err(
                "origins \"*\" together with credentials would let every site act as the user: list the origins"
                    .to_owned(),
            );
        }
        let expose = List::new("expose_headers", &config.expose_headers)?;
        if config.credentials && matches!(expose, Some(List::Any)) {
            return Err(
                "expose_headers \"*\" means nothing to browsers together with credentials: list the headers".to_owned()
            );
        }
        Ok(Self {
            origins,
            methods: List::new("methods", &config.methods)?.ok_or("methods is empty: no preflight could pass")?,
            headers: List::new("headers", &config.headers)?.unwrap_or(List::These(String::new())),
            expose: expose.map(|list| match list {
                List::Any => "*".to_owned(),
                List::These(names) => names,
            }),
            credentials: config.credentials,
            max_age: config.max_age.as_secs().to_string(),
            private_network: config.private_network,
        })
    }

    /// The value of `Access-Control-Allow-Origin` for a request with this `Origin`; `None`: not allowed.
    #[must_use]
    pub(crate) fn allow_origin(&self, origin: Option<&str>) -> Option<String> {
        if self.is_public() {
            return Some("*".to_owned());
        }
        let origin = origin?;
        self.origins.iter().any(|pattern| pattern.matches(origin)).then(|| origin.to_owned())
    }

    /// Every answer is the same for all origins, so caches need not keep them apart.
    #[must_use]
    pub(crate) fn is_public(&self) -> bool {
        self.origins.contains(&Pattern::Any)
    }

    /// The fields of an answer to an actual request that was allowed `origin`.
    #[must_use]
    pub(crate) fn actual(&self, origin: &str) -> Fields {
        let mut fields = self.common(origin);
        if let Some(expose) = &self.expose {
            fields.push(("access-control-expose-headers", expose.clone()));
        }
        fields
    }

    /// The fields of an answer to a preflight that was allowed `origin`. The browser compares them with what it wants
    /// to do, so that its console can name the method or the header that is missing.
    #[must_use]
    pub(crate) fn preflight(&self, origin: &str, asked: Preflight<'_>) -> Fields {
        let mut fields = self.common(origin);
        match &self.methods {
            List::These(methods) => fields.push(("access-control-allow-methods", methods.clone())),
            List::Any if !self.credentials => fields.push(("access-control-allow-methods", "*".to_owned())),
            // With credentials `*` is a method of that name: what was asked for is named instead.
            List::Any if is_token(asked.method) => {
                fields.push(("access-control-allow-methods", asked.method.to_owned()))
            }
            List::Any => {}
        }
        match &self.headers {
            List::These(headers) if headers.is_empty() => {}
            List::These(headers) => fields.push(("access-control-allow-headers", headers.clone())),
            // `*` covers neither `authorization` nor anything with credentials: what was asked for is named instead.
            List::Any => {
                fields.extend(asked.headers.and_then(token_list).map(|list| ("access-control-allow-headers", list)))
            }
        }
        if asked.private_network && self.private_network {
            fields.push(("access-control-allow-private-network", "true".to_owned()));
        }
        fields.push(("access-control-max-age", self.max_age.clone()));
        fields
    }

    /// The request fields on which answers to preflights depend.
    #[must_use]
    pub(crate) fn preflight_vary(&self) -> String {
        let mut vary = Vec::with_capacity(4);
        if !self.is_public() {
            vary.push("Origin");
        }
        vary.extend(["Access-Control-Request-Method", "Access-Control-Request-Headers"]);
        if self.private_network {
            vary.push("Access-Control-Request-Private-Network");
        }
        vary.join(", ")
    }

    fn common(&self, origin: &str) -> Fields {
        let mut fields = vec![("access-control-allow-origin", origin.to_owned())];
        if self.credentials {
            fields.push(("access-control-allow-credentials", "true".to_owned()));
        }
        fields
    }
}

impl List {
    /// `None` when nothing is listed.
    fn new(option: &str, entries: &[String]) -> Result<Option<Self>, String> {
        if let Some(bad) = entries.iter().find(|entry| !is_token(entry)) {
            return Err(format!("{option}: {bad:?} is not a name"));
        }
        Ok(match entries {
            [] => None,
            _ if entries.iter().any(|entry| entry == "*") => Some(Self::Any),
            _ => Some(Self::These(entries.join(", "))),
        })
    }
}

/// The names of a comma-separated list, written anew; `None` when it is not such a list.
fn token_list(value: &str) -> Option<String> {
    if value.len() > MAX_REQUESTED_HEADERS {
        return None;
    }
    let names: Vec<&str> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    (!names.is_empty() && names.iter().all(|name| is_token(name))).then(|| names.join(", "))
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
