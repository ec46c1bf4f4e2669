//! Reads the attributes that `#[derive(Config)]` understands: doc comments and `#[config(…)]`.

use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Meta, UnOp};

/// What the attributes of a field or a variant say.
#[derive(Default)]
pub(crate) struct Options {
    /// The doc comment, one line per line.
    pub(crate) description: String,
    pub(crate) default: Default_,
    pub(crate) min: Option<Expr>,
    pub(crate) max: Option<Expr>,
    pub(crate) rename: Option<String>,
}

/// What stands in for a field that the author of a configuration leaves out.
#[derive(Default)]
pub(crate) enum Default_ {
    /// Nothing: the field is required (unless its type is an `Option`).
    #[default]
    None,
    /// `Default::default()`.
    Trait,
    /// The expression.
    Value(Expr),
}

/// Reads all attributes of one item.
pub(crate) fn options(attributes: &[Attribute]) -> syn::Result<Options> {
    let mut options = Options { description: description(attributes), ..Options::default() };
    for attribute in attributes.iter().filter(|a| a.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("default") {
                options.default = match meta.value() {
                    Ok(value) => Default_::Value(value.parse()?),
                    Err(_) => Default_::Trait,
                };
            } else if meta.path.is_ident("min") {
                options.min = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("max") {
                options.max = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("rename") {
                options.rename = Some(meta.value()?.parse::<LitStr>()?.value());
            } else {
                return Err(meta.error("expected default, min, max or rename"));
            }
            Ok(())
        })?;
    }
    Ok(options)
}

/// The doc comment, without the space that follows `///`.
fn description(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The JSON text of a literal (also a negative number), for `default`, `minimum` and `maximum` of the schema.
pub(crate) fn json_literal(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(ExprLit { lit, .. }) => match lit {
            Lit::Int(number) => Some(number.base10_digits().to_owned()),
            Lit::Float(number) => Some(number.base10_digits().to_owned()),
            Lit::Bool(flag) => Some(flag.value.to_string()),
            Lit::Str(text) => Some(json_string(&text.value())),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => Some(format!("-{}", json_literal(&unary.expr)?)),
        _ => None,
    }
}

/// A JSON string (RFC 8259 §7).
fn json_string(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\n' => json.push_str("\\n"),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}
