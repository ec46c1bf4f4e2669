//! What a verified token claims, and whether that is enough.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::Refusal;

/// The claims that a token must make.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// Any of these issuers; empty: any at all.
    pub(crate) issuers: Vec<String>,
    /// Any of these audiences; empty: any at all.
    pub(crate) audiences: Vec<String>,
    /// Claims that must be there.
    pub(crate) required: Vec<String>,
    /// How far the clocks of issuer and gateway may be apart.
    pub(crate) leeway: Duration,
}

impl Expected {
    /// Whether a token of this issuer could be acceptable: decides which provider looks at it.
    #[must_use]
    pub(crate) fn is_from(&self, claims: &Map<String, Value>) -> bool {
        self.issuers.is_empty()
            || claims
                .get("iss")
                .and_then(Value::as_str)
                .is_some_and(|issuer| self.issuers.iter().any(|expected| expected == issuer))
    }

    /// Checks a verified token's claims (RFC 7519 §4.1) at this time.
    ///
    /// # Errors
    /// The first that is not as expected.
    pub(crate) fn check(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<(), Refusal> {
        if !self.is_from(claims) {
            return Err(Refusal::Issuer);
        }
        if !self.audiences.is_empty() && !self.is_for_us(claims.get("aud")) {
            return Err(Refusal::Audience);
        }
        if self.required.iter().any(|name| claims.get(name).is_none_or(Value::is_null)) {
            return Err(Refusal::Claims);
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        if let Some(expires) = date(claims, "exp")?
            && now >= expires + leeway
        {
            return Err(Refusal::Expired);
        }
        if let Some(begins) = date(claims, "nbf")?
            && now + leeway < begins
        {
            return Err(Refusal::Early);
        }
        date(claims, "iat").map(drop)
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let ours =
            |value: &Value| value.as_str().is_some_and(|name| self.audiences.iter().any(|expected| expected == name));
        match audience {
            Some(Value::Array(names)) => names.iter().any(ours),
            Some(name) => ours(name),
            None => false,
        }
    }
}

/// A `NumericDate`: seconds since the epoch.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(seconds)) => Ok(seconds.as_f64()),
        Some(_) => Err(Refusal::Claims),
    }
}

/// A claim as the value of a header: text as it is, everything else as JSON. A name that begins with `/` is a JSON Pointer.
/// `None`: there is none, or it could not stand in a header.
#[must_use]
pub(crate) fn header_value(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let claim = match name.strip_prefix('/') {
        Some(pointer) => {
            let (first, rest) = pointer.find('/').map_or((pointer, ""), |slash| pointer.split_at(slash));
            claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)?
        }
        None => claims.get(name)?,
    };
    let text = match claim {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (!text.is_empty() && !text.chars().any(char::is_control) && text.trim() == text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(expected: &Expected, claims: &Value) -> Result<(), Refusal> {
        expected.check(claims.as_object().unwrap(), SystemTime::UNIX_EPOCH + Duration::from_secs(1000))
    }

    #[test]
    fn a_token_is_good_between_its_dates_give_or_take_the_leeway() {
        let expected = Expected { leeway: Duration::from_secs(30), ..Expected::default() };
        for (claims, outcome) in [
            (json!({"exp": 1001}), Ok(())),
            (json!({"exp": 971}), Ok(())),
            (json!({"exp": 970}), Err(Refusal::Expired)),
            (json!({"exp": 970.5}), Ok(())),
            (json!({"exp": -1}), Err(Refusal::Expired)),
            (json!({"exp": 1e300}), Ok(())),
            (json!({"exp": "1001"}), Err(Refusal::Claims)),
            (json!({"exp": null}), Err(Refusal::Claims)),
            (json!({"nbf": 1030}), Ok(())),
            (json!({"nbf": 1031}), Err(Refusal::Early)),
            (json!({"nbf": true}), Err(Refusal::Claims)),
            (json!({"iat": "x"}), Err(Refusal::Claims)),
            (json!({"iat": 5000}), Ok(())),
            (json!({}), Ok(())),
        ] {
            assert_eq!(check(&expected, &claims), outcome, "{claims}");
        }
    }

    #[test]
    fn issuer_audience_and_required_claims_are_compared_exactly() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expected = Expected {
            issuers: list(&["https://a.example", "https://b.example"]),
            audiences: list(&["api", "api2"]),
            required: list(&["sub"]),
            leeway: Duration::ZERO,
        };
        let good = json!({"iss": "https://b.example", "aud": ["x", "api"], "sub": "s"});
        assert_eq!(check(&expected, &good), Ok(()));
        for (name, value, refusal) in [
            ("iss", json!("https://a.example/"), Refusal::Issuer),
            ("iss", json!(["https://a.example"]), Refusal::Issuer),
            ("iss", json!(null), Refusal::Issuer),
            ("aud", json!("ap"), Refusal::Audience),
            ("aud", json!(["x"]), Refusal::Audience),
            ("aud", json!([]), Refusal::Audience),
            ("aud", json!({"api": 1}), Refusal::Audience),
            ("aud", json!(null), Refusal::Audience),
            ("sub", json!(null), Refusal::Claims),
        ] {
            let mut claims = good.clone();
            claims[name] = value;
            assert_eq!(check(&expected, &claims), Err(refusal), "{claims}");
        }
    }

    #[test]
    fn only_what_can_stand_in_a_header_becomes_one() {
        let claims = json!({"s": "é", "n": 5, "a": ["x", 1], "o": {"b": {"c": "deep"}}, "a/b": 1, "crlf": "a\r\nb", "e": "", "z": null, "sp": " x"});
        for (name, expected) in [
            ("s", Some("é")),
            ("n", Some("5")),
            ("a", Some(r#"["x",1]"#)),
            ("/o/b/c", Some("deep")),
            ("/a~1b", Some("1")),
            ("a/b", Some("1")),
            ("/a/1", Some("1")),
            ("crlf", None),
            ("e", None),
            ("z", None),
            ("sp", None),
            ("absent", None),
        ] {
            assert_eq!(header_value(claims.as_object().unwrap(), name).as_deref(), expected, "{name}");
        }
    }
}
