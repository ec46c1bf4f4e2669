//! What a module may ask of the compiler. Some kilobytes can be written that keep it busy for minutes and take gigabytes: its
//! work grows with the product of what stands in one function, and a few bytes declare thousands of values. Modules that
//! compilers of languages make are far below these bounds.

use wasmparser::{BlockType, CompositeInnerType, FunctionBody, Operator, Parser, Payload, TypeSectionReader};

use super::PluginError;
use super::limits::{BRANCHES, FUNCTION_LOCALS, LOCALS};

/// Parameters and results of a type, together.
type Arities = Vec<u64>;

/// Refuses what would take too long to compile. What cannot be read is left for the compiler to refuse.
///
/// # Errors
/// A bound is passed.
pub(super) fn check(module: &[u8]) -> Result<(), PluginError> {
    let (mut arities, mut locals, mut functions) = (Arities::new(), 0, 0_u32);
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::TypeSection(types)) => arities = read_types(types),
            Ok(Payload::CodeSectionEntry(body)) => {
                let own = count_locals(&body).unwrap_or(0);
                locals += own;
                if own > FUNCTION_LOCALS || locals > LOCALS {
                    return Err(PluginError(format!(
                        "it declares too many local variables: more than {FUNCTION_LOCALS} in a function, or {LOCALS} in all"
                    )));
                }
                if count_branches(&body, &arities).unwrap_or(0) > BRANCHES {
                    return Err(PluginError(format!(
                        "its function {functions} (not counting imports) branches more than {BRANCHES} times"
                    )));
                }
                functions += 1;
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(())
}

fn read_types(types: TypeSectionReader<'_>) -> Arities {
    let types = types.into_iter().map_while(Result::ok);
    let arity = |ty: &wasmparser::SubType| match &ty.composite_type.inner {
        CompositeInnerType::Func(function) => (function.params().len() + function.results().len()) as u64,
        _ => 0,
    };
    types.flat_map(|group| group.into_types().map(|ty| arity(&ty)).collect::<Vec<_>>()).collect()
}

fn count_locals(body: &FunctionBody<'_>) -> Option<u64> {
    body.get_locals_reader().ok()?.into_iter().try_fold(0, |sum, group| Some(sum + u64::from(group.ok()?.0)))
}

/// Branches and their targets, each with the values that it hands on.
fn count_branches(body: &FunctionBody<'_>, arities: &Arities) -> Option<u64> {
    let mut operators = body.get_operators_reader().ok()?;
    let (mut branches, mut widest) = (0, 0);
    while !operators.eof() {
        branches += match operators.read().ok()? {
            Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                let arity = match blockty {
                    BlockType::FuncType(index) => arities.get(usize::try_from(index).ok()?).copied().unwrap_or(0),
                    BlockType::Empty | BlockType::Type(_) => 0,
                };
                widest = arity.max(widest);
                1 + arity
            }
            Operator::Else | Operator::Br { .. } | Operator::BrIf { .. } => 1 + widest,
            Operator::BrTable { targets } => (1 + widest) * (1 + u64::from(targets.len())),
            _ => 0,
        };
    }
    Some(branches)
}
