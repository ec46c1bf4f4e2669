//! Small values that all workers share.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{fault, millis, shared};
use crate::error::{Error, Fault, Result};
use crate::extension::{self, KV_DELETE, KV_GET, KV_SET};
use crate::host::HostError;

/// A family of stored values of type `T`, one for each key. They are stored as JSON.
#[derive(Clone, Debug)]
pub struct Kv<T> {
    name: &'static str,
    value: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned> Kv<T> {
    /// Values called `name`; keys of other names are other values.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }

    /// The value of a key; none when there is none, when it has expired, or when it is not a `T` any more (an older version of
    /// the filter may have stored it).
    ///
    /// # Errors
    /// A fault, when the host's store fails.
    pub fn get(&self, key: &str) -> Result<Option<T>> {
        let key = self.key(key);
        let stored = match extension::call(KV_GET, key.as_bytes()) {
            Ok(result) => result.get(1..).map(<[u8]>::to_vec),
            Err(HostError::NotFound) => shared::get(&key),
            Err(error) => return Err(self.fault(error)),
        };
        Ok(stored.and_then(|stored| serde_json::from_slice(&stored).ok()))
    }

    /// Stores a value, for some time or (`None`) until it is deleted or the store needs the room.
    ///
    /// # Errors
    /// A fault, when the host's store fails or is full.
    pub fn set(&self, key: &str, value: &T, ttl: impl Into<Option<Duration>>) -> Result {
        let key = self.key(key);
        let value =
            serde_json::to_vec(value).map_err(|error| Error::Fault(Fault::new(format!("`{}`: {error}", self.name))))?;
        // Zero means without end to the host; something that should end at once ends in a millisecond.
        let ttl = ttl.into().map_or(0, |ttl| millis(ttl).max(1));
        let length = u32::try_from(key.len()).map_err(|_| self.fault(HostError::BadArgument))?;
        let arguments = [&ttl.to_le_bytes()[..], &length.to_le_bytes(), key.as_bytes(), &value].concat();
        let result = match extension::call(KV_SET, &arguments) {
            Err(HostError::NotFound) => shared::set(&key, &value, ttl),
            result => result.map(drop),
        };
        result.map_err(|error| self.fault(error))
    }

    /// Removes a value.
    ///
    /// # Errors
    /// A fault, when the host's store fails.
    pub fn delete(&self, key: &str) -> Result {
        let key = self.key(key);
        let result = match extension::call(KV_DELETE, key.as_bytes()) {
            Err(HostError::NotFound) => shared::delete(&key),
            result => result.map(drop),
        };
        result.map_err(|error| self.fault(error))
    }

    fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.name)
    }

    fn fault(&self, error: HostError) -> Error {
        fault(&format!("store `{}`", self.name), error)
    }
}
