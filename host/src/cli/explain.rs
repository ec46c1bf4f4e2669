//! `sluicegate explain`: what would happen to one request, and why. Nothing is sent.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;

use super::Exit;
use super::check::{Output, print_problems, say, warn_line};
use crate::gateway::{self, Explanation, Question, StartError};

#[derive(Args)]
pub(super) struct Options {
    /// The request's method.
    method: Method,
    /// Its URL, or its path: then the host is that of `-H host:`, or else its listener's address.
    #[arg(value_parser = url)]
    url: Uri,
    /// A header of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The listener that it comes to, by its name or address; without, the one that scheme and port of the URL tell.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// How the result is written to standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn exec(config: &Path, options: Options) -> Exit {
    let Options { method, url, headers, listener, output } = options;
    let explanation = match gateway::explain(config, &Question { method, url, headers, listener }) {
        Ok(explanation) => explanation,
        Err(StartError::Invalid(problems)) => {
            print_problems(&problems);
            return Exit::Invalid;
        }
        Err(StartError::Environment(error)) => {
            warn_line(&format!("sluicegate: {error:#}"));
            return Exit::Environment;
        }
    };
    match output {
        Output::Text => say(text(&explanation).trim_end()),
        Output::Json => say(&format!("{:#}", explanation.to_json())),
    }
    if explanation.route().is_some() { Exit::Ok } else { Exit::Invalid }
}

/// A URL, with or without its scheme, or a path.
fn url(text: &str) -> Result<Uri, String> {
    let whole = if text.starts_with('/') || text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    whole.parse().map_err(|error| format!("expected a URL such as http://api.example/users, or a path: {error}"))
}

/// `name: value`
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected \"name: value\"")?;
    let name = name.trim().parse().map_err(|_| "not a header's name")?;
    let value = value.trim().parse().map_err(|_| "not a header's value")?;
    Ok((name, value))
}

/// For people. Writing to a String cannot fail.
fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    for note in &explanation.notes {
        writeln!(text, "note       {note}").ok();
    }
    for (name, value) in explanation.request.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        writeln!(text, "{name:<10} {}", bare(value)).ok();
    }
    if let Some((status, reason)) = &explanation.refused {
        writeln!(text, "refused    {status}: {reason}").ok();
        return text;
    }
    writeln!(text, "route      {}", explanation.route().unwrap_or("none takes it")).ok();
    let width = explanation.routes.iter().map(|verdict| verdict.route.chars().count()).max().unwrap_or_default();
    text.push_str("\nroutes\n");
    for verdict in &explanation.routes {
        let mark = if verdict.taken { '*' } else { ' ' };
        writeln!(text, "{mark} {:<width$}  {}", verdict.route, verdict.because).ok();
    }
    text.push_str("\nfilters\n");
    if explanation.filters.is_empty() {
        text.push_str("  none\n");
    }
    let mut place = 0;
    for step in &explanation.filters {
        let gateway::Step { path, plugin, digest, skipped, config } = step;
        match skipped {
            None => {
                place += 1;
                let config = if config.is_null() { String::new() } else { config.to_string() };
                writeln!(text, "{place:>2} {plugin} {digest} {path} {config}").ok();
            }
            Some(because) => {
                writeln!(text, " - {plugin} {digest} {path} skipped: {because}").ok();
            }
        }
    }
    text.push_str("\nthen, unless a filter changes it\n");
    for (name, value) in explanation.then.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("upstreams", Value::Array(shares)) => shares.iter().for_each(|share| {
                let targets: Vec<String> = share["targets"].as_array().into_iter().flatten().map(bare).collect();
                writeln!(text, "  upstream   {} {}% {}", bare(&share["upstream"]), share["percent"], targets.join(" "))
                    .ok();
            }),
            _ => {
                writeln!(text, "  {name:<10} {}", bare(value)).ok();
            }
        }
    }
    text
}

/// A text without quotes, another value as JSON.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
