//! The two macros of `sluicegate-sdk`: `#[filter]` and `#[derive(Config)]`. They are documented where they are re-exported,
//! in the SDK; what they produce names only items of the SDK.

mod attributes;
mod config;
mod filter;
mod phases;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemImpl, parse_macro_input};

/// Turns an `impl Filter for …` block into a plugin: the exports, the timers, the manifest and the schema section.
///
/// `#[filter(request_body)]` and `#[filter(response_body)]` list body callbacks that the macro cannot see, because a function
/// outside the block reads the body.
#[proc_macro_attribute]
pub fn filter(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let block = parse_macro_input!(item as ItemImpl);
    filter::expand(arguments.into(), block).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct or an enum a configuration: read from JSON with exact errors, and described by a JSON Schema.
///
/// Field attributes: `#[config(default)]`, `#[config(default = …)]`, `#[config(min = …, max = …)]`, `#[config(rename = "…")]`.
#[proc_macro_derive(Config, attributes(config))]
pub fn config(item: TokenStream) -> TokenStream {
    let input = parse_macro_input!(item as DeriveInput);
    config::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
