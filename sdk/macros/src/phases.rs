//! Finds out what a phase function does with its message's body, so that the host calls only for what is used.
//!
//! The macro sees tokens, not types: it looks for `req.body(`, where `req` is the function's own parameter. A function that
//! hands the message to another one says so with `#[filter(request_body)]`.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, ImplItemFn, Pat};

/// Methods that need the body callbacks.
const READS: [&str; 6] = ["body", "json", "chunk", "write", "set_body", "set_json"];
/// Methods that edit the body while it streams.
const STREAMS: [&str; 2] = ["chunk", "write"];

/// What one phase does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Phase {
    /// The author wrote it.
    pub(crate) written: bool,
    /// It reads or replaces the body.
    pub(crate) body: bool,
    /// It edits the body as it streams.
    pub(crate) streams: bool,
}

/// Reads a phase function.
pub(crate) fn phase(function: &ImplItemFn) -> Phase {
    let mut phase = Phase { written: true, ..Phase::default() };
    let parameter = function.sig.inputs.iter().nth(1).and_then(|input| match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(name) => Some(name.ident.to_string()),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    });
    if let Some(parameter) = parameter {
        scan(function.block.to_token_stream(), &parameter, &mut phase);
    }
    phase
}

/// Looks for `parameter . method`, in every group of tokens.
fn scan(tokens: TokenStream, parameter: &str, phase: &mut Phase) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => scan(group.stream(), parameter, phase),
            TokenTree::Ident(ident) if ident == parameter => {
                if let Some(method) = method(&tokens[index + 1..]) {
                    phase.body |= READS.contains(&method.as_str());
                    phase.streams |= STREAMS.contains(&method.as_str());
                }
            }
            _ => {}
        }
    }
}

/// The method called: `.name(…)` or `.name::<…>(…)`.
fn method(rest: &[TokenTree]) -> Option<String> {
    let [TokenTree::Punct(dot), TokenTree::Ident(name), after, ..] = rest else { return None };
    let called = match after {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
        TokenTree::Punct(colon) => colon.as_char() == ':',
        _ => false,
    };
    (dot.as_char() == '.' && called).then(|| name.to_string())
}
