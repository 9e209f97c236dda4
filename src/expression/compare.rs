//! Compares values: equality, order, and membership in a list or map.

use std::cmp::Ordering;

use super::{
    error::Failure,
    evaluate::{Evaluation, WRONG_TYPE},
    node::Value,
};

impl Evaluation<'_> {
    /// Whether the values are equal. An int and a double are equal if they are the same number. Values of other
    /// different types are never equal. Each compared part of the values costs steps.
    pub(super) fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, Failure> {
        self.charge(1)?;
        Ok(match (left, right) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(left), Value::Bool(right)) => left == right,
            (Value::Text(left), Value::Text(right)) => {
                if left.len() == right.len() {
                    self.charge_bytes(left.len())?;
                }
                left == right
            }
            (Value::Timestamp(left), Value::Timestamp(right)) => left == right,
            (Value::Duration(left), Value::Duration(right)) => left == right,
            (Value::List(left), Value::List(right)) => {
                left.len() == right.len() && self.all_equal(left.iter().zip(&**right))?
            }
            (Value::Map(left), Value::Map(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for ((name, left), (other, right)) in left.iter().zip(&**right) {
                    self.charge_bytes(name.len())?;
                    if name != other || !self.equal(left, right)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => numbers(left, right) == Ok(Some(Ordering::Equal)),
        })
    }

    fn all_equal<'v>(
        &mut self,
        mut pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
    ) -> Result<bool, Failure> {
        pairs.try_fold(true, |equal, (left, right)| Ok(equal && self.equal(left, right)?))
    }

    /// The order of two numbers, texts, timestamps or durations. `None` if one of the numbers is NaN.
    pub(super) fn order(&mut self, left: &Value, right: &Value) -> Result<Option<Ordering>, Failure> {
        Ok(match (left, right) {
            (Value::Text(left), Value::Text(right)) => {
                self.charge_bytes(left.len().min(right.len()))?;
                Some(left.cmp(right))
            }
            (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
            (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
            _ => numbers(left, right)?,
        })
    }

    /// Whether `container` is a list with an element that equals `value`, or a map with the key `value`.
    pub(super) fn contains(&mut self, container: &Value, value: &Value) -> Result<bool, Failure> {
        match (container, value) {
            (Value::List(list), value) => {
                for element in &**list {
                    if self.equal(element, value)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Value::Map(map), Value::Text(key)) => {
                self.charge_bytes(key.len())?;
                Ok(map.contains_key(key))
            }
            _ => Err(WRONG_TYPE),
        }
    }
}

/// The order of two numbers. `None` if a number is NaN.
fn numbers(left: &Value, right: &Value) -> Result<Option<Ordering>, Failure> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Double(right)) => int_and_double(*left, *right),
        (Value::Double(left), Value::Int(right)) => int_and_double(*right, *left).map(Ordering::reverse),
        _ => return Err(WRONG_TYPE),
    })
}

/// The exact order of the two numbers. A conversion of the int to a double could round the int. `None` if `double` is
/// NaN.
fn int_and_double(int: i64, double: f64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        return None;
    }
    if double >= LIMIT {
        return Some(Ordering::Less);
    }
    if double < -LIMIT {
        return Some(Ordering::Greater);
    }
    // The whole part fits into an `i64`, because it is between -2^63 and 2^63 - 1.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    let whole = double.trunc() as i64;
    Some(int.cmp(&whole).then_with(|| 0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)))
}
