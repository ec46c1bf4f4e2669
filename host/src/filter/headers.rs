//! The filters' view of a head: an ordered list of fields, duplicates and pseudo headers included.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A field's name: lower-case, legal by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:status`
    Status,
    /// Any other field.
    Header(HeaderName),
}

impl Name {
    /// Reads a name as a filter wrote it; upper case is lowered. `None` for a name that is not legal on the wire.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":status" => Self::Status,
            _ => Self::Header(HeaderName::from_bytes(bytes).ok()?),
        })
    }
    /// The name as filters see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Authority => ":authority",
            Self::Path => ":path",
            Self::Status => ":status",
            Self::Header(name) => name.as_str(),
        }
    }
    /// Whether this is a pseudo header.
    #[must_use]
    pub fn is_pseudo(&self) -> bool {
        !matches!(self, Self::Header(_))
    }
}

/// One field: a legal name and a value without CR, LF or NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Its value.
    pub value: HeaderValue,
}

/// An ordered multi-map of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<Field>,
}

impl Headers {
    /// An empty list with room for `capacity` fields.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { fields: Vec::with_capacity(capacity) }
    }
    /// Number of fields, pseudo headers included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }
    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
    /// All fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.fields.iter()
    }
    /// The first field of that name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&HeaderValue> {
        self.fields.iter().find(|field| field.name == *name).map(|field| &field.value)
    }
    /// Every field of that name, in order.
    pub fn get_all<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a HeaderValue> {
        self.fields.iter().filter(move |field| field.name == *name).map(|field| &field.value)
    }
    /// Adds a field at the end, keeping others of that name.
    pub fn append(&mut self, name: Name, value: HeaderValue) {
        self.fields.push(Field { name, value });
    }
    /// Sets the first field of that name and removes further ones; appends when there is none.
    pub fn set(&mut self, name: Name, value: HeaderValue) {
        let Some(first) = self.fields.iter().position(|field| field.name == name) else {
            return self.append(name, value);
        };
        self.fields[first].value = value;
        let mut index = 0;
        self.fields.retain(|field| {
            index += 1;
            index - 1 <= first || field.name != name
        });
    }
    /// Removes every field of that name.
    pub fn remove(&mut self, name: &Name) {
        self.fields.retain(|field| field.name != *name);
    }
    /// Removes all fields that `keep` refuses.
    pub fn retain(&mut self, keep: impl FnMut(&Field) -> bool) {
        self.fields.retain(keep);
    }
    /// Takes over an HTTP header map, pseudo headers aside.
    pub fn extend_from_map(&mut self, map: HeaderMap) {
        self.extend_from_map_if(map, |_| true);
    }
    /// Takes over those fields of an HTTP header map whose names `keep` accepts.
    pub fn extend_from_map_if(&mut self, map: HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
        self.fields.reserve(map.len());
        let mut last: Option<HeaderName> = None;
        for (name, value) in map {
            if name.is_some() {
                last = name.filter(&keep);
            }
            if let Some(name) = &last {
                self.fields.push(Field { name: Name::Header(name.clone()), value });
            }
        }
    }
}

impl IntoIterator for Headers {
    type Item = Field;
    type IntoIter = std::vec::IntoIter<Field>;
    fn into_iter(self) -> Self::IntoIter {
        self.fields.into_iter()
    }
}
impl FromIterator<Field> for Headers {
    fn from_iter<T: IntoIterator<Item = Field>>(iter: T) -> Self {
        Self { fields: iter.into_iter().collect() }
    }
}
