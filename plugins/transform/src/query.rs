//! Changes to a query string. Parameters that are not named stay byte for byte, in their order.

use crate::edits::Filled;
use crate::template::encode;

/// A parameter as it stands in the query, and its name as servers read it.
struct Pair {
    name: String,
    raw: String,
}

/// A query (without `?`) with the changes made.
#[must_use]
pub(crate) fn apply(edits: &Filled, query: &str) -> String {
    let mut pairs: Vec<Pair> = query.split('&').filter(|raw| !raw.is_empty()).map(Pair::read).collect();
    pairs.retain(|pair| !edits.remove.contains(&pair.name));
    for (from, to) in &edits.rename {
        for pair in pairs.iter_mut().filter(|pair| pair.name == *from) {
            let value = pair.raw.find('=').map_or("", |at| &pair.raw[at..]);
            let mut raw = String::new();
            encode(&mut raw, to);
            raw.push_str(value);
            *pair = Pair { name: to.clone(), raw };
        }
    }
    for (name, value) in &edits.set {
        let first = pairs.iter().position(|pair| pair.name == *name).unwrap_or(pairs.len());
        pairs.retain(|pair| pair.name != *name);
        pairs.insert(first, Pair::write(name, value));
    }
    pairs.extend(edits.add.iter().map(|(name, value)| Pair::write(name, value)));
    let raw: Vec<&str> = pairs.iter().map(|pair| pair.raw.as_str()).collect();
    raw.join("&")
}

impl Pair {
    fn read(raw: &str) -> Self {
        let name = form_urlencoded::parse(raw.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default();
        Self { name, raw: raw.to_owned() }
    }
    fn write(name: &str, value: &str) -> Self {
        let mut raw = String::new();
        encode(&mut raw, name);
        raw.push('=');
        encode(&mut raw, value);
        Self { name: name.to_owned(), raw }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_that_are_not_named_stay_byte_for_byte() {
        let edits = Filled {
            remove: vec!["debug".to_owned()],
            rename: pairs(&[("q", "query")]),
            set: pairs(&[("page", "1")]),
            add: pairs(&[("tag", "a b&c=d")]),
        };
        assert_eq!(
            apply(&edits, "x=%7e+&debug&q=a%20b&page=7&y&page=8&&de%62ug=1"),
            "x=%7e+&query=a%20b&page=1&y&tag=a%20b%26c%3Dd"
        );
        assert_eq!(apply(&edits, ""), "page=1&tag=a%20b%26c%3Dd");
    }

    #[test]
    fn a_parameter_without_a_value_is_renamed() {
        let edits = Filled { rename: pairs(&[("a", "b c")]), ..Filled::default() };
        assert_eq!(apply(&edits, "a&a=&a=1"), "b%20c&b%20c=&b%20c=1");
    }
}
