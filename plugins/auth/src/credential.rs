//! Where credentials are in a request, and taking them out of it.

use sluicegate_sdk::prelude::*;

/// A place to look for a credential.
#[derive(Config, Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer …`
    Bearer,
    /// A header of this name.
    Header(String),
    /// A cookie of this name.
    Cookie(String),
    /// A query parameter of this name.
    Query(String),
}

/// There are several credentials where one is expected: which one counts would be a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The credential-carrying parts of a request, read once.
pub(crate) struct Credentials {
    /// Name in lower case, value. A value that is not text is no credential, but still counts as one of several.
    headers: Vec<(String, String)>,
    /// Decoded.
    query: Vec<(String, String)>,
}

impl Credentials {
    /// Reads what may be in these places, and `Authorization`.
    #[must_use]
    pub(crate) fn of(req: &Request, places: &[Place]) -> Self {
        let wanted = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"authorization")
                || places.iter().any(|place| match place {
                    Place::Bearer | Place::Query(_) => false,
                    Place::Header(header) => name.eq_ignore_ascii_case(header.as_bytes()),
                    Place::Cookie(_) => name.eq_ignore_ascii_case(b"cookie"),
                })
        };
        let headers = req.headers().iter().filter(|(name, _)| wanted(name.as_bytes()));
        let in_query = places.iter().any(|place| matches!(place, Place::Query(_)));
        Self {
            headers: headers
                .map(|(name, value)| {
                    (name.to_string_lossy().to_ascii_lowercase(), value.to_string_lossy().into_owned())
                })
                .collect(),
            query: if in_query { parameters(&req.path()) } else { Vec::new() },
        }
    }

    /// The one credential in these places; `None`: there is none.
    ///
    /// # Errors
    /// There are several.
    pub(crate) fn find<'a>(&'a self, places: &'a [Place]) -> Result<Option<&'a str>, Ambiguous> {
        let mut found = None;
        for place in places {
            for value in self.at(place) {
                if found.replace(value).is_some() {
                    return Err(Ambiguous);
                }
            }
        }
        Ok(found.filter(|value| !value.is_empty()))
    }

    /// What follows `scheme` in `Authorization`; `None`: there is none, or another scheme.
    ///
    /// # Errors
    /// There are several `Authorization` fields.
    pub(crate) fn authorization(&self, scheme: &str) -> Result<Option<&str>, Ambiguous> {
        let mut fields = self.header("authorization");
        let field = fields.next();
        if fields.next().is_some() {
            return Err(Ambiguous);
        }
        Ok(field.and_then(|field| after_scheme(field, scheme)))
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    fn at<'a>(&'a self, place: &'a Place) -> Vec<&'a str> {
        match place {
            Place::Bearer => self.header("authorization").filter_map(|field| after_scheme(field, "bearer")).collect(),
            Place::Header(name) => self.header(name).map(str::trim).collect(),
            Place::Cookie(name) => self
                .header("cookie")
                .flat_map(cookies)
                .filter(|(cookie, _)| cookie == name)
                .map(|(_, value)| value)
                .collect(),
            Place::Query(name) => {
                self.query.iter().filter(|(parameter, _)| parameter == name).map(|(_, value)| value.as_str()).collect()
            }
        }
    }
}

/// Takes the credentials in `places` out of a request, so that its upstream does not see them.
pub(crate) fn strip(req: &mut Request, places: &[Place]) {
    for place in places {
        match place {
            Place::Bearer => req.headers().remove("authorization"),
            Place::Header(name) => req.headers().remove(name),
            Place::Cookie(name) => {
                let left: Vec<String> = req
                    .headers()
                    .get_all("cookie")
                    .iter()
                    .filter_map(|field| without_cookie(&field.to_string_lossy(), name))
                    .collect();
                req.headers().remove("cookie");
                for field in left {
                    req.headers().append("cookie", field);
                }
            }
            Place::Query(name) => {
                let path = without_parameter(&req.path(), name);
                req.set_path(&path);
            }
        }
    }
}

/// The rest of a field that begins with `scheme` and at least one space (RFC 9110 §11.4).
fn after_scheme<'a>(field: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = field.trim().split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim_start())
}

fn cookies(field: &str) -> impl Iterator<Item = (&str, &str)> {
    field.split(';').filter_map(|pair| pair.trim().split_once('=')).map(|(name, value)| (name, value.trim_matches('"')))
}

fn without_cookie(field: &str, name: &str) -> Option<String> {
    let is_it = |pair: &&str| pair.split_once('=').map_or(*pair, |(cookie, _)| cookie).trim() == name;
    let left: Vec<&str> = field.split(';').map(str::trim).filter(|pair| !pair.is_empty() && !is_it(pair)).collect();
    (!left.is_empty()).then(|| left.join("; "))
}

/// The parameters of a path's query, decoded.
fn parameters(path: &str) -> Vec<(String, String)> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The path without a query parameter, however its name is encoded; the others stay byte for byte.
fn without_parameter(path: &str, name: &str) -> String {
    let Some((before, query)) = path.split_once('?') else { return path.to_owned() };
    let is_it =
        |pair: &&str| form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(parameter, _)| parameter == name);
    let left: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
    if left.is_empty() { before.to_owned() } else { format!("{before}?{}", left.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(headers: &[(&str, &str)], path: &str) -> Credentials {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Credentials { headers, query: parameters(path) }
    }

    #[test]
    fn a_credential_is_found_in_its_place() {
        let request = credentials(
            &[
                ("authorization", "bEARER  t1"),
                ("x-api-key", " k1 "),
                ("cookie", "a=1; session=\"c1\""),
                ("cookie", "b=2"),
            ],
            "/p?a=1&%6bey=q%201",
        );
        for (place, value) in [
            (Place::Bearer, "t1"),
            (Place::Header("x-api-key".to_owned()), "k1"),
            (Place::Cookie("session".to_owned()), "c1"),
            (Place::Query("key".to_owned()), "q 1"),
        ] {
            assert_eq!(request.find(std::slice::from_ref(&place)), Ok(Some(value)), "{place:?}");
        }
        assert_eq!(request.find(&[Place::Cookie("c".to_owned())]), Ok(None));
        assert_eq!(request.authorization("basic"), Ok(None));
    }

    #[test]
    fn several_credentials_are_none() {
        for (request, places) in [
            (credentials(&[("x-k", "1"), ("x-k", "1")], "/"), vec![Place::Header("x-k".to_owned())]),
            (credentials(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], "/"), vec![Place::Bearer]),
            (credentials(&[("cookie", "k=1; k=2")], "/"), vec![Place::Cookie("k".to_owned())]),
            (credentials(&[], "/?k=1&%6b=1"), vec![Place::Query("k".to_owned())]),
            (
                credentials(&[("x-k", "1")], "/?k=1"),
                vec![Place::Header("x-k".to_owned()), Place::Query("k".to_owned())],
            ),
        ] {
            assert_eq!(request.find(&places), Err(Ambiguous), "{places:?}");
        }
        assert_eq!(
            credentials(&[("authorization", "Basic a"), ("authorization", "x")], "/").authorization("basic"),
            Err(Ambiguous)
        );
    }

    #[test]
    fn an_empty_credential_is_none() {
        assert_eq!(credentials(&[("x-k", " ")], "/").find(&[Place::Header("x-k".to_owned())]), Ok(None));
        assert_eq!(credentials(&[("authorization", "Bearer ")], "/").find(&[Place::Bearer]), Ok(None));
    }

    #[test]
    fn a_credential_is_cut_out_and_the_rest_stays() {
        assert_eq!(without_parameter("/p?a=1&k=s&b=%7e", "k"), "/p?a=1&b=%7e");
        assert_eq!(without_parameter("/p?%6B=s", "k"), "/p");
        assert_eq!(without_parameter("/p", "k"), "/p");
        assert_eq!(without_cookie("a=1; k=s; b=2", "k").as_deref(), Some("a=1; b=2"));
        assert_eq!(without_cookie("k=s", "k"), None);
    }
}
