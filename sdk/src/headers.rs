//! Headers: a view of the host's map. Nothing is copied until it is asked for; one read or write is one hostcall.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;

use crate::extension;
use crate::host::{HOST, Host, Map};
use crate::pairs::Pairs;

/// The headers of a message, pseudo headers (`:path`, `:status` …) among them. Names are lower-case; values are bytes.
///
/// Writes take effect while the head is held: until the phase function returns, or until it streams the body. Later ones
/// change nothing, and the host logs them.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    map: Map,
    message: PhantomData<&'a ()>,
}

impl Headers<'_> {
    pub(crate) const fn new(map: Map) -> Self {
        Self { map, message: PhantomData }
    }

    /// The value of `name`. When there are several fields of this name: the first, or all joined by a comma; the host decides.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<HeaderValue> {
        HOST.header(self.map, name).map(HeaderValue)
    }

    /// The value of `name` as text; none also when it is not UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<String> {
        self.get(name)?.into_string()
    }

    /// The values of all fields called `name`, in order.
    #[must_use]
    pub fn get_all(&self, name: &str) -> Vec<HeaderValue> {
        let arguments = [&[self.map as u8], name.as_bytes()].concat();
        match extension::call(extension::FIELDS, &arguments) {
            Ok(fields) => HeaderIter::new(fields).map(|(_, value)| value).collect(),
            Err(_) => self
                .iter()
                .filter(|(field, _)| field.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
                .map(|(_, value)| value)
                .collect(),
        }
    }

    /// Whether there is a field called `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Makes `value` the only one of `name`.
    pub fn set(&self, name: &str, value: impl AsRef<[u8]>) {
        HOST.set_header(self.map, name, value.as_ref());
    }

    /// Adds a field beside those of the same name.
    pub fn append(&self, name: &str, value: impl AsRef<[u8]>) {
        HOST.add_header(self.map, name, value.as_ref());
    }

    /// Removes all fields called `name`.
    pub fn remove(&self, name: &str) {
        HOST.remove_header(self.map, name);
    }

    /// All fields, in order. One hostcall; names and values share its memory.
    #[must_use]
    pub fn iter(&self) -> HeaderIter {
        HeaderIter(Pairs::new(HOST.headers(self.map)))
    }
}

impl IntoIterator for Headers<'_> {
    type Item = (HeaderValue, HeaderValue);
    type IntoIter = HeaderIter;
    fn into_iter(self) -> HeaderIter {
        self.iter()
    }
}

/// Names and values of all fields.
pub struct HeaderIter(Pairs);

impl HeaderIter {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(Pairs::new(bytes))
    }
}

impl Iterator for HeaderIter {
    type Item = (HeaderValue, HeaderValue);
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (HeaderValue(name), HeaderValue(value)))
    }
}

/// The bytes of a header's value (or name). Values need not be UTF-8 (RFC 9110 §5.5).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderValue(Bytes);

impl HeaderValue {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text, if it is UTF-8.
    #[must_use]
    pub fn into_string(self) -> Option<String> {
        String::from_utf8(self.0.into()).ok()
    }

    /// The text, with replacement characters for what is not UTF-8.
    #[must_use]
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl AsRef<[u8]> for HeaderValue {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<HeaderValue> for Bytes {
    fn from(value: HeaderValue) -> Self {
        value.0
    }
}

impl PartialEq<str> for HeaderValue {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for HeaderValue {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string_lossy(), f)
    }
}
