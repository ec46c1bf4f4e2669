//! JSON Web Tokens (RFC 7519, with the advice of RFC 8725): one provider is one issuer's keys and what its tokens must claim.
//!
//! A key decides the algorithm, the token only names it. Nothing in a token's header is fetched or believed: `jku`, `jwk`,
//! `x5u` and `x5c` are not read.

mod claims;
mod key;
mod remote;
mod token;

use std::fmt;
use std::time::{Duration, SystemTime};

use sluicegate_sdk::prelude::*;

pub(crate) use claims::{Expected, header_value};
pub(crate) use key::Key;
pub(crate) use remote::Remote;
pub(crate) use token::{Algorithm, Token};

use crate::recent::{Recent, fingerprint};

/// How long a public-key signature that was right is not computed again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most keys that are tried on one token: only keys without names make it more than one.
const MAX_TRIES: usize = 8;

/// Why a token was refused. For the log and metrics; the client learns the public part only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not a token at all.
    Malformed,
    /// An algorithm or an extension that is not accepted.
    Algorithm,
    /// Signed by a key that is not known.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// Past its `exp`.
    Expired,
    /// Before its `nbf`.
    Early,
    /// Another `iss`.
    Issuer,
    /// Another `aud`.
    Audience,
    /// A claim is missing or of the wrong kind.
    Claims,
}

impl Refusal {
    /// A word for metrics.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claims => "claims",
        }
    }

    /// What the client may know: its clock, but not how close a forged token came.
    #[must_use]
    pub(crate) const fn public(self) -> &'static str {
        match self {
            Self::Expired => "The token has expired.",
            Self::Early => "The token is not valid yet.",
            _ => "The token is not valid.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One issuer of tokens.
pub(crate) struct Provider {
    /// What tokens must claim.
    pub(crate) expected: Expected,
    /// Algorithms that are accepted.
    pub(crate) algorithms: Vec<Algorithm>,
    /// Keys from the configuration.
    pub(crate) keys: Vec<Key>,
    /// Keys from elsewhere.
    pub(crate) remote: Option<Remote>,
    /// The claim that names the consumer.
    pub(crate) consumer: String,
    /// Claims that become headers: claim, header.
    pub(crate) headers: Vec<(String, String)>,
    verified: Recent,
}

impl Provider {
    /// A provider without any keys.
    #[must_use]
    pub(crate) fn new(expected: Expected) -> Self {
        Self {
            expected,
            algorithms: Vec::new(),
            keys: Vec::new(),
            remote: None,
            consumer: "sub".to_owned(),
            headers: Vec::new(),
            verified: Recent::new(REMEMBERED),
        }
    }

    /// Accepts or refuses a token; fetches the remote keys when it names one that is not there. `text` is what `token` was
    /// parsed from.
    ///
    /// # Errors
    /// A fault: there never were any keys, so nobody's token can be judged.
    pub(crate) async fn accept(&self, token: &Token<'_>, text: &str) -> Result<Result<(), Refusal>> {
        let verdict = self.verify(token, text, now());
        let Some(remote) = self.remote.as_ref().filter(|_| verdict == Err(Refusal::UnknownKey)) else {
            return Ok(verdict);
        };
        remote.refresh_for_token().await;
        if remote.is_empty() && self.keys.is_empty() {
            return Err(Fault::new("no key set could be fetched yet").into());
        }
        Ok(self.verify(token, text, now()))
    }

    /// Whether a token is good at this time.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn verify(&self, token: &Token<'_>, text: &str, now: SystemTime) -> Result<(), Refusal> {
        if !self.algorithms.contains(&token.algorithm) {
            return Err(Refusal::Algorithm);
        }
        self.verify_signature(token, text, now)?;
        self.expected.check(&token.claims, now)
    }

    fn verify_signature(&self, token: &Token<'_>, text: &str, now: SystemTime) -> Result<(), Refusal> {
        let remote = self.remote.as_ref().map(Remote::keys).unwrap_or_default();
        // An HMAC costs no more than the fingerprint that would save it.
        let generation = remote.generation.to_le_bytes();
        let entry = (token.algorithm != Algorithm::Hs256).then(|| fingerprint(&[&generation, text.as_bytes()]));
        if entry.is_some_and(|entry| self.verified.contains(&entry, now)) {
            return Ok(());
        }
        let fits = |key: &&Key| {
            key.algorithm() == token.algorithm && (key.id.is_none() || token.key_id.is_none() || key.id == token.key_id)
        };
        let mut keys = self.keys.iter().chain(&remote.keys).filter(fits).take(MAX_TRIES).peekable();
        if keys.peek().is_none() {
            return Err(Refusal::UnknownKey);
        }
        if !keys.any(|key| key.verifies(token.signed, &token.signature)) {
            return Err(Refusal::Signature);
        }
        if let Some(entry) = entry {
            self.verified.insert(entry, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
