//! The in-toto statement, and the predicates that contain measured values. `subject[].digest.sha256` names the model or
//! artifact to which the values apply.
//!
//! ```text
//!  predicateType ─┬─ https://assent.dev/assessment/v1                 the native format
//!                 ├─ https://in-toto.io/attestation/test-result/v0.1  counts of tests
//!                 ├─ https://cyclonedx.org/bom                        performance metrics
//!                 └─ others                                           refused
//! ```

use super::{
    Direction, Kind, Options, cyclonedx,
    decimal::Decimal,
    native,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
    text::shown,
};

/// The start of the type of all statements. The versions 0.1 and 1 of in-toto statements have the same fields.
pub(super) const TYPE_PREFIX: &str = "https://in-toto.io/Statement/";
/// The type of a predicate in the native format.
pub(super) const ASSESSMENT: &str = "https://assent.dev/assessment/v1";

pub(super) fn content(statement: &Node<'_>, options: &Options) -> Result<Content, Problem> {
    check_type(statement)?;
    let predicate_type = statement.need("predicateType")?.text()?;
    let refuse = |why: &'static str| Err(Problem::Predicate { found: shown(predicate_type), why });
    let mut content = match predicate_type {
        ASSESSMENT => native::from_json(&statement.need("predicate")?)?,
        "https://in-toto.io/attestation/test-result/v0.1" => test_result(&statement.need("predicate")?)?,
        "https://cyclonedx.org/bom" => cyclonedx::content(&statement.need("predicate")?, options)?,
        _ if predicate_type.starts_with("https://in-toto.io/attestation/svr/") => {
            return refuse("it states that a policy was met, without values");
        }
        _ if predicate_type.starts_with("https://model_signing/") => {
            return refuse("it is the signature of a model, without values");
        }
        _ if predicate_type.starts_with("https://slsa.dev/") => {
            return refuse("it is about a build, without values");
        }
        _ => return refuse("only assessments, test results and CycloneDX have values that are read"),
    };
    content.model_digests.extend(sha256_subjects(statement)?.into_iter().map(|hex| format!("sha256:{hex}")));
    Ok(content)
}

fn check_type(statement: &Node<'_>) -> Result<(), Problem> {
    match statement.need("_type")?.text()?.strip_prefix(TYPE_PREFIX) {
        Some("v1" | "v0.1") => Ok(()),
        _ => Err(Problem::field("_type", format!("expected {TYPE_PREFIX}v1"))),
    }
}

/// The SHA-256 digests of the subjects, in hex.
pub(super) fn sha256_subjects(statement: &Node<'_>) -> Result<Vec<String>, Problem> {
    let mut digests = Vec::new();
    for subject in statement.need("subject")?.items()? {
        let Some(digest) = subject.path(&["digest", "sha256"]) else { continue };
        digests.push(digest.sha256()?);
    }
    Ok(digests)
}

/// Counts the tests of a test result. Ignores the field `result`, because it is a verdict.
fn test_result(predicate: &Node<'_>) -> Result<Content, Problem> {
    let count = |key: &str| -> Result<u64, Problem> {
        let tests = predicate.get(key).map_or(Ok(Vec::new()), |tests| tests.items())?;
        Ok(u64::try_from(tests.len()).unwrap_or(u64::MAX))
    };
    let (passed, warned, failed) = (count("passedTests")?, count("warnedTests")?, count("failedTests")?);
    let samples = passed.saturating_add(warned).saturating_add(failed);
    Ok(Content {
        default_kind: Some(Kind::Other),
        candidates: vec![
            test_count("tests_passed", passed, Direction::HigherIsBetter, samples),
            test_count("tests_warned", warned, Direction::LowerIsBetter, samples),
            test_count("tests_failed", failed, Direction::LowerIsBetter, samples),
        ],
        ..Content::default()
    })
}

/// A number of tests as a candidate. If no test ran, there is no value, because zero failures would look
/// good.
pub(super) fn test_count(metric: &str, count: u64, direction: Direction, samples: u64) -> Candidate {
    let value = match (samples, Decimal::from_count(count)) {
        (0, _) => Err("is unknown, because no test ran".to_owned()),
        (_, None) => Err("is too large".to_owned()),
        (_, Some(value)) => Ok(value),
    };
    Candidate::new(metric, value).direction(Some(direction)).samples(Some(samples), 0)
}

#[cfg(test)]
mod tests {
    use super::super::{
        Kind, Options, Provenance,
        testing::{edited, problem, problem_with, read, read_with, row},
    };

    const ASSESSMENT: &[u8] = include_bytes!("samples/statement-assessment.json");
    const TEST_RESULT: &[u8] = include_bytes!("samples/statement-test-result.json");
    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn assessment_predicate_is_read_as_a_claim() {
        let reading = read(ASSESSMENT).unwrap();
        assert_eq!((reading.kind, &reading.provenance), (Some(Kind::Safety), &Provenance::Unsigned));
        assert_eq!(row(&reading.results[0]), "toxicity = 0.012 LowerIsBetter, 500 samples, 0 errors");
        assert_eq!(reading.model_digest.as_deref(), Some(DIGEST));
        assert!(problem(&edited(ASSESSMENT, "\"samples\"", "\"sample\"")).contains("unknown field `sample`"));
    }

    #[test]
    fn statement_about_another_model_is_refused() {
        let expect =
            |digest: &str| Options { version_digests: [digest.to_owned()].into(), ..Options::default() };
        assert!(read_with(ASSESSMENT, &expect(DIGEST)).is_ok());
        let error = problem_with(std::str::from_utf8(ASSESSMENT).unwrap(), &expect("sha256:00"));
        assert_eq!(
            error,
            format!("the file is about a model with digest {DIGEST}, and the version names only sha256:00")
        );
    }

    #[test]
    fn test_result_is_read_as_counts_without_its_verdict() {
        let reading = read(TEST_RESULT).unwrap();
        let rows: Vec<_> = reading.results.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                "tests_passed = 3 HigherIsBetter, 5 samples, 0 errors",
                "tests_warned = 1 LowerIsBetter, 5 samples, 0 errors",
                "tests_failed = 1 LowerIsBetter, 5 samples, 0 errors",
            ]
        );
        assert_eq!(reading.kind, Some(Kind::Other));
        let verdict = edited(TEST_RESULT, "FAILED", "PASSED");
        assert_eq!(read(verdict.as_bytes()).unwrap().results, reading.results);
    }

    #[test]
    fn other_predicates_are_refused_with_the_reason() {
        let with = |kind: &str| edited(ASSESSMENT, "https://assent.dev/assessment/v1", kind);
        assert!(
            problem(&with("https://in-toto.io/attestation/svr/v0.2"))
                .contains("a policy was met, without values")
        );
        assert!(problem(&with("https://model_signing/signature/v1.0")).contains("the signature of a model"));
        assert!(problem(&with("https://slsa.dev/provenance/v1")).contains("about a build"));
        assert!(
            problem(&with("https://example.com/x")).contains("only assessments, test results and CycloneDX")
        );
        assert!(problem(&edited(ASSESSMENT, "Statement/v1", "Statement/v2")).contains("_type: expected"));
        assert!(
            problem(&edited(ASSESSMENT, "9f86", "9f8x"))
                .contains("subject[0].digest.sha256: expected 64 hex")
        );
    }

    #[test]
    fn test_result_without_tests_has_no_values() {
        let text = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[],
            "predicateType":"https://in-toto.io/attestation/test-result/v0.1","predicate":{"result":"PASSED"}}"#;
        assert!(problem(text).contains("no test ran"));
    }
}
