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
mod template;
#[cfg(test)]
mod tests;

use sluicegate_sdk::prelude::*;

pub use config::{EditsConfig, PathConfig, PrefixConfig, RegexConfig, RequestConfig, ResponseConfig, TransformConfig};
use edits::{Edits, Filled};
use json::Pointer;
use path::PathEdit;

/// The filter.
pub struct Transform {
    path: Option<PathEdit>,
    query: Edits<String>,
    request: MessageEdits,
    response: MessageEdits,
}

/// Changes to what requests and responses have in common.
struct MessageEdits {
    headers: Edits<String>,
    json: Edits<Pointer>,
}

#[filter]
impl Filter for Transform {
    type Config = TransformConfig;

    fn new(config: TransformConfig) -> Result<Self> {
        let TransformConfig { request, response } = config;
        Ok(Self {
            path: request.path.map(PathEdit::new).transpose().map_err(Fault::new)?,
            query: Edits::new(&request.query, |name| Ok(name.to_owned()), false).map_err(Fault::new)?,
            request: MessageEdits::new(&request.headers, &request.json, false).map_err(Fault::new)?,
            response: MessageEdits::new(&response.headers, &response.json, true).map_err(Fault::new)?,
        })
    }

    async fn request(&self, req: &mut Request) -> Result {
        // Everything is filled in before anything is changed: placeholders stand for the request as it came.
        let headers = self.request.headers.fill(|name| template::of_request(req, name));
        let document = self.request.document(req.headers(), |name| template::of_request(req, name));
        self.rewrite(req)?;
        if let Some(edits) = document {
            ensure!(!req.headers().contains("content-encoding"), 415, "The body has a content encoding.");
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
        edits::headers(req.headers(), &headers);
        Ok(())
    }

    async fn response(&self, res: &mut Response) -> Result {
        let headers = self.response.headers.fill(|name| template::of_response(res, name));
        if let Some(edits) = self.response.document(res.headers(), |name| template::of_response(res, name)) {
            let body = res.body().await?;
            if !body.is_empty() {
                // What was to be removed must not get out because it could not be read.
                res.set_body(json::apply(&body, &edits).or_reply(502, "The upstream's answer is not JSON.")?);
            }
        }
        edits::headers(res.headers(), &headers);
        Ok(())
    }
}

impl Transform {
    /// Path and query.
    fn rewrite(&self, req: &mut Request) -> Result {
        if self.path.is_none() && self.query.is_empty() {
            return Ok(());
        }
        let fact = |name: &str| template::of_request(req, name);
        let whole = req.path();
        let (path, query) = whole.split_once('?').unwrap_or((&whole, ""));
        let edited = self.path.as_ref().and_then(|edit| edit.apply(path, fact));
        if let Some(path) = &edited {
            ensure!(!path::climbs(path), 400, "The request leads to a path that is not served.");
        }
        let query = edits::query(query, &self.query.fill(fact));
        let mark = if query.is_empty() { "" } else { "?" };
        req.set_path(&format!("{}{mark}{query}", edited.as_deref().unwrap_or(path)));
        Ok(())
    }
}

impl MessageEdits {
    fn new(headers: &EditsConfig, json: &EditsConfig, in_response: bool) -> Result<Self, String> {
        Ok(Self {
            headers: Edits::new(headers, edits::header_name, in_response)?,
            json: Edits::new(json, json::pointer, in_response)?,
        })
    }

    /// The changes to the body, if there are any and it says that it is JSON.
    fn document(&self, headers: Headers<'_>, fact: impl Fn(&str) -> Option<String>) -> Option<Filled<'_, Pointer>> {
        let is_json = || headers.get_str("content-type").is_some_and(|content_type| json::is_json(&content_type));
        (!self.json.is_empty() && is_json()).then(|| self.json.fill(fact))
    }
}
