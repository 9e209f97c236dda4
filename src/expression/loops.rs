//! Evaluates the loops: `all`, `exists`, `exists_one`, `filter` and `map`.

use super::{
    error::Failure,
    evaluate::{Evaluation, WRONG_TYPE},
    node::{Loop, LoopKind, Value},
};

/// Evaluates the loop `inner`. A loop over a map visits the keys in sorted order.
pub(super) fn run(evaluation: &mut Evaluation<'_>, inner: &Loop) -> Result<Value, Failure> {
    match evaluation.value(&inner.range)? {
        Value::List(list) => over(evaluation, inner, list.iter().cloned()),
        Value::Map(map) => over(evaluation, inner, map.keys().map(|key| Value::Text(key.clone()))),
        _ => Err(WRONG_TYPE),
    }
}

fn over(
    evaluation: &mut Evaluation<'_>,
    inner: &Loop,
    elements: impl Iterator<Item = Value>,
) -> Result<Value, Failure> {
    let depth = evaluation.locals.len();
    let result = match inner.kind {
        LoopKind::All => decide(evaluation, inner, elements, false).map(Value::Bool),
        LoopKind::Exists => decide(evaluation, inner, elements, true).map(Value::Bool),
        LoopKind::ExistsOne => count(evaluation, inner, elements).map(|count| Value::Bool(count == 1)),
        LoopKind::Map => collect(evaluation, inner, elements),
    };
    // After a failure, the variable of the loop is still in `locals`.
    evaluation.locals.truncate(depth);
    result
}

/// Evaluates the body for each element until a result is `deciding`. A failure counts only if no element
/// decides. If several elements fail, the first failure counts.
fn decide(
    evaluation: &mut Evaluation<'_>,
    inner: &Loop,
    elements: impl Iterator<Item = Value>,
    deciding: bool,
) -> Result<bool, Failure> {
    let mut failure = None;
    for element in elements {
        evaluation.locals.push(element);
        let depth = evaluation.locals.len();
        let result = evaluation.attempt(&inner.body)?;
        evaluation.locals.truncate(depth - 1);
        match result {
            Ok(bool) if bool == deciding => return Ok(deciding),
            Ok(_) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(!deciding), Err)
}

/// The number of elements for which the body is true.
fn count(
    evaluation: &mut Evaluation<'_>,
    inner: &Loop,
    elements: impl Iterator<Item = Value>,
) -> Result<usize, Failure> {
    let mut count = 0;
    for element in elements {
        evaluation.locals.push(element);
        count += usize::from(evaluation.is_true(&inner.body)?);
        evaluation.locals.pop();
    }
    Ok(count)
}

/// The values of the body for the elements that meet the condition. Each value costs a step, so the budget bounds the
/// size of the list.
fn collect(
    evaluation: &mut Evaluation<'_>,
    inner: &Loop,
    elements: impl Iterator<Item = Value>,
) -> Result<Value, Failure> {
    let mut values = Vec::new();
    for element in elements {
        evaluation.locals.push(element);
        let is_included = match &inner.condition {
            Some(condition) => evaluation.is_true(condition)?,
            None => true,
        };
        if is_included {
            values.push(evaluation.value(&inner.body)?);
        }
        evaluation.locals.pop();
    }
    Ok(Value::List(values.into()))
}
