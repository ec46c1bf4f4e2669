//! Changes requests and responses on their way: headers, query, path and JSON bodies.
//!
//! Values may have placeholders: `{request.header.NAME}`, `{request.query.NAME}`, `{request.path}`, `{request.method}`,
//! `{request.host}`, `{request.id}`, `{client.ip}`, `{consumer}`, `{route}`; in responses also `{response.status}` and
//! `{response.header.NAME}`. They stand for the message as it came to this filter, and what they bring in is made safe for
//! its place.
//! A body is only read when its configuration asks for it and its content type is JSON.
//!
//! ```json
//! { "request": { "path": { "prefix": { "from": "/api", "to": "/v2" } },
//!                "headers": { "set": { "x-user": "{consumer}" }, "remove": ["cookie"] },
//!                "json": { "set": { "/meta/ip": "{client.ip}" } } },
//!   "response": { "headers": { "remove": ["server"] }, "json": { "remove": ["/internal"] } } }
//! ```

mod config;
mod edits;
mod json;
mod path;
mod query;
mod template;
#[cfg(test)]
mod tests;

use sluicegate_sdk::prelude::*;

pub use config::{
    FieldsConfig, InvalidJson, JsonConfig, PathConfig, PrefixConfig, RegexConfig, RequestConfig, ResponseConfig,
    TransformConfig,
};
use edits::{FieldEdits, Filled, JsonEdits};
use path::PathEdit;
use template::{Facts, Place, Placeholder};

/// The filter.
pub struct Transform {
    request: RequestEdits,
    response: ResponseEdits,
}

struct RequestEdits {
    path: Option<PathEdit>,
    query: FieldEdits,
    headers: FieldEdits,
    json: JsonEdits,
}

struct ResponseEdits {
    headers: FieldEdits,
    json: JsonEdits,
    invalid: InvalidJson,
}

#[filter]
impl Filter for Transform {
    type Config = TransformConfig;

    fn new(config: TransformConfig) -> Result<Self> {
        Ok(Self::checked(config).map_err(Fault::new)?)
    }

    async fn request(&self, req: &mut Request) -> Result {
        let edits = &self.request;
        // Everything is filled in before anything is changed: placeholders stand for the request as it came.
        let headers = edits.headers.fill(Place::Header, &*req);
        let document = (!edits.json.is_empty() && says_json(req.headers())).then(|| edits.json.fill(&*req));
        edits.rewrite(req)?;
        if let Some(edits) = document {
            ensure!(
                !req.headers().contains("content-encoding"),
                415,
                "The body has a content encoding, which is not read here."
            );
            let body = req.body().await?;
            if !body.is_empty() {
                req.set_body(json::apply(&body, &edits).or_reply(400, "The body is not JSON.")?);
            }
        }
        if !self.response.json.is_empty() {
            // The answer has to be readable here: not compressed, and not a part of the document only.
            req.headers().set("accept-encoding", "identity");
            req.headers().remove("range");
        }
        apply(req.headers(), &headers);
        Ok(())
    }

    async fn response(&self, res: &mut Response) -> Result {
        let edits = &self.response;
        let headers = edits.headers.fill(Place::Header, &*res);
        if !edits.json.is_empty() && says_json(res.headers()) {
            let document = edits.json.fill(&*res);
            let body = res.body().await?;
            match json::apply(&body, &document) {
                _ if body.is_empty() => {}
                Ok(edited) => res.set_body(edited),
                Err(_) if edits.invalid == InvalidJson::Pass => {}
                Err(error) => {
                    warn!("the response is not the JSON that it says it is: {error}");
                    bail!(502, "The upstream's answer could not be read.");
                }
            }
        }
        apply(res.headers(), &headers);
        Ok(())
    }
}

impl Transform {
    fn checked(config: TransformConfig) -> Result<Self, String> {
        let TransformConfig { request, response } = config;
        let request = RequestEdits {
            path: request.path.as_ref().map(PathEdit::new).transpose()?,
            query: FieldEdits::query(request.query)?,
            headers: FieldEdits::headers(request.headers)?,
            json: JsonEdits::new(request.json)?,
        };
        if request.query.needs_response() || request.headers.needs_response() || request.json.needs_response() {
            return Err("request: {response.…} is not known before there is a response".to_owned());
        }
        let headers = FieldEdits::headers(response.headers)?;
        let json = JsonEdits::new(response.json)?;
        Ok(Self { request, response: ResponseEdits { headers, json, invalid: response.invalid_json } })
    }
}

impl RequestEdits {
    /// Path and query.
    fn rewrite(&self, req: &mut Request) -> Result {
        if self.path.is_none() && self.query.is_empty() {
            return Ok(());
        }
        let whole = req.path();
        let (path, query) = whole.split_once('?').unwrap_or((&whole, ""));
        let edited = self.path.as_ref().and_then(|edit| edit.apply(path, &*req));
        if let Some(path) = &edited {
            ensure!(!path::climbs(path), 400, "The request leads to a path that is not served.");
        }
        let query = query::apply(&self.query.fill(Place::Text, &*req), query);
        let mut target = edited.unwrap_or_else(|| path.to_owned());
        if !query.is_empty() {
            target.push('?');
            target.push_str(&query);
        }
        req.set_path(&target);
        Ok(())
    }
}

fn says_json(headers: Headers<'_>) -> bool {
    headers.get_str("content-type").is_some_and(|content_type| json::is_json(&content_type))
}

fn apply(headers: Headers<'_>, edits: &Filled) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (from, to) in &edits.rename {
        let values = headers.get_all(from);
        if !values.is_empty() {
            headers.remove(from);
            headers.remove(to);
            for value in values {
                headers.append(to, value);
            }
        }
    }
    for (name, value) in &edits.set {
        headers.set(name, value);
    }
    for (name, value) in &edits.add {
        headers.append(name, value);
    }
}

impl Facts for Request {
    fn value(&self, placeholder: &Placeholder) -> String {
        match placeholder {
            Placeholder::RequestHeader(name) => joined(self.headers(), name),
            Placeholder::RequestQuery(name) => self.query(name).unwrap_or_default(),
            Placeholder::RequestPath => self.path_only(),
            Placeholder::RequestMethod => self.method(),
            Placeholder::RequestHost => self.authority(),
            Placeholder::RequestId => self.id(),
            Placeholder::ClientIp => self.client_ip().map(|ip| ip.to_string()).unwrap_or_default(),
            Placeholder::Consumer => self.consumer().unwrap_or_default(),
            Placeholder::Route => self.route(),
            // Refused when the configuration was checked.
            Placeholder::ResponseStatus | Placeholder::ResponseHeader(_) => String::new(),
        }
    }
}

impl Facts for Response {
    fn value(&self, placeholder: &Placeholder) -> String {
        match placeholder {
            Placeholder::ResponseStatus => self.status().to_string(),
            Placeholder::ResponseHeader(name) => joined(self.headers(), name),
            of_request => self.request().value(of_request),
        }
    }
}

/// All values of a header.
fn joined(headers: Headers<'_>, name: &str) -> String {
    let values = headers.get_all(name);
    let values: Vec<_> = values.iter().map(HeaderValue::to_string_lossy).collect();
    values.join(", ")
}
