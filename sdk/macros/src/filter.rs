//! `#[filter]`: splits an `impl Filter for …` block into the author's functions (inherent, `async` or not) and the glue that
//! the SDK calls, and adds what a module needs: entry point, manifest, schema.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{
    Error, Expr, FnArg, Ident, ImplItem, ImplItemFn, ImplItemType, ItemImpl, Lit, Result, ReturnType, Token, Type,
    parse::Parser,
};

use crate::phases::{Phase, phase};

#[cfg(test)]
mod tests;

/// The parts of the block, sorted.
#[derive(Default)]
struct Parts {
    config: Option<ImplItemType>,
    new: Option<ImplItemFn>,
    request: Option<ImplItemFn>,
    response: Option<ImplItemFn>,
    start: Option<ImplItemFn>,
    done: Option<ImplItemFn>,
    timers: Vec<(Expr, ImplItemFn)>,
}

/// The whole output.
pub(crate) fn expand(arguments: TokenStream, block: ItemImpl) -> Result<TokenStream> {
    let is_filter =
        block.trait_.as_ref().is_some_and(|(_, path, _)| path.segments.last().is_some_and(|s| s.ident == "Filter"));
    if !is_filter || !block.generics.params.is_empty() {
        return Err(Error::new_spanned(&block.self_ty, "expected `impl Filter for Type`, without generic parameters"));
    }
    let filter = block.self_ty.clone();
    let parts = sort(block.items)?;
    let mut request = parts.request.as_ref().map(phase).unwrap_or_default();
    let mut response = parts.response.as_ref().map(phase).unwrap_or_default();
    for argument in Punctuated::<Ident, Token![,]>::parse_terminated.parse2(arguments)? {
        match argument.to_string().as_str() {
            "request_body" => request.body = true,
            "response_body" => response.body = true,
            _ => return Err(Error::new_spanned(argument, "expected request_body or response_body")),
        }
    }
    let glue = glue(&filter, &parts, request, response)?;
    let sections = sections(&filter, &manifest(request, response, parts.done.is_some()));
    let Parts { request, response, start, done, timers, .. } = parts;
    let functions =
        [request, response, start, done].into_iter().flatten().chain(timers.into_iter().map(|(_, timer)| timer));
    Ok(quote! {
        impl #filter { #(#functions)* }
        #glue
        #sections
    })
}

fn sort(items: Vec<ImplItem>) -> Result<Parts> {
    let mut parts = Parts::default();
    for item in items {
        match item {
            ImplItem::Type(config) if config.ident == "Config" => parts.config = Some(config),
            ImplItem::Fn(function) => sort_function(function, &mut parts)?,
            other => return Err(Error::new_spanned(other, "a filter block has functions and `type Config`")),
        }
    }
    if let (Some(config), None) = (&parts.config, &parts.new) {
        return Err(Error::new_spanned(
            config,
            "with its own configuration type a filter needs `fn new(config: …) -> Result<Self>`",
        ));
    }
    Ok(parts)
}

fn sort_function(mut function: ImplItemFn, parts: &mut Parts) -> Result<()> {
    if let Some(index) = function.attrs.iter().position(|attribute| attribute.path().is_ident("every")) {
        let every = function.attrs.remove(index).parse_args::<Expr>()?;
        parts.timers.push((every, function));
        return Ok(());
    }
    let place = match function.sig.ident.to_string().as_str() {
        "new" => &mut parts.new,
        "request" => &mut parts.request,
        "response" => &mut parts.response,
        "start" => &mut parts.start,
        "done" => &mut parts.done,
        _ => {
            let message = "not a phase of a filter: new, request, response, done, start, or a function with #[every(…)]; \
                           other functions belong into an `impl` block of their own";
            return Err(Error::new_spanned(&function.sig.ident, message));
        }
    };
    *place = Some(function);
    Ok(())
}

/// `impl Filter`, as the SDK calls it.
fn glue(filter: &Type, parts: &Parts, request: Phase, response: Phase) -> Result<TokenStream> {
    let (config, new) = construction(parts)?;
    let request_call = message_call(parts.request.as_ref(), &format_ident!("Request"), &format_ident!("__request"));
    let response_call = message_call(parts.response.as_ref(), &format_ident!("Response"), &format_ident!("__response"));
    let start_call = parts.start.as_ref().map(|function| {
        let run = run(function, &quote!());
        quote!(fn __start(self: ::std::rc::Rc<Self>) -> ::sluicegate_sdk::__private::Phase { #run })
    });
    let done_call = parts.done.as_ref().map(|_| {
        quote!(
            fn __done(&self, end: &::sluicegate_sdk::End) {
                Self::done(self, end);
            }
        )
    });
    let timers = timers(&parts.timers);
    let flags = [
        ("request", request.written),
        ("request_body", request.body),
        ("request_streams", request.streams),
        ("response", response.written),
        ("response_body", response.body),
        ("response_streams", response.streams),
        ("done", parts.done.is_some()),
    ]
    .map(|(name, value)| {
        let name = format_ident!("{name}");
        quote!(#name: #value)
    });
    Ok(quote! {
        impl ::sluicegate_sdk::Filter for #filter {
            #config
            #new
            const __CALLBACKS: ::sluicegate_sdk::__private::Callbacks = ::sluicegate_sdk::__private::Callbacks { #(#flags),* };
            #request_call
            #response_call
            #start_call
            #done_call
            #timers
        }
    })
}

/// `type Config` and `fn new`: the author's, or the struct being its own configuration.
fn construction(parts: &Parts) -> Result<(TokenStream, TokenStream)> {
    let Some(new) = &parts.new else {
        let new = quote! {
            fn new(config: Self) -> ::sluicegate_sdk::Result<Self> { ::core::result::Result::Ok(config) }
        };
        return Ok((
            quote!(
                type Config = Self;
            ),
            new,
        ));
    };
    let config = match (&parts.config, new.sig.inputs.first()) {
        (Some(config), _) => quote!(#config),
        (None, Some(FnArg::Typed(argument))) => {
            let ty = &argument.ty;
            quote!(type Config = #ty;)
        }
        (None, _) => return Err(Error::new_spanned(&new.sig, "expected `fn new(config: …) -> Result<Self>`")),
    };
    Ok((config, quote!(#new)))
}

/// The call of a request or response phase.
fn message_call(function: Option<&ImplItemFn>, message: &Ident, name: &Ident) -> Option<TokenStream> {
    let run = run(function?, &quote!(&mut message));
    Some(quote! {
        fn #name(self: ::std::rc::Rc<Self>, mut message: ::sluicegate_sdk::#message) -> ::sluicegate_sdk::__private::Phase { #run }
    })
}

/// Calls a function of the author: plain ones at once, `async` ones as a boxed future.
fn run(function: &ImplItemFn, arguments: &TokenStream) -> TokenStream {
    let name = &function.sig.ident;
    let is_async = function.sig.asyncness.is_some();
    let wait = is_async.then(|| quote!(.await));
    let call = quote!(Self::#name(&self, #arguments) #wait);
    let result = match function.sig.output {
        ReturnType::Default => quote!({ #call; ::core::result::Result::Ok(()) }),
        ReturnType::Type(..) => call,
    };
    if is_async {
        quote!(::sluicegate_sdk::__private::Phase::Later(::std::boxed::Box::pin(async move { #result })))
    } else {
        quote!(::sluicegate_sdk::__private::Phase::Done(#result))
    }
}

/// `__timers` (their periods) and `__timer` (runs one).
fn timers(timers: &[(Expr, ImplItemFn)]) -> Option<TokenStream> {
    if timers.is_empty() {
        return None;
    }
    let descriptions = timers.iter().map(|(every, function)| {
        let name = function.sig.ident.to_string();
        let period = match every {
            Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)) => {
                quote!(const { ::sluicegate_sdk::__private::period(#literal) })
            }
            // It may name `self`: it is evaluated in a method of the filter.
            expression => quote!(#expression),
        };
        quote!((#name, #period))
    });
    let arms = timers.iter().enumerate().map(|(index, (_, function))| {
        let run = run(function, &quote!());
        quote!(#index => #run)
    });
    Some(quote! {
        fn __timers(&self) -> ::std::vec::Vec<(&'static str, ::core::time::Duration)> { ::std::vec![#(#descriptions),*] }
        fn __timer(self: ::std::rc::Rc<Self>, index: usize) -> ::sluicegate_sdk::__private::Phase {
            match index { #(#arms,)* _ => ::sluicegate_sdk::__private::Phase::Done(::core::result::Result::Ok(())) }
        }
    })
}

/// The manifest (sdk/HOST.md): which callbacks the host has to make.
fn manifest(request: Phase, response: Phase, done: bool) -> String {
    let mut callbacks = Vec::new();
    let mut streams = Vec::new();
    for (direction, phase) in [("request", request), ("response", response)] {
        if phase.written {
            callbacks.push(format!("\"{direction}_headers\""));
        }
        if phase.written && phase.body {
            // Trailers are not listed: then the last call with the body is the end of the body, also when trailers follow.
            callbacks.push(format!("\"{direction}_body\""));
        }
        if phase.streams {
            streams.push(format!("\"{direction}\""));
        }
    }
    if done {
        callbacks.push("\"finish\"".to_owned());
    }
    format!(
        r#"{{"sdk":"{}","callbacks":[{}],"pause":"stop_iteration","streams":[{}]}}"#,
        env!("CARGO_PKG_VERSION"),
        callbacks.join(","),
        streams.join(","),
    )
}

/// What only a module has: the entry point and the two custom sections.
fn sections(filter: &Type, manifest: &str) -> TokenStream {
    let length = manifest.len();
    let manifest = proc_macro2::Literal::byte_string(manifest.as_bytes());
    quote! {
        // Elsewhere nothing but tests makes the filter, which is no reason to call it unused.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = ::sluicegate_sdk::__private::in_use::<#filter>;

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, long_running_const_eval, reason = "exporting a symbol and placing a section are unsafe attributes")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "sluicegate.manifest")]
            static MANIFEST: [u8; #length] = *#manifest;

            const SCHEMA: ::sluicegate_sdk::config::Schema =
                <<#filter as ::sluicegate_sdk::Filter>::Config as ::sluicegate_sdk::Config>::SCHEMA;
            const LENGTH: usize = SCHEMA.length();
            #[used]
            #[unsafe(link_section = "sluicegate.schema")]
            static TEXT: [u8; LENGTH] = SCHEMA.render();

            unsafe extern "C" {
                fn __wasm_call_ctors();
            }
            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                // The linker makes this function; a reactor module calls it once, first.
                unsafe { __wasm_call_ctors() };
                ::sluicegate_sdk::__private::register::<#filter>();
            }
        };
    }
}
