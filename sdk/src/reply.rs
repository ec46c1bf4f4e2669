//! A reply: an answer that a filter gives instead of the upstream.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use crate::error::{Error, Fault, Result};

/// An answer to the client. Return it as an error: `Err(Reply::new(204).into())`, or `bail!(403, "…")`.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
    details: String,
}

impl Reply {
    /// An empty answer.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), details: String::new() }
    }

    /// Adds a header; the same name may be added several times.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body. `content-length` is the host's.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Why this answer was given, for the access log; the client does not see it.
    #[must_use]
    pub fn details(mut self, details: impl fmt::Display) -> Self {
        self.details = details.to_string();
        self
    }

    /// A plain text.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status).header("content-type", "text/plain; charset=utf-8").body(text.into())
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// `value` cannot be written as JSON (a fault).
    pub fn json(status: u16, value: &impl Serialize) -> Result<Self> {
        let body =
            serde_json::to_vec(value).map_err(|error| Error::Fault(Fault::new(format!("reply body: {error}"))))?;
        Ok(Self::new(status).header("content-type", "application/json").body(body))
    }

    /// A problem (RFC 9457): a short title and what happened this time.
    #[must_use]
    pub fn problem(status: u16, title: &str, detail: &str) -> Self {
        // Strings only: writing any value as JSON would link code for all of them into every filter.
        let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let mut body = format!(r#"{{"title":{},"status":{status}"#, text(title));
        if !detail.is_empty() {
            body.push_str(",\"detail\":");
            body.push_str(&text(detail));
        }
        body.push('}');
        Self::new(status).header("content-type", "application/problem+json").body(body).details(detail)
    }

    /// The problem of `bail!`: the title is the status's own name.
    #[doc(hidden)]
    #[must_use]
    pub fn problem_for(status: u16, detail: impl fmt::Display) -> Self {
        Self::problem(status, reason(status), &detail.to_string())
    }

    /// A redirect (301, 302, 303, 307, 308).
    #[must_use]
    pub fn redirect(status: u16, url: &str) -> Self {
        Self::new(status).header("location", url)
    }

    /// 401 with a challenge (RFC 9110 §11.6.1), for instance `Bearer` or `Basic realm="api"`.
    #[must_use]
    pub fn unauthorized(challenge: &str) -> Self {
        Self::problem_for(401, "authentication is required").header("www-authenticate", challenge)
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// What the host is told.
    pub(crate) fn parts(&self) -> (&[(String, Vec<u8>)], &Bytes, &str) {
        (&self.headers, &self.body, &self.details)
    }
}

/// The names of the statuses that filters answer with (RFC 9110 §15); others are just errors.
const fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}
