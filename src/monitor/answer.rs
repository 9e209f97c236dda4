//! Reads one number from the answer of Prometheus. If the answer has no such number, gives the reason.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::{policy::Measurement, truncate::shorten};

/// The maximum size of an answer, in bytes.
pub(super) const SIZE: usize = 64 << 10;

/// The maximum size of an error text of Prometheus, in bytes.
const TEXT: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// Reads the measurement from an answer with this status and body. Quotes the body only if it has the format of
/// Prometheus, because the answer of another server could contain secrets.
pub(super) fn measurement(status: StatusCode, body: &[u8]) -> Measurement {
    if status.is_redirection() {
        return Measurement::NoAnswer("it answered with a redirect, which Assent does not follow".to_owned());
    }
    let is_query_error = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
    if !status.is_success() && !is_query_error {
        return Measurement::NoAnswer(format!("it answered with the status {status}"));
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return Measurement::NoValue("the answer is not one of Prometheus".to_owned());
    };
    if answer.status != "success" || is_query_error {
        return Measurement::NoValue(format!(
            "Prometheus refused the query: {}",
            shorten(answer.error, TEXT)
        ));
    }
    if let Some(warning) = answer.warnings.first() {
        let warning = shorten(warning.clone(), TEXT);
        return Measurement::NoValue(format!("the answer can be incomplete, Prometheus warns: {warning}"));
    }
    answer
        .data
        .map_or_else(|| Measurement::NoValue("the answer has no data".to_owned()), |data| number(&data))
}

fn number(data: &Data) -> Measurement {
    let sample = match (&*data.result_type, &data.result) {
        ("scalar", sample) => sample,
        ("vector", Value::Array(series)) => match &series[..] {
            [one] => &one["value"],
            [] => return Measurement::NoValue("the query has no series".to_owned()),
            more => {
                let series = more.len();
                return Measurement::NoValue(format!(
                    "the query has {series} series, and exactly one is required: aggregate them, such as with max()"
                ));
            }
        },
        (type_, _) => {
            let type_ = shorten(type_.to_owned(), 32);
            return Measurement::NoValue(format!("the query gives a {type_}, and a number is required"));
        }
    };
    let value = sample.get(1).and_then(Value::as_str).and_then(|text| text.parse::<f64>().ok());
    match value {
        Some(value) if value.is_finite() => Measurement::Value(value),
        Some(value) => Measurement::NoValue(format!("the value is {value}, which is not a finite number")),
        None => {
            Measurement::NoValue("the series has no number, for example because it is a histogram".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Measurement {
        measurement(StatusCode::OK, body.as_bytes())
    }

    fn vector(result: &str) -> Measurement {
        of(&format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#))
    }

    #[test]
    fn one_finite_sample_is_a_value() {
        assert_eq!(vector(r#"[{"metric":{},"value":[1,"0.14"]}]"#), Measurement::Value(0.14));
        assert_eq!(vector(r#"[{"metric":{},"value":[1,"1e+06"]}]"#), Measurement::Value(1e6));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"-3"]}}"#;
        assert_eq!(of(scalar), Measurement::Value(-3.0));
        let infos =
            r#"{"status":"success","infos":["a counter"],"data":{"resultType":"scalar","result":[1,"1"]}}"#;
        assert_eq!(of(infos), Measurement::Value(1.0));
    }

    #[test]
    fn every_other_answer_has_no_value_and_says_why() {
        for (answer, why) in [
            (vector("[]"), "no series"),
            (vector(r#"[{"value":[1,"1"]},{"value":[1,"1"]}]"#), "2 series"),
            (vector(r#"[{"value":[1,"NaN"]}]"#), "NaN"),
            (vector(r#"[{"value":[1,"+Inf"]}]"#), "inf"),
            (vector(r#"[{"histogram":[1,{}]}]"#), "histogram"),
            (vector(r#"[{"value":[1,2]}]"#), "no number"),
            (vector(r#"{"value":[1,"2"]}"#), "a vector"),
            (of(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#), "a matrix"),
            (of(r#"{"status":"success","data":{"resultType":"string","result":[1,"2"]}}"#), "a string"),
            (of(r#"{"status":"success"}"#), "no data"),
            (
                of(
                    r#"{"status":"success","warnings":["partial"],"data":{"resultType":"scalar","result":[1,"1"]}}"#,
                ),
                "incomplete",
            ),
            (of(r#"{"status":"error","error":"many-to-many"}"#), "many-to-many"),
            (of("<html>role credentials</html>"), "not one of Prometheus"),
            (of(&"[".repeat(60_000)), "not one of Prometheus"),
            (
                measurement(StatusCode::BAD_REQUEST, br#"{"status":"error","error":"parse error"}"#),
                "parse error",
            ),
        ] {
            assert!(matches!(&answer, Measurement::NoValue(text) if text.contains(why)), "{why}: {answer:?}");
        }
    }

    #[test]
    fn redirect_or_failure_of_the_source_is_no_answer() {
        for status in [301, 302, 307, 401, 403, 404, 429, 500, 503] {
            let status = StatusCode::from_u16(status).expect("a status");
            let answer = measurement(
                status,
                br#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#,
            );
            assert!(matches!(answer, Measurement::NoAnswer(_)), "{status}: {answer:?}");
        }
    }
}
