//! Edits JSON bodies: adds fields to requests, takes fields out of responses.
//!
//! ```json
//! { "use": "edit-json", "config": { "add": { "source": "gateway" }, "remove": ["password", "internal_id"] } }
//! ```

use std::collections::BTreeMap;

use sluicegate_sdk::prelude::*;

/// Adds fields to JSON requests and takes fields out of JSON responses.
#[derive(Config)]
pub struct EditJson {
    /// Set in each request whose body is an object.
    #[config(default)]
    add: BTreeMap<String, Json>,
    /// Taken out of each response, at any depth.
    #[config(default)]
    remove: Vec<String>,
}

#[filter]
impl Filter for EditJson {
    async fn request(&self, req: &mut Request) -> Result {
        if self.add.is_empty() || !is_json(req.headers()) {
            return Ok(());
        }
        let mut body: Json = req.json().await?;
        let object = body.as_object_mut().or_reply(400, "the body is not a JSON object")?;
        object.extend(self.add.iter().map(|(name, value)| (name.clone(), value.clone())));
        req.set_json(&body)
    }

    async fn response(&self, res: &mut Response) -> Result {
        if self.remove.is_empty() || !is_json(res.headers()) {
            return Ok(());
        }
        let mut body: Json = res.json().await?;
        self.strip(&mut body);
        res.set_json(&body)
    }
}

impl EditJson {
    fn strip(&self, json: &mut Json) {
        match json {
            Json::Object(fields) => {
                fields.retain(|name, _| !self.remove.contains(name));
                fields.values_mut().for_each(|value| self.strip(value));
            }
            Json::Array(values) => values.iter_mut().for_each(|value| self.strip(value)),
            _ => {}
        }
    }
}

fn is_json(headers: Headers<'_>) -> bool {
    headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicegate_sdk::test::{Harness, TestReply};

    fn gateway() -> Harness<EditJson> {
        Harness::new(json!({ "add": { "source": "gateway" }, "remove": ["password"] })).unwrap()
    }

    #[test]
    fn requests_get_fields_and_keep_their_length_right() {
        for pieces in [0, 1, 3, 7] {
            let out = gateway().post("/users").json(&json!({ "name": "ada" })).chunked(pieces).send();
            let received = out.upstream_request().unwrap();
            assert_eq!(received.text(), r#"{"name":"ada","source":"gateway"}"#);
            assert_eq!(received.header("content-length"), Some("33"));
        }
    }

    #[test]
    fn responses_lose_fields_at_any_depth() {
        let users =
            TestReply::json(200, json!([{ "name": "ada", "password": "x" }, { "friend": { "password": "y" } }]));
        let out = gateway().get("/users").upstream_reply(users.chunked(3)).send();
        assert_eq!(out.json::<Json>(), json!([{ "name": "ada" }, { "friend": {} }]));
    }

    #[test]
    fn what_is_not_json_passes_untouched() {
        let out = gateway().post("/").header("content-type", "text/plain").body("password").chunked(2).send();
        assert_eq!(out.upstream_request().unwrap().text(), "password");
    }

    #[test]
    fn bad_json_is_the_clients_mistake() {
        let out = gateway().post("/").header("content-type", "application/json").body("{").send();
        assert_eq!(out.status(), 400);
        assert!(!out.reached_upstream());
    }
}
