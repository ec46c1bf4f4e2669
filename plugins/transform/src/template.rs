//! Texts with placeholders, `user-{consumer}`, and what placeholders stand for.

use sluicegate_sdk::prelude::*;

const OF_REQUEST: &str = "request.path request.method request.host request.id client.ip consumer route";

/// The text with `fact` filled in; `{{` and `}}` are braces. The error says what is wrong with the text.
pub(crate) fn render(text: &str, fact: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut rendered, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        rendered.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            rendered.push_str(brace);
            rest = after;
            continue;
        }
        let (name, after) = after
            .split_once('}')
            .filter(|_| brace == "{")
            .ok_or_else(|| format!("{text:?} has a lone \"{brace}\"; write it twice to mean itself"))?;
        rendered.push_str(&fact(name).ok_or_else(|| format!("{text:?}: there is no placeholder {{{name}}} here"))?);
        rest = after;
    }
    Ok(rendered + rest)
}

/// Whether a text can be filled in.
pub(crate) fn check(text: &str, in_response: bool) -> Result<(), String> {
    let has_name = |name: &str, prefix| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    let known = |name: &str| {
        OF_REQUEST.split(' ').any(|known| known == name)
            || has_name(name, "request.header.")
            || has_name(name, "request.query.")
            || in_response && (name == "response.status" || has_name(name, "response.header."))
    };
    render(text, |name| known(name).then(String::new)).map(drop)
}

/// What a placeholder stands for in a request; what is not known is empty.
pub(crate) fn of_request(req: &Request, name: &str) -> Option<String> {
    if let Some(header) = name.strip_prefix("request.header.") {
        return Some(all_values(req.headers(), header));
    }
    if let Some(parameter) = name.strip_prefix("request.query.") {
        return Some(req.query(parameter).unwrap_or_default());
    }
    Some(match name {
        "request.path" => req.path_only(),
        "request.method" => req.method(),
        "request.host" => req.authority(),
        "request.id" => req.id(),
        "client.ip" => req.client_ip().map(|ip| ip.to_string()).unwrap_or_default(),
        "consumer" => req.consumer().unwrap_or_default(),
        "route" => req.route(),
        _ => return None,
    })
}

/// What a placeholder stands for in a response.
pub(crate) fn of_response(res: &Response, name: &str) -> Option<String> {
    match name.strip_prefix("response.header.") {
        Some(header) => Some(all_values(res.headers(), header)),
        None if name == "response.status" => Some(res.status().to_string()),
        None => of_request(res.request(), name),
    }
}

fn all_values(headers: Headers<'_>, name: &str) -> String {
    let values = headers.get_all(name);
    values.iter().map(HeaderValue::to_string_lossy).collect::<Vec<_>>().join(", ")
}
