//! `#[derive(Config)]`: a reader and a schema for a struct with named fields, a unit struct, or an enum.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Lit, Result, Type, Variant};

use crate::attributes::{Default_, Options, json_literal, options};

/// The implementation of `sluicegate_sdk::Config`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a configuration has no generic parameters"));
    }
    let description = options(&input.attrs)?.description;
    let (schema, reader) = match &input.data {
        Data::Struct(data) => from_struct(&data.fields, &description)?,
        Data::Enum(data) => from_enum(&data.variants.iter().collect::<Vec<_>>(), &description)?,
        Data::Union(_) => return Err(Error::new_spanned(&input.ident, "a configuration is a struct or an enum")),
    };
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::sluicegate_sdk::Config for #name {
            const SCHEMA: ::sluicegate_sdk::config::Schema = #schema;
            fn from_json(
                json: &::sluicegate_sdk::Json,
                at: &::sluicegate_sdk::config::At<'_>,
            ) -> ::core::result::Result<Self, ::sluicegate_sdk::config::ConfigError> {
                #reader
            }
        }
    })
}

fn from_struct(fields: &Fields, description: &str) -> Result<(TokenStream, TokenStream)> {
    let fields: Vec<&Field> = match fields {
        Fields::Named(named) => named.named.iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(_) => return Err(Error::new_spanned(fields, "the fields of a configuration have names")),
    };
    let mut schemas = Vec::new();
    let mut names = Vec::new();
    let mut readers = Vec::new();
    for field in fields {
        let options = options(&field.attrs)?;
        let Some(ident) = &field.ident else { continue };
        let name = options.rename.clone().unwrap_or_else(|| ident.unraw().to_string());
        schemas.push(field_schema(&name, &field.ty, &options)?);
        readers.push(field_reader(&quote!(#ident), &name, &field.ty, &options));
        names.push(name);
    }
    let schema = quote! {
        ::sluicegate_sdk::config::Schema::Object { description: #description, fields: &[#(#schemas),*] }
    };
    let reader = quote! {
        let fields = ::sluicegate_sdk::config::Object::new(json, at, &[#(#names),*])?;
        ::core::result::Result::Ok(Self { #(#readers),* })
    };
    Ok((schema, reader))
}

fn field_schema(name: &str, ty: &Type, options: &Options) -> Result<TokenStream> {
    let description = &options.description;
    let required = match options.default {
        Default_::None => quote!(!<#ty as ::sluicegate_sdk::Config>::OPTIONAL),
        _ => quote!(false),
    };
    let default = match &options.default {
        Default_::Value(value) => json_literal(value).unwrap_or_default(),
        _ => String::new(),
    };
    let min = bound(options.min.as_ref())?;
    let max = bound(options.max.as_ref())?;
    Ok(quote! {
        ::sluicegate_sdk::config::Field {
            name: #name,
            description: #description,
            schema: &<#ty as ::sluicegate_sdk::Config>::SCHEMA,
            required: #required,
            default: #default,
            min: #min,
            max: #max,
        }
    })
}

/// The JSON of a bound; empty when there is none.
fn bound(bound: Option<&Expr>) -> Result<String> {
    match bound {
        None => Ok(String::new()),
        Some(number) => match json_literal(number) {
            Some(text) if !text.starts_with('"') => Ok(text),
            _ => Err(Error::new_spanned(number, "min and max are literal numbers")),
        },
    }
}

fn field_reader(target: &TokenStream, name: &str, ty: &Type, options: &Options) -> TokenStream {
    let value = match &options.default {
        Default_::None => quote!(fields.required::<#ty>(#name)?),
        Default_::Trait => quote!(fields.or::<#ty>(#name, <#ty as ::core::default::Default>::default)?),
        Default_::Value(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => {
            quote!(fields.or_text::<#ty>(#name, #text)?)
        }
        Default_::Value(value) => quote!(fields.or::<#ty>(#name, || #value)?),
    };
    let checks = [("at_least", &options.min), ("at_most", &options.max)].into_iter().filter_map(|(check, bound)| {
        let (check, bound) = (format_ident!("{check}"), bound.as_ref()?);
        let text = json_literal(bound).unwrap_or_default();
        Some(quote!(fields.#check(#name, &value, (#bound) as f64, #text)?;))
    });
    let checks: Vec<_> = checks.collect();
    if checks.is_empty() { quote!(#target: #value) } else { quote!(#target: { let value = #value; #(#checks)* value }) }
}

fn from_enum(variants: &[&Variant], description: &str) -> Result<(TokenStream, TokenStream)> {
    let mut schemas = Vec::new();
    let mut names = Vec::new();
    let mut arms = Vec::new();
    for variant in variants {
        let options = options(&variant.attrs)?;
        let ident = &variant.ident;
        let name = options.rename.clone().unwrap_or_else(|| snake_case(&ident.unraw().to_string()));
        let variant_description = &options.description;
        let schema = match &variant.fields {
            Fields::Unit => {
                arms.push(quote!((#name, ::core::option::Option::None) => ::core::result::Result::Ok(Self::#ident)));
                quote!(::core::option::Option::None)
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let ty = &fields.unnamed[0].ty;
                arms.push(quote! {
                    (#name, ::core::option::Option::Some(value)) => ::core::result::Result::Ok(Self::#ident(
                        <#ty as ::sluicegate_sdk::Config>::from_json(value, &at.field(#name))?,
                    ))
                });
                quote!(::core::option::Option::Some(&<#ty as ::sluicegate_sdk::Config>::SCHEMA))
            }
            fields => {
                let message = "a variant has no value, or one: put several into a struct of its own";
                return Err(Error::new_spanned(fields, message));
            }
        };
        schemas.push(quote! {
            ::sluicegate_sdk::config::Variant { name: #name, description: #variant_description, schema: #schema }
        });
        names.push(name);
    }
    let schema = quote! {
        ::sluicegate_sdk::config::Schema::OneOf { description: #description, variants: &[#(#schemas),*] }
    };
    let reader = quote! {
        match ::sluicegate_sdk::config::variant(json, at)? {
            #(#arms,)*
            (name, value) => ::core::result::Result::Err(
                ::sluicegate_sdk::config::unknown_variant(at, name, value.is_some(), &[#(#names),*])
            ),
        }
    };
    Ok((schema, reader))
}

/// `ClientIp` → `client_ip`: configurations are written in one style.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, character) in name.char_indices() {
        if character.is_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}
