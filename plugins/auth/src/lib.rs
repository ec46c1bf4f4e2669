//! Lets nobody pass who does not show who they are: API keys, HTTP Basic, JSON Web Tokens.
//!
//! Who was authenticated is the request's *consumer*: later filters and the access log know it, the upstream sees it in
//! `x-consumer`. That header, and every header that claims are copied to, is removed from what clients send, always. Everybody
//! else is answered 401. Tokens are looked for first, then Basic, then API keys; the first credential that is there
//! decides, so a wrong one is never overlooked.
//!
//! ```json
//! { "api_keys": { "alice": "${ALICE_KEY}" } }
//! ```
//! ```json
//! { "jwt": { "jwks": { "upstream": "idp", "path": "/keys" }, "issuer": "https://idp.example", "audience": "orders",
//!            "claims_to_headers": { "email": "x-user-email" } } }
//! ```

mod api_key;
mod basic;
mod check;
mod config;
mod credential;
mod jwt;
mod recent;
#[cfg(test)]
mod tests;

use sluicegate_sdk::prelude::*;

use api_key::ApiKeys;
use basic::Users;
pub use config::{AlgorithmConfig, AuthConfig, BasicConfig, JwksConfig, JwtConfig, KeyConfig};
pub use credential::Place;
use credential::{Ambiguous, Credentials};
use jwt::{Provider, Refusal, Token};

/// The header that tells the upstream who was authenticated.
const CONSUMER: &str = "x-consumer";

/// The filter.
pub struct Auth {
    api_keys: ApiKeys,
    api_key_from: Vec<Place>,
    users: Option<Users>,
    providers: Vec<Provider>,
    token_from: Vec<Place>,
    /// Every place of a credential.
    places: Vec<Place>,
    /// Headers that only this filter sets.
    identity: Vec<String>,
    /// `www-authenticate`, one per method.
    challenges: Vec<String>,
    optional: bool,
    forward_credentials: bool,
    refresh: Duration,
}

/// Who was authenticated.
struct Identity {
    consumer: Option<String>,
    /// Headers for the upstream.
    headers: Vec<(String, String)>,
}

/// A credential, and what kind it is.
enum Found<'a> {
    Token(&'a str),
    Basic(&'a str),
    ApiKey(&'a str),
}

/// Why somebody was not authenticated.
struct Denied {
    /// A word for metrics.
    reason: &'static str,
    /// What the client may know.
    detail: &'static str,
    /// The credential was a token.
    token: bool,
}

#[filter]
impl Filter for Auth {
    type Config = AuthConfig;

    fn new(config: AuthConfig) -> Result<Self> {
        Ok(check::check(config).map_err(Fault::new)?)
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
        let credentials = Credentials::of(req, &self.places);
        let identity = match self.authenticate(&credentials).await? {
            Ok(Some(identity)) => identity,
            Ok(None) => return Ok(()),
            Err(denied) => return Err(self.refuse(&denied).into()),
        };
        if !self.forward_credentials {
            credential::strip(req, &self.places);
        }
        if let Some(consumer) = &identity.consumer {
            req.set_consumer(consumer);
            req.headers().set(CONSUMER, consumer);
        }
        for (name, value) in &identity.headers {
            req.headers().set(name, value);
        }
        Ok(())
    }
}

impl Auth {
    /// Who these credentials are of; `None`: nobody's, and that is allowed.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Result<Option<Identity>, Denied>> {
        let found = match self.find(credentials) {
            Ok(Some(found)) => found,
            Ok(None) if self.optional => return Ok(Ok(None)),
            Ok(None) => return Ok(Err(Denied::new("missing", "Authentication is required."))),
            Err(Ambiguous) => return Ok(Err(Denied::new("ambiguous", "There is more than one credential."))),
        };
        Ok(match found {
            Found::Token(text) => self.token(text).await?.map(Some).map_err(Denied::token),
            Found::Basic(text) => match self.users.as_ref().and_then(|users| users.user(text, now())) {
                Some(user) => Ok(Some(Identity::named(user))),
                None => Err(Denied::new("password", "The user or the password is wrong.")),
            },
            Found::ApiKey(key) => match self.api_keys.consumer(key) {
                Some(consumer) => Ok(Some(Identity::named(consumer))),
                None => Err(Denied::new("api_key", "The API key is not valid.")),
            },
        })
    }

    /// The first credential: tokens, Basic, API keys.
    fn find<'a>(&'a self, credentials: &'a Credentials) -> Result<Option<Found<'a>>, Ambiguous> {
        // Several `Authorization` fields are refused even if only one would be of a kind that is looked for.
        let basic = credentials.authorization("basic")?;
        if let Some(token) = credentials.find(&self.token_from)? {
            return Ok(Some(Found::Token(token)));
        }
        if let Some(basic) = basic.filter(|_| self.users.is_some()) {
            return Ok(Some(Found::Basic(basic)));
        }
        Ok(credentials.find(&self.api_key_from)?.map(Found::ApiKey))
    }

    /// Who a token is of, according to the first provider that accepts it.
    async fn token(&self, text: &str) -> Result<Result<Identity, Refusal>> {
        let token = match Token::parse(text) {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut refusal = Refusal::Issuer;
        for provider in self.providers.iter().filter(|provider| provider.expected.is_from(&token.claims)) {
            match provider.accept(&token, text).await? {
                Ok(()) => return Ok(Ok(Identity::claimed(provider, &token))),
                Err(other) => refusal = other,
            }
        }
        Ok(Err(refusal))
    }

    async fn refresh_all(&self) -> Result {
        for remote in self.providers.iter().filter_map(|provider| provider.remote.as_ref()) {
            remote.refresh().await;
        }
        Ok(())
    }

    fn refuse(&self, denied: &Denied) -> Reply {
        counter!("denied", reason = denied.reason).inc();
        debug!("denied: {}", denied.reason);
        let mut reply =
            Reply::problem(401, "Unauthorized", denied.detail).details(denied.reason);
        for challenge in &self.challenges {
            // RFC 6750 §3.1: only who sent a token learns what is wrong with it.
            let error = denied.token && challenge.starts_with("Bearer");
            let error = if error {
                format!(", error=\"invalid_token\", error_description=\"{}\"", denied.detail)
            } else {
                String::new()
            };
            reply = reply.header("www-authenticate", format!("{challenge}{error}"));
        }
        reply
    }
}

impl Identity {
    fn named(consumer: &str) -> Self {
        Self { consumer: Some(consumer.to_owned()), headers: Vec::new() }
    }

    fn claimed(provider: &Provider, token: &Token<'_>) -> Self {
        let header =
            |(claim, header): &(String, String)| Some((header.clone(), jwt::header_value(&token.claims, claim)?));
        Self {
            consumer: jwt::header_value(&token.claims, &provider.consumer),
            headers: provider.headers.iter().filter_map(header).collect(),
        }
    }
}

impl Denied {
    const fn new(reason: &'static str, detail: &'static str) -> Self {
        Self { reason, detail, token: false }
    }

    fn token(refusal: Refusal) -> Self {
        Self { reason: refusal.as_str(), detail: refusal.public(), token: true }
    }
}
