//! What the filters of one stream tell each other: values by path, as `proxy_set_property` writes them.

use std::cell::RefCell;

use bytes::Bytes;

/// Properties set by filters. Parts of a path are joined by NUL.
#[derive(Default)]
pub struct Properties(RefCell<Vec<(Box<[u8]>, Bytes)>>);

impl Properties {
    /// The value at a path.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<Bytes> {
        self.0.borrow().iter().find(|(name, _)| **name == *path).map(|(_, value)| value.clone())
    }
    /// Bytes and number of all of them, for the caller's bound.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let all = self.0.borrow();
        (all.iter().map(|(name, value)| name.len() + value.len()).sum(), all.len())
    }
    /// Sets one that all filters of the stream can read. The caller bounds size and number.
    pub fn set(&self, path: &[u8], value: Bytes) {
        let mut all = self.0.borrow_mut();
        match all.iter_mut().find(|(name, _)| **name == *path) {
            Some((_, old)) => *old = value,
            None => all.push((path.into(), value)),
        }
    }
}
