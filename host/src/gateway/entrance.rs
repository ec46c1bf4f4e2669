//! Which listener a request that is to be explained comes to.

use anyhow::Context;
use http::Uri;
use http::uri::Scheme;

use crate::config::{Config, Listener, closest};

/// The listener for HTTP of that name or address. When none is asked for, the one that scheme and port of the URL tell, or else the
/// first that fits them; what was not clear about that is said with it.
///
/// # Errors
/// There is no such listener.
pub(super) fn entrance<'a>(
    config: &'a Config,
    asked: Option<&str>,
    url: &Uri,
) -> anyhow::Result<(&'a Listener, Option<String>)> {
    let http: Vec<&Listener> = config.listeners.iter().filter(|listener| listener.tcp.is_none()).collect();
    let Some(asked) = asked else { return by_url(&http, url).context("there is no listener for HTTP") };
    let found = http.iter().find(|listener| name_of(listener) == asked || listener.address.to_string() == asked);
    let found = found.with_context(|| {
        let names: Vec<String> = http.iter().map(|listener| name_of(listener)).collect();
        let meant = closest(asked, names.iter().map(String::as_str));
        let meant = meant.map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
        format!("unknown listener \"{asked}\"{meant}")
    })?;
    Ok((found, None))
}

fn by_url<'a>(http: &[&'a Listener], url: &Uri) -> Option<(&'a Listener, Option<String>)> {
    let secure = url.scheme().map(|scheme| *scheme == Scheme::HTTPS);
    let port = url.port_u16().or(secure.map(|secure| if secure { 443 } else { 80 }));
    let has_scheme = |listener: &&&Listener| secure.is_none_or(|secure| listener.tls.is_some() == secure);
    let has_port =
        |listener: &&&Listener| listener.address.network().is_some_and(|address| Some(address.port()) == port);
    let both: Vec<_> = http.iter().filter(has_scheme).filter(has_port).copied().collect();
    let by_scheme: Vec<_> = http.iter().filter(has_scheme).copied().collect();
    let fitting = [&both[..], &by_scheme[..], http].into_iter().find(|fitting| !fitting.is_empty())?;
    let first = *fitting.first()?;
    let note = if by_scheme.is_empty() {
        let scheme = url.scheme_str().unwrap_or_default();
        Some(format!("no listener speaks {scheme}, and {} is taken: --listener chooses", name_of(first)))
    } else if fitting.len() > 1 {
        let names: Vec<String> = fitting.iter().map(|listener| name_of(listener)).collect();
        Some(format!("several listeners fit, and the first is taken: --listener chooses of {}", names.join(", ")))
    } else {
        None
    };
    Some((first, note))
}

/// How people call it.
pub(super) fn name_of(listener: &Listener) -> String {
    listener.name.as_deref().map_or_else(|| listener.address.to_string(), str::to_owned)
}
