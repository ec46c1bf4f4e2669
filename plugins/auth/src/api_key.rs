//! API keys: a secret that names its consumer.

use std::collections::BTreeMap;

use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::recent::{Fingerprint, fingerprint};

/// The keys, as fingerprints: a comparison then takes the same time whatever was sent.
#[derive(Default)]
pub(crate) struct ApiKeys {
    keys: Vec<(Fingerprint, String)>,
}

impl ApiKeys {
    /// Takes keys by consumer.
    ///
    /// # Errors
    /// A key is empty, or two consumers have the same.
    pub(crate) fn new(consumers: &BTreeMap<String, &str>) -> Result<Self, String> {
        let mut keys = Vec::<(Fingerprint, String)>::with_capacity(consumers.len());
        for (consumer, key) in consumers {
            if key.is_empty() {
                return Err(format!("api_keys: the key of {consumer:?} is empty"));
            }
            let print = fingerprint(&[key.as_bytes()]);
            if let Some((_, other)) = keys.iter().find(|(existing, _)| *existing == print) {
                return Err(format!("api_keys: {consumer:?} and {other:?} have the same key"));
            }
            keys.push((print, consumer.clone()));
        }
        Ok(Self { keys })
    }

    /// Whose key this is. Looks at all keys, also after it has found one.
    #[must_use]
    pub(crate) fn consumer(&self, key: &str) -> Option<&str> {
        let print = fingerprint(&[key.as_bytes()]);
        let mut found = u64::MAX;
        for (index, (existing, _)) in (0_u64..).zip(&self.keys) {
            found.conditional_assign(&index, existing.ct_eq(&print));
        }
        let index = usize::try_from(found).ok()?;
        self.keys.get(index).map(|(_, consumer)| consumer.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_consumer_and_nothing_else_does() {
        let consumers = [("alice", "k1"), ("bob", "k2")].map(|(name, key)| (name.to_owned(), key)).into();
        let keys = ApiKeys::new(&consumers).unwrap();
        assert_eq!(keys.consumer("k1"), Some("alice"));
        assert_eq!(keys.consumer("k2"), Some("bob"));
        for wrong in ["", "k", "K1", "k1 ", "k11", "alice"] {
            assert_eq!(keys.consumer(wrong), None, "{wrong:?}");
        }
        assert_eq!(ApiKeys::default().consumer(""), None);
    }

    #[test]
    fn empty_and_shared_keys_are_refused() {
        for pair in [[("a", "k"), ("b", "k")], [("a", ""), ("b", "k")]] {
            assert!(ApiKeys::new(&pair.map(|(name, key)| (name.to_owned(), key)).into()).is_err());
        }
    }
}
