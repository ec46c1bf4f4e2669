//! What a module may ask of the compiler. Some kilobytes can be written that keep it busy for minutes and take gigabytes: its
//! work grows with the product of what stands in one function, and a few bytes declare thousands of values. Modules that
//! compilers of languages make are far below these bounds.

use wasmparser::{BlockType, CompositeInnerType, FunctionBody, Operator, Parser, Payload, TypeSectionReader};

use super::PluginError;
use super::limits::{BRANCHES, BRANCHES_TIMES_LOCALS, FUNCTION_LOCALS, LOCALS, LOOPS, NESTED_LOOPS};

/// Parameters and results of every type, together.
type Arities = Vec<u64>;

/// What the compiler's work on one function grows with.
#[derive(Debug, Default)]
struct Weight {
    locals: u64,
    /// Branches and their targets, each with the values that it hands on.
    branches: u64,
    loops: u64,
    nested_loops: u64,
}

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
                let weight = Weight::of(&body, &arities).unwrap_or_default();
                weight.check().map_err(|what| {
                    PluginError(format!(
                        "its function {functions} (not counting imports) would keep the compiler busy: {what}"
                    ))
                })?;
                functions += 1;
                locals += weight.locals;
                if locals > LOCALS {
                    return Err(PluginError(format!("its functions have more than {LOCALS} local variables")));
                }
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

impl Weight {
    /// Reads a function; `None` when it cannot be read.
    fn of(body: &FunctionBody<'_>, arities: &Arities) -> Option<Self> {
        let mut weight = Self::default();
        for group in body.get_locals_reader().ok()? {
            weight.locals += u64::from(group.ok()?.0);
        }
        let mut operators = body.get_operators_reader().ok()?;
        // Whether each block that is open is a loop; and the most values that any block has had.
        let (mut open, mut depth, mut widest) = (Vec::new(), 0, 0);
        while !operators.eof() {
            let operator = operators.read().ok()?;
            if let Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } = operator {
                let arity = match blockty {
                    BlockType::FuncType(index) => arities.get(usize::try_from(index).ok()?).copied().unwrap_or(0),
                    BlockType::Empty | BlockType::Type(_) => 0,
                };
                widest = arity.max(widest);
                weight.branches += 1 + arity;
                let is_loop = matches!(operator, Operator::Loop { .. });
                open.push(is_loop);
                weight.loops += u64::from(is_loop);
                depth += u64::from(is_loop);
                weight.nested_loops = depth.max(weight.nested_loops);
            }
            match operator {
                Operator::End => depth -= u64::from(open.pop().unwrap_or(false)),
                Operator::Else | Operator::Br { .. } | Operator::BrIf { .. } => weight.branches += 1 + widest,
                Operator::BrTable { targets } => weight.branches += (1 + widest) * (1 + u64::from(targets.len())),
                _ => {}
            }
        }
        Some(weight)
    }
    /// What of it is beyond its bound.
    fn check(&self) -> Result<(), String> {
        let product = self.branches.saturating_mul(self.locals);
        for (number, most, what) in [
            (self.locals, FUNCTION_LOCALS, "local variables"),
            (self.branches, BRANCHES, "branches"),
            (product, BRANCHES_TIMES_LOCALS, "branches times local variables"),
            (self.loops, LOOPS, "loops"),
            (self.nested_loops, NESTED_LOOPS, "loops inside each other"),
        ] {
            if number > most {
                return Err(format!("{number} {what}, more than {most}"));
            }
        }
        Ok(())
    }
}
