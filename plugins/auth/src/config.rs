//! What can be written in the configuration.

use std::collections::BTreeMap;

use sluicegate_sdk::prelude::*;

use crate::credential::Place;
use crate::require::Condition;

/// Who may pass, and how they show who they are. Several methods may be given: the first credential that is found decides.
#[derive(Config)]
pub struct AuthConfig {
    /// API keys by consumer: {"alice": "a long random key"}.
    #[config(default)]
    pub api_keys: BTreeMap<String, Secret>,
    /// Where API keys are looked for: {"header": "x-api-key"} (the default), {"query": "key"}, {"cookie": "key"}, "bearer".
    #[config(default = vec![Place::Header("x-api-key".to_owned())])]
    pub api_key_from: Vec<Place>,
    /// Users with passwords (HTTP Basic).
    pub basic: Option<BasicConfig>,
    /// Issuers of JSON Web Tokens: one, or several.
    pub jwt: Option<OneOrMany<JwtConfig>>,
    /// Consumers that may pass, whatever they authenticate with; others get 403. Without it, all may.
    pub allow: Option<Vec<String>>,
    /// Requests without any credential pass too, without a consumer. A wrong credential is refused all the same.
    #[config(default)]
    pub optional: bool,
    /// The upstream sees the credential. Without it, it sees only who was authenticated.
    #[config(default)]
    pub forward_credentials: bool,
    /// What clients are told they authenticate for.
    #[config(default = "api")]
    pub realm: String,
}

/// HTTP Basic authentication.
#[derive(Config)]
pub struct BasicConfig {
    /// Passwords by user, hashed by bcrypt with a cost up to 8 ("htpasswd -nbBC 8 alice PASSWORD").
    pub users: BTreeMap<String, Secret>,
}

/// One issuer of JSON Web Tokens.
#[derive(Config)]
pub struct JwtConfig {
    /// Keys, one or several: {"secret": "…"}, {"pem": "-----BEGIN PUBLIC KEY-----…"}, {"jwks": {"keys": […]}}.
    pub keys: Option<OneOrMany<KeyConfig>>,
    /// Keys that the issuer publishes.
    pub jwks: Option<JwksConfig>,
    /// Algorithms that are accepted: "HS256", "RS256", "ES256", "EdDSA" (default: those of the keys).
    pub algorithms: Option<Vec<String>>,
    /// "iss" must be this, or one of these.
    pub issuer: Option<OneOrMany<String>>,
    /// "aud" must be, or contain, this or one of these.
    pub audience: Option<OneOrMany<String>>,
    /// How far the clocks may be apart.
    #[config(default = "30s")]
    pub leeway: Duration,
    /// Claims that must be there.
    #[config(default = vec!["exp".to_owned()])]
    pub required_claims: Vec<String>,
    /// What claims of a good token must say, else 403: {"role": "admin", "scope": {"contains": "orders:read"}, "groups": {"any": ["a", "b"]}}.
    #[config(default)]
    pub require: BTreeMap<String, Condition>,
    /// The claim that names the consumer; "/realm/name" leads into objects.
    #[config(default = "sub")]
    pub consumer_claim: String,
    /// Claims that the upstream sees, as headers: {"email": "x-user-email"}.
    #[config(default)]
    pub claims_to_headers: BTreeMap<String, String>,
    /// Where tokens are looked for: "bearer" (the default), {"header": "x-token"}, {"cookie": "token"}, {"query": "token"}.
    #[config(default = vec![Place::Bearer])]
    pub from: Vec<Place>,
}

/// A key in the configuration.
#[derive(Config)]
pub enum KeyConfig {
    /// A shared secret of at least 32 bytes, for HS256.
    Secret(Secret),
    /// A public key in PEM: RSA, P-256 or Ed25519.
    Pem(String),
    /// A JSON Web Key Set.
    Jwks(Json),
}

/// A JSON Web Key Set that is fetched.
#[derive(Config)]
pub struct JwksConfig {
    /// The upstream that serves it.
    pub upstream: Upstream,
    /// Its path there.
    #[config(default = "/.well-known/jwks.json")]
    pub path: String,
    /// How often it is fetched.
    #[config(default = "10m")]
    pub refresh: Duration,
}
