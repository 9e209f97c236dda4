//! Evaluates the functions of expressions, except `matches`.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{
    error::Failure,
    evaluate::WRONG_TYPE,
    node::{Function, Value},
};

impl Function {
    pub(super) fn of(self, operand: &Value) -> Result<Value, Failure> {
        match self {
            Self::Size => size(operand),
            Self::Int => int(operand),
            Self::Double => double(operand),
            Self::String => string(operand),
            Self::Timestamp => match operand {
                Value::Text(text) => {
                    let timestamp: Result<Timestamp, _> = text.parse();
                    let message = "a text is not a timestamp such as 2027-03-31T00:00:00Z";
                    timestamp.map(Value::Timestamp).map_err(|_| Failure::Other(message))
                }
                Value::Timestamp(_) => Ok(operand.clone()),
                _ => Err(WRONG_TYPE),
            },
            Self::Duration => match operand {
                Value::Text(text) => {
                    let duration: Result<SignedDuration, _> = text.parse();
                    let message = "a text is not a duration such as 1h30m";
                    duration.map(Value::Duration).map_err(|_| Failure::Other(message))
                }
                Value::Duration(_) => Ok(operand.clone()),
                _ => Err(WRONG_TYPE),
            },
            Self::Contains | Self::StartsWith | Self::EndsWith => Err(WRONG_TYPE),
        }
    }

    pub(super) fn of_texts(self, text: &str, part: &str) -> Result<Value, Failure> {
        match self {
            Self::Contains => Ok(Value::Bool(text.contains(part))),
            Self::StartsWith => Ok(Value::Bool(text.starts_with(part))),
            Self::EndsWith => Ok(Value::Bool(text.ends_with(part))),
            _ => Err(WRONG_TYPE),
        }
    }
}

fn size(operand: &Value) -> Result<Value, Failure> {
    let size = match operand {
        Value::Text(text) => text.chars().count(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        _ => return Err(WRONG_TYPE),
    };
    i64::try_from(size).map(Value::Int).map_err(|_| WRONG_TYPE)
}

fn int(operand: &Value) -> Result<Value, Failure> {
    let int = match operand {
        Value::Int(int) => Some(*int),
        Value::Double(double) => {
            // 2^63 is the smallest double that is too large for an `i64`.
            let fits = double.abs() < 9_223_372_036_854_775_808.0;
            #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
            fits.then_some(*double as i64)
        }
        Value::Text(text) => text.parse().ok(),
        Value::Timestamp(at) => Some(at.as_second()),
        _ => return Err(WRONG_TYPE),
    };
    int.map(Value::Int).ok_or(Failure::Other("a value is not an int, or it is out of range"))
}

fn double(operand: &Value) -> Result<Value, Failure> {
    let double = match operand {
        #[expect(clippy::cast_precision_loss, reason = "the conversion of CEL rounds")]
        Value::Int(int) => Some(*int as f64),
        Value::Double(double) => Some(*double),
        Value::Text(text) => text.parse().ok().filter(|double: &f64| double.is_finite()),
        _ => return Err(WRONG_TYPE),
    };
    double.map(Value::Double).ok_or(Failure::Other("a text is not a number"))
}

fn string(operand: &Value) -> Result<Value, Failure> {
    let text = match operand {
        Value::Text(_) => return Ok(operand.clone()),
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Double(double) => double.to_string(),
        Value::Timestamp(at) => at.to_string(),
        _ => return Err(WRONG_TYPE),
    };
    Ok(Value::Text(text.into()))
}
