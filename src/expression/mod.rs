//! Compiles and evaluates the expressions of a `RiskLevel`, in the Common Expression Language (CEL). Each expression is
//! true or false for a version.
//!
//! ```text
//!  text ─► parse ─► check ─► Expression ─► evaluate, with Inputs ─► true, false or Failure
//! ```
//!
//! `parse` checks the size and the nesting of the text, and then calls the parser of the `cel` library. `check` checks
//! the names and functions. It also checks the types, which come from the schemas of the custom resources.
//!
//! The operator does not trust the writer of an expression. Limits bound the memory and the time of a compilation. A
//! budget of steps bounds the memory and the time of an evaluation. A maximum depth bounds the stack in both cases.
//!
//! This module does not use the evaluator of `cel`. That evaluator has no limit, and copies each list element that it
//! visits. Its maps have a random order, and its errors contain the values of the inputs.
//!
//! If the expression, the inputs and the budget are equal, the results are equal, including the failures.

mod calls;
mod check;
mod compare;
mod error;
mod evaluate;
mod functions;
mod inputs;
mod node;
mod operators;
mod parse;
mod pattern;
mod signatures;
mod types;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use error::{Failure, InvalidExpression, Position};
pub use inputs::Inputs;
pub use types::{Environment, Type};

use node::Node;

/// The maximum number of steps of an evaluation. In a release build, a step takes less than 0.2 microseconds, and less
/// than 1 microsecond in a search with a regular expression.
const BUDGET: u64 = 100_000;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    root: Node,
    variables: BTreeSet<String>,
}

impl Expression {
    /// Parses `text`, and checks its names and types. The expression may read the variables of `environment`.
    pub fn compile(text: &str, environment: &Environment) -> Result<Self, InvalidExpression> {
        let parsed = parse::parse(text)?;
        let (root, variables) = check::check(&parsed, environment)?;
        Ok(Self { root, variables })
    }

    /// The names of the variables that the expression reads.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// Evaluates the expression for `inputs`, and takes the used steps from `budget`.
    pub fn evaluate(&self, inputs: &Inputs, budget: &mut Budget) -> Result<bool, Failure> {
        let steps = budget.0.min(BUDGET);
        let mut evaluation = evaluate::Evaluation::new(inputs, steps);
        let result = evaluation.is_true(&self.root);
        budget.0 -= steps - evaluation.left();
        result
    }
}

/// The steps that several evaluations share. Each evaluation uses at most [`BUDGET`] steps.
#[derive(Debug)]
pub struct Budget(u64);

impl Budget {
    /// The budget of all evaluations for one namespace. In a release build, these evaluations take less than one
    /// second, or less than five seconds if they search with regular expressions.
    pub const fn of_namespace() -> Self {
        Self(50 * BUDGET)
    }
}
