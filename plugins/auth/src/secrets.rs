//! API keys, and HTTP Basic (RFC 7617) against hashed passwords.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use sluicegate_sdk::prelude::*;
use subtle::ConstantTimeEq;

/// Highest bcrypt cost: a worker waits while a password is hashed, about 20 ms at this cost.
const MAX_COST: u32 = 8;
/// Longest credentials that are looked at, bytes.
const MAX_CREDENTIALS: usize = 1024;
/// How long what was verified is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most verifications that are remembered.
const MAX_REMEMBERED: usize = 1024;

/// SHA-256 of a credential.
type Fingerprint = [u8; 32];

/// The fingerprint of two texts. The length of the first is part of it, so that ("ab", "c") is not ("a", "bc").
fn fingerprint(first: &[u8], second: &[u8]) -> Fingerprint {
    Sha256::new().chain_update(first.len().to_le_bytes()).chain_update(first).chain_update(second).finalize().into()
}

/// What was verified a moment ago, so that the expensive part is not done again for every request. Failures are not remembered.
pub(crate) struct Recent<K, T>(RefCell<HashMap<K, (SystemTime, T)>>);

impl<K: Hash + Eq, T: Clone> Recent<K, T> {
    pub(crate) fn new() -> Self {
        Self(RefCell::default())
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, entry: &Q, now: SystemTime) -> Option<T>
    where
        K: Borrow<Q>,
    {
        self.0.borrow().get(entry).filter(|(until, _)| now < *until).map(|(_, value)| value.clone())
    }

    /// When all places are taken, what has run out goes, and if nothing has, everything.
    pub(crate) fn insert(&self, entry: K, value: T, now: SystemTime) {
        let mut entries = self.0.borrow_mut();
        if entries.len() >= MAX_REMEMBERED {
            entries.retain(|_, (until, _)| now < *until);
        }
        if entries.len() >= MAX_REMEMBERED {
            entries.clear();
        }
        entries.insert(entry, (now + REMEMBERED, value));
    }

    pub(crate) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

/// API keys as fingerprints: a comparison then takes the same time whatever was sent.
pub(crate) struct ApiKeys(Vec<(Fingerprint, String)>);

impl ApiKeys {
    /// Takes keys by consumer; the error says what is wrong with them.
    pub(crate) fn new(consumers: &BTreeMap<String, Secret>) -> Result<Self, String> {
        let mut keys = Vec::<(Fingerprint, String)>::new();
        for (consumer, key) in consumers {
            check_name(consumer)?;
            if key.expose().is_empty() {
                return Err(format!("api_keys: the key of {consumer:?} is empty"));
            }
            let print = fingerprint(b"", key.expose().as_bytes());
            if let Some((_, other)) = keys.iter().find(|(existing, _)| *existing == print) {
                return Err(format!("api_keys: {consumer:?} and {other:?} have the same key"));
            }
            keys.push((print, consumer.clone()));
        }
        Ok(Self(keys))
    }

    /// Whose key this is. Looks at all keys, also after it has found one.
    pub(crate) fn consumer(&self, key: &str) -> Option<&str> {
        let print = fingerprint(b"", key.as_bytes());
        let mut found = None;
        for (existing, consumer) in &self.0 {
            if existing.ct_eq(&print).into() {
                found = Some(consumer.as_str());
            }
        }
        found
    }
}

/// Users with their hashed passwords.
pub(crate) struct Users {
    users: BTreeMap<String, String>,
    recent: Recent<Fingerprint, ()>,
}

impl Users {
    /// Takes bcrypt hashes by user; the error says what is wrong with them.
    pub(crate) fn new(users: &BTreeMap<String, Secret>) -> Result<Self, String> {
        for (name, hash) in users {
            check_name(name)?;
            let cost = hash.expose().parse::<bcrypt::HashParts>().map(|hash| hash.get_cost());
            if name.contains(':') || !cost.is_ok_and(|cost| cost <= MAX_COST) {
                return Err(format!(
                    "basic: {name:?} is no user with a password hashed by bcrypt with a cost up to {MAX_COST} (htpasswd -nbBC 8)"
                ));
            }
        }
        let users = users.iter().map(|(name, hash)| (name.clone(), hash.expose().to_owned())).collect();
        Ok(Self { users, recent: Recent::new() })
    }

    /// The user of these credentials (what follows `Basic ` in the header), if the password is right.
    pub(crate) fn user(&self, credentials: &str) -> Option<&str> {
        let decoded = (credentials.len() <= MAX_CREDENTIALS).then(|| STANDARD.decode(credentials).ok())??;
        let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        let user = self.users.get_key_value(name);
        // A user who does not exist takes as long as one who does.
        let (_, hash) = user.or_else(|| self.users.first_key_value())?;
        let entry = fingerprint(name.as_bytes(), password.as_bytes());
        let now = now();
        if self.recent.get(&entry, now).is_none() {
            let right = bcrypt::verify(password, hash).unwrap_or(false);
            user.filter(|_| right)?;
            self.recent.insert(entry, (), now);
        }
        user.map(|(name, _)| name.as_str())
    }
}

/// Consumers' names stand in a header.
fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.trim() != name || name.chars().any(char::is_control) {
        return Err(format!("{name:?} cannot be a consumer's name"));
    }
    Ok(())
}
