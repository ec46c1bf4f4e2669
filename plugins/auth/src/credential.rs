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
#[derive(Debug)]
pub(crate) struct Ambiguous;

/// The one credential in these places; `None`: there is none.
pub(crate) fn find(req: &Request, places: &[Place]) -> Result<Option<String>, Ambiguous> {
    let mut found = None;
    for place in places {
        for value in place.values(req)? {
            if found.replace(value).is_some() {
                return Err(Ambiguous);
            }
        }
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// What follows `scheme` in `Authorization` (RFC 9110 §11.4); `None`: there is none, or another scheme.
pub(crate) fn authorization(req: &Request, scheme: &str) -> Result<Option<String>, Ambiguous> {
    match values(req, "authorization").as_slice() {
        [] => Ok(None),
        [field] => Ok(field
            .trim()
            .split_once(' ')
            .and_then(|(found, rest)| found.eq_ignore_ascii_case(scheme).then(|| rest.trim_start().to_owned()))),
        _ => Err(Ambiguous),
    }
}

impl Place {
    fn values(&self, req: &Request) -> Result<Vec<String>, Ambiguous> {
        Ok(match self {
            Self::Bearer => authorization(req, "bearer")?.into_iter().collect(),
            Self::Header(name) => values(req, name).iter().map(|value| value.trim().to_owned()).collect(),
            Self::Cookie(name) => {
                let fields = values(req, "cookie");
                let pairs = fields.iter().flat_map(|field| field.split(';')).filter_map(|pair| pair.split_once('='));
                let named = pairs.filter(|(cookie, _)| cookie.trim() == name);
                named.map(|(_, value)| value.trim().trim_matches('"').to_owned()).collect()
            }
            Self::Query(name) => {
                req.query_pairs().into_iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect()
            }
        })
    }

    /// Takes the credential out, so that the upstream does not see it. Everything else stays byte for byte.
    pub(crate) fn strip(&self, req: &mut Request) {
        match self {
            Self::Bearer => req.headers().remove("authorization"),
            Self::Header(name) => req.headers().remove(name),
            Self::Cookie(name) => {
                let fields = values(req, "cookie");
                req.headers().remove("cookie");
                for field in fields {
                    let others = field.split(';').map(str::trim).filter(|pair| !pair.is_empty());
                    let left: Vec<_> =
                        others.filter(|pair| pair.split('=').next().unwrap_or(pair).trim() != name).collect();
                    if !left.is_empty() {
                        req.headers().append("cookie", left.join("; "));
                    }
                }
            }
            Self::Query(name) => {
                let (path, decoded) = (req.path(), req.query_pairs());
                let Some((before, query)) = path.split_once('?') else { return };
                let pairs = query.split('&').filter(|pair| !pair.is_empty()).zip(decoded);
                let left: Vec<_> = pairs.filter(|(_, (found, _))| found != name).map(|(pair, _)| pair).collect();
                let mark = if left.is_empty() { "" } else { "?" };
                req.set_path(&format!("{before}{mark}{}", left.join("&")));
            }
        }
    }
}

fn values(req: &Request, name: &str) -> Vec<String> {
    req.headers().get_all(name).iter().map(|value| value.to_string_lossy().into_owned()).collect()
}
