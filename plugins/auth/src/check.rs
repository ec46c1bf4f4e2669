//! From the words of the configuration to a filter that can run: every mistake is found here, before a request is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluicegate_sdk::prelude::*;

use crate::api_key::ApiKeys;
use crate::basic::Users;
use crate::config::{AlgorithmConfig, AuthConfig, JwtConfig, KeyConfig};
use crate::credential::Place;
use crate::jwt::{Algorithm, Expected, Key, Provider, Remote};
use crate::{Auth, CONSUMER};

/// Shortest time between two fetches of a key set.
const MIN_REFRESH: Duration = Duration::from_secs(10);
/// How often the timer of a filter without key sets looks at nothing.
const NEVER: Duration = Duration::from_secs(24 * 3600);
/// Headers that claims must not be copied to: they mean something to everybody between here and the upstream.
const RESERVED: [&str; 8] =
    ["host", "authorization", "cookie", "content-length", "transfer-encoding", "connection", "content-type", CONSUMER];

/// Checks a configuration.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(config: AuthConfig) -> Result<Auth, String> {
    if config.realm.contains(['"', '\\']) || config.realm.chars().any(char::is_control) {
        return Err("realm: quotes and control characters cannot stand in a header".to_owned());
    }
    let issuers: Vec<JwtConfig> = config.jwt.into_iter().flatten().collect();
    let refresh = refresh(&issuers)?;
    let token_from = unique(issuers.iter().flat_map(|issuer| issuer.from.clone()))?;
    let providers = issuers.into_iter().map(provider).collect::<Result<Vec<_>, _>>()?;
    let api_keys = ApiKeys::new(&exposed(&config.api_keys)?)?;
    let api_key_from = if config.api_keys.is_empty() { Vec::new() } else { unique(config.api_key_from)? };
    let users = config.basic.as_ref().map(|basic| Users::new(&exposed(&basic.users)?)).transpose()?;
    let challenges = challenges(&config.realm, &token_from, users.is_some(), &api_key_from);
    if challenges.is_empty() {
        return Err("nobody could pass: give \"api_keys\", \"basic\" or \"jwt\"".to_owned());
    }
    let authorization = users.iter().map(|_| Place::Bearer);
    let places = unique(token_from.iter().chain(&api_key_from).cloned().chain(authorization))?;
    let claimed = providers.iter().flat_map(|provider| provider.headers.iter().map(|(_, header)| header.clone()));
    let identity: BTreeSet<String> = claimed.chain([CONSUMER.to_owned()]).collect();
    Ok(Auth {
        api_keys,
        api_key_from,
        users,
        providers,
        token_from,
        places,
        identity: identity.into_iter().collect(),
        challenges,
        optional: config.optional,
        forward_credentials: config.forward_credentials,
        refresh,
    })
}

fn provider(config: JwtConfig) -> Result<Provider, String> {
    let mut keys = Vec::new();
    for key in &config.keys {
        match key {
            KeyConfig::Secret(secret) => keys.push(Key::secret(secret.expose().as_bytes())?),
            KeyConfig::Pem(pem) => keys.push(Key::pem(pem)?),
            KeyConfig::Jwks(set) => keys.extend(Key::set(set)?),
        }
    }
    if keys.is_empty() && config.jwks.is_none() {
        return Err("jwt: without \"keys\" or \"jwks\" no signature could be verified".to_owned());
    }
    let algorithms = match config.algorithms {
        Some(algorithms) => algorithms.into_iter().map(Algorithm::from).collect(),
        // A key set from elsewhere has public keys only.
        None if config.jwks.is_some() => {
            let mut algorithms = vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
            algorithms.extend(keys.iter().map(Key::algorithm).find(|algorithm| *algorithm == Algorithm::Hs256));
            algorithms
        }
        None => keys.iter().map(Key::algorithm).collect(),
    };
    if algorithms.is_empty() {
        return Err("jwt: \"algorithms\" is empty".to_owned());
    }
    let mut headers = Vec::new();
    for (claim, header) in config.claims_to_headers {
        let header = header.to_ascii_lowercase();
        if !is_token(&header) || RESERVED.contains(&header.as_str()) {
            return Err(format!("claims_to_headers: {header:?} cannot be used as a header for a claim"));
        }
        headers.push((claim, header));
    }
    let expected = Expected {
        issuers: config.issuer.into_iter().flatten().collect(),
        audiences: config.audience.into_iter().flatten().collect(),
        required: config.required_claims,
        leeway: config.leeway,
    };
    let remote = config.jwks.map(|jwks| Remote::new(jwks.upstream, jwks.path));
    let mut provider = Provider::new(expected);
    (provider.algorithms, provider.keys, provider.remote) = (algorithms, keys, remote);
    (provider.consumer, provider.headers) = (config.consumer_claim, headers);
    Ok(provider)
}

fn refresh(issuers: &[JwtConfig]) -> Result<Duration, String> {
    match issuers.iter().filter_map(|issuer| issuer.jwks.as_ref()).map(|jwks| jwks.refresh).min() {
        Some(refresh) if refresh < MIN_REFRESH => {
            Err(format!("jwks: \"refresh\" is at least {} s", MIN_REFRESH.as_secs()))
        }
        refresh => Ok(refresh.unwrap_or(NEVER)),
    }
}

/// The secrets by name; the names can stand in a header.
fn exposed(secrets: &BTreeMap<String, Secret>) -> Result<BTreeMap<String, &str>, String> {
    match secrets.keys().find(|name| name.is_empty() || name.trim() != *name || name.chars().any(char::is_control)) {
        Some(name) => Err(format!("{name:?} cannot be a consumer's name")),
        None => Ok(secrets.iter().map(|(name, secret)| (name.clone(), secret.expose())).collect()),
    }
}

/// The places without repetitions, headers in lower case.
fn unique(places: impl IntoIterator<Item = Place>) -> Result<Vec<Place>, String> {
    let mut unique = Vec::new();
    for mut place in places {
        if let Place::Header(name) = &mut place {
            name.make_ascii_lowercase();
            if !is_token(name) {
                return Err(format!("{name:?} is no header name"));
            }
        }
        if !unique.contains(&place) {
            unique.push(place);
        }
    }
    Ok(unique)
}

/// One challenge for each method (RFC 9110 §11.6.1).
fn challenges(realm: &str, token_from: &[Place], basic: bool, api_key_from: &[Place]) -> Vec<String> {
    let mut challenges = Vec::new();
    if !token_from.is_empty() || api_key_from.contains(&Place::Bearer) {
        challenges.push(format!("Bearer realm=\"{realm}\""));
    }
    if basic {
        challenges.push(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
    }
    if api_key_from.iter().any(|place| *place != Place::Bearer) {
        challenges.push(format!("ApiKey realm=\"{realm}\""));
    }
    challenges
}

impl From<AlgorithmConfig> for Algorithm {
    fn from(config: AlgorithmConfig) -> Self {
        match config {
            AlgorithmConfig::Hs256 => Self::Hs256,
            AlgorithmConfig::Rs256 => Self::Rs256,
            AlgorithmConfig::Es256 => Self::Es256,
            AlgorithmConfig::EdDsa => Self::EdDsa,
        }
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
