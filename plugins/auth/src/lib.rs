//! Lets nobody pass who does not show who they are: API keys, HTTP Basic, JSON Web Tokens.
//!
//! Who was authenticated is the request's *consumer*: later filters and the access log know it, the upstream sees it in
//! `x-consumer`. That header, and every header that claims are copied to, is removed from what clients send, always. Everybody
//! else is answered 401. Tokens are looked for first, then Basic, then API keys; the first credential that is there
//! decides, so a wrong one is never overlooked. Who is known but may not pass (`allow`, `require`) is answered 403.
//!
//! ```json
//! { "api_keys": { "alice": "${ALICE_KEY}" } }
//! ```
//! ```json
//! { "jwt": { "jwks": { "upstream": "idp", "path": "/keys" }, "issuer": "https://idp.example", "audience": "orders",
//!            "claims_to_headers": { "email": "x-user-email" }, "require": { "scope": { "contains": "orders:read" } } } }
//! ```

mod config;
mod credential;
mod jwks;
mod jwt;
mod require;
mod secrets;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use sluicegate_sdk::prelude::*;

pub use config::{AuthConfig, BasicConfig, JwksConfig, JwtConfig, KeyConfig};
use credential::Ambiguous;
pub use credential::Place;
use jwt::{Issuer, Refusal, header_value};
pub use require::{Condition, Test};
use secrets::{ApiKeys, Users};

/// The header that tells the upstream who was authenticated.
const CONSUMER: &str = "x-consumer";
/// Why a good token is not let through: its claims.
const NOT_PERMITTED: Refusal = "not_permitted";
/// Why a consumer is not let through.
const NOT_ALLOWED: Refusal = "not_allowed";
/// Shortest time between two fetches of a key set.
const MIN_REFRESH: Duration = Duration::from_secs(10);
/// How often the timer of a filter without key sets looks at nothing.
const NEVER: Duration = Duration::from_secs(24 * 3600);
/// Headers that claims must not be copied to: they mean something to everybody between here and the upstream.
const RESERVED: [&str; 8] =
    ["host", "authorization", "cookie", "content-length", "transfer-encoding", "connection", "content-type", CONSUMER];

/// The filter.
pub struct Auth {
    config: AuthConfig,
    api_keys: ApiKeys,
    users: Option<Users>,
    issuers: Vec<Issuer>,
    token_from: Vec<Place>,
    /// Headers that only this filter sets.
    identity: Vec<String>,
    /// `www-authenticate`, one per method.
    challenges: Vec<String>,
    refresh: Duration,
}

/// Who was authenticated: the consumer, and headers for the upstream.
type Identity = (Option<String>, Vec<(String, String)>);

/// A credential, and what kind it is.
enum Credential {
    Token(String),
    Basic(String),
    ApiKey(String),
}

#[filter]
impl Filter for Auth {
    type Config = AuthConfig;

    fn new(config: AuthConfig) -> Result<Self> {
        Ok(Self::checked(config).map_err(Fault::new)?)
    }

    async fn start(&self) -> Result {
        self.refresh_all().await
    }

    #[every(self.refresh)]
    async fn refresh(&self) -> Result {
        self.refresh_all().await
    }

    async fn request(&self, req: &mut Request) -> Result {
        for name in &self.identity {
            req.headers().remove(name);
        }
        let (consumer, headers) = match self.authenticate(req).await? {
            Ok(Some(identity)) => identity,
            Ok(None) => return Ok(()),
            Err(refusal) => return Err(self.refuse(refusal).into()),
        };
        let is_allowed = |names: &Vec<String>| consumer.as_ref().is_some_and(|consumer| names.contains(consumer));
        if !self.config.allow.as_ref().is_none_or(is_allowed) {
            return Err(self.forbid(NOT_ALLOWED).into());
        }
        if !self.config.forward_credentials {
            let basic = self.users.iter().map(|_| &Place::Bearer);
            self.token_from.iter().chain(&self.config.api_key_from).chain(basic).for_each(|place| place.strip(req));
        }
        if let Some(consumer) = &consumer {
            req.set_consumer(consumer);
            req.headers().set(CONSUMER, consumer);
        }
        for (name, value) in &headers {
            req.headers().set(name, value);
        }
        Ok(())
    }
}

impl Auth {
    /// Checks a configuration; the error says what is wrong with it.
    fn checked(mut config: AuthConfig) -> Result<Self, String> {
        let realm = &config.realm;
        if realm.contains(['"', '\\']) || realm.chars().any(char::is_control) {
            return Err("realm: quotes and control characters cannot stand in a header".to_owned());
        }
        let api_keys = ApiKeys::new(&config.api_keys)?;
        if config.api_keys.is_empty() {
            config.api_key_from.clear();
        }
        let users = config.basic.as_ref().map(|basic| Users::new(&basic.users)).transpose()?;
        let jwt = config.jwt.take().into_iter().flatten();
        let issuers = jwt.map(Issuer::new).collect::<Result<Vec<_>, _>>()?;
        check_allowed(&config, !issuers.is_empty())?;
        let mut token_from = Vec::new();
        let (mut refresh, mut identity) = (NEVER, vec![CONSUMER.to_owned()]);
        for issuer in &issuers {
            for place in &issuer.config.from {
                if !token_from.contains(place) {
                    token_from.push(place.clone());
                }
            }
            refresh = issuer.remote.iter().map(|remote| remote.refresh_every()).fold(refresh, Duration::min);
            identity.extend(issuer.config.claims_to_headers.values().map(|header| header.to_ascii_lowercase()));
        }
        if refresh < MIN_REFRESH {
            return Err(format!("jwks: \"refresh\" is at least {} s", MIN_REFRESH.as_secs()));
        }
        if let Some(header) = identity[1..].iter().find(|name| !is_token(name) || RESERVED.contains(&name.as_str())) {
            return Err(format!("claims_to_headers: {header:?} cannot be used as a header for a claim"));
        }
        for place in token_from.iter().chain(&config.api_key_from) {
            if let Place::Header(name) = place
                && !is_token(name)
            {
                return Err(format!("{name:?} is no header name"));
            }
        }
        let bearer = !token_from.is_empty() || config.api_key_from.contains(&Place::Bearer);
        let api_key = config.api_key_from.iter().any(|place| *place != Place::Bearer);
        let challenges: Vec<String> = [
            bearer.then(|| format!("Bearer realm=\"{realm}\"")),
            users.as_ref().map(|_| format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")),
            api_key.then(|| format!("ApiKey realm=\"{realm}\"")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if challenges.is_empty() {
            return Err("nobody could pass: give \"api_keys\", \"basic\" or \"jwt\"".to_owned());
        }
        Ok(Self { config, api_keys, users, issuers, token_from, identity, challenges, refresh })
    }

    /// Who sent this; `None`: nobody said, and that is allowed. The first credential decides: tokens, Basic, API keys.
    async fn authenticate(&self, req: &Request) -> Result<Result<Option<Identity>, Refusal>> {
        let named = |consumer: Option<&str>| consumer.map(|consumer| (Some(consumer.to_owned()), Vec::new()));
        let found = match self.credential(req) {
            Ok(Some(found)) => found,
            Ok(None) if self.config.optional => return Ok(Ok(None)),
            Ok(None) => return Ok(Err("missing")),
            Err(Ambiguous) => return Ok(Err("ambiguous")),
        };
        Ok(match found {
            Credential::Token(text) => self.token(&text).await?.map(Some),
            Credential::Basic(text) => {
                named(self.users.as_ref().and_then(|users| users.user(&text))).map(Some).ok_or("password")
            }
            Credential::ApiKey(key) => named(self.api_keys.consumer(&key)).map(Some).ok_or("api_key"),
        })
    }

    fn credential(&self, req: &Request) -> Result<Option<Credential>, Ambiguous> {
        if let Some(token) = credential::find(req, &self.token_from)? {
            return Ok(Some(Credential::Token(token)));
        }
        if self.users.is_some()
            && let Some(basic) = credential::authorization(req, "basic")?
        {
            return Ok(Some(Credential::Basic(basic)));
        }
        Ok(credential::find(req, &self.config.api_key_from)?.map(Credential::ApiKey))
    }

    /// Who a token is of; asks the issuers for keys when it names one that is not there.
    async fn token(&self, text: &str) -> Result<Result<Identity, Refusal>> {
        let verdict = self.verify(text);
        if verdict.as_ref().err() != Some(&"unknown_key") {
            return Ok(verdict);
        }
        for remote in self.issuers.iter().filter_map(|issuer| issuer.remote.as_ref()) {
            remote.refresh_for_token().await;
        }
        if !self.issuers.iter().any(Issuer::has_keys) {
            // Nobody's token can be judged, which is not the client's fault.
            return Err(fault!("no key set could be fetched yet"));
        }
        Ok(self.verify(text))
    }

    /// Who a token is of, according to the first issuer that accepts it.
    fn verify(&self, text: &str) -> Result<Identity, Refusal> {
        let mut refusal = "issuer";
        for issuer in &self.issuers {
            match issuer.claims(text) {
                Ok(claims) if issuer.permits(&claims) => return Ok(identity(issuer, &claims)),
                Ok(_) => refusal = NOT_PERMITTED,
                Err(other) if !["unknown_key", NOT_PERMITTED].contains(&refusal) => refusal = other,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    async fn refresh_all(&self) -> Result {
        for remote in self.issuers.iter().filter_map(|issuer| issuer.remote.as_ref()) {
            remote.refresh().await;
        }
        Ok(())
    }

    fn refuse(&self, reason: Refusal) -> Reply {
        if reason == NOT_PERMITTED {
            return self.forbid(reason);
        }
        counter!("denied", reason = reason).inc();
        // The client learns about its clock, but not how close a forged token came.
        let (detail, is_token) = match reason {
            "missing" => ("Authentication is required.", false),
            "ambiguous" => ("There is more than one credential.", false),
            "password" => ("The user or the password is wrong.", false),
            "api_key" => ("The API key is not valid.", false),
            "expired" => ("The token has expired.", true),
            "early" => ("The token is not valid yet.", true),
            _ => ("The token is not valid.", true),
        };
        let mut reply = Reply::problem(401, "Unauthorized", detail).details(reason);
        for challenge in &self.challenges {
            // RFC 6750 §3.1: only who sent a token learns what is wrong with it.
            let error = match is_token && challenge.starts_with("Bearer") {
                true => format!(", error=\"invalid_token\", error_description=\"{detail}\""),
                false => String::new(),
            };
            reply = reply.header("www-authenticate", format!("{challenge}{error}"));
        }
        reply
    }

    /// Who is known, but may not pass.
    fn forbid(&self, reason: Refusal) -> Reply {
        counter!("denied", reason = reason).inc();
        let reply = Reply::problem(403, "Forbidden", "This is not allowed with this credential.").details(reason);
        match self.challenges.iter().find(|challenge| reason == NOT_PERMITTED && challenge.starts_with("Bearer")) {
            // RFC 6750 §3.1
            Some(bearer) => reply.header("www-authenticate", format!("{bearer}, error=\"insufficient_scope\"")),
            None => reply,
        }
    }
}

/// What `allow` names could pass at all.
fn check_allowed(config: &AuthConfig, has_issuers: bool) -> Result<(), String> {
    let Some(allow) = &config.allow else { return Ok(()) };
    if allow.is_empty() {
        return Err("allow: nobody could pass; leave it out to allow all".to_owned());
    }
    if config.optional {
        return Err("allow: with \"optional\", who may not pass could leave the credential out".to_owned());
    }
    let is_user = |name: &String| config.basic.as_ref().is_some_and(|basic| basic.users.contains_key(name));
    let is_known = |name: &&String| has_issuers || config.api_keys.contains_key(*name) || is_user(name);
    match allow.iter().find(|name| !is_known(name)) {
        Some(name) => Err(format!("allow: nobody is called {name:?}")),
        None => Ok(()),
    }
}

fn identity(issuer: &Issuer, claims: &Rc<Json>) -> Identity {
    let header =
        |(claim, header): (&String, &String)| Some((header.to_ascii_lowercase(), header_value(claims, claim)?));
    let headers = issuer.config.claims_to_headers.iter().filter_map(header).collect();
    (header_value(claims, &issuer.config.consumer_claim), headers)
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
