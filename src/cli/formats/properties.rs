//! Property tests of all formats: no input makes the reader panic, and each result satisfies the schema of an
//! `Assessment`.

use proptest::prelude::*;

use super::{Direction, MAX_METRIC, MAX_RESULTS, MAX_SLICE, Options, Reading, Trust, read};

const SAMPLES: [&[u8]; 24] = [
    include_bytes!("samples/bundle-other-predicate.sigstore.json"),
    include_bytes!("samples/cyclonedx-1.6.json"),
    include_bytes!("samples/deepeval-errors.json"),
    include_bytes!("samples/deepeval.json"),
    include_bytes!("samples/dsse-ecdsa.json"),
    include_bytes!("samples/dsse-rsa.json"),
    include_bytes!("samples/evalhub-card.json"),
    include_bytes!("samples/evalhub-job.json"),
    include_bytes!("samples/every-eval-ever-converted.json"),
    include_bytes!("samples/every-eval-ever.json"),
    include_bytes!("samples/fairlearn.json"),
    include_bytes!("samples/garak-intervals.report.jsonl"),
    include_bytes!("samples/garak.report.jsonl"),
    include_bytes!("samples/inspect-errors.json"),
    include_bytes!("samples/inspect-failed.json"),
    include_bytes!("samples/inspect-success.json"),
    include_bytes!("samples/inspect.eval"),
    include_bytes!("samples/junit-pytest.xml"),
    include_bytes!("samples/lm-eval-limit.json"),
    include_bytes!("samples/lm-eval.json"),
    include_bytes!("samples/promptfoo-two-providers.json"),
    include_bytes!("samples/promptfoo.json"),
    include_bytes!("samples/statement-assessment.json"),
    include_bytes!("samples/statement-test-result.json"),
];

/// Options with which the reader refuses as few files as possible.
fn lenient() -> Options {
    Options {
        samples: Some(1),
        allow_errors: true,
        allow_subset: true,
        directions: [("accuracy".to_owned(), Direction::HigherIsBetter)].into(),
        ..Options::default()
    }
}

fn key() -> Trust {
    Trust { key: Some(include_str!("samples/dsse-ecdsa.pub").to_owned()), ..Trust::default() }
}

fn identity() -> Trust {
    let text = |text: &str| Some(text.to_owned());
    Trust { identity: text("a"), issuer: text("b"), ..Trust::default() }
}

fn check(bytes: &[u8], options: &Options) {
    match read("file", bytes, options) {
        Ok(reading) => check_reading(&reading),
        Err(refusal) => {
            let text = format!("{refusal} {:?}", refusal.next());
            assert!(!text.contains('\u{1b}'), "{text:?}");
            assert!(text.len() < 16_384, "{} bytes", text.len());
        }
    }
}

fn check_reading(reading: &Reading) {
    assert!((1..=MAX_RESULTS).contains(&reading.results.len()));
    for result in &reading.results {
        assert!((1..=MAX_METRIC).contains(&result.metric.chars().count()));
        assert!(result.slice.as_ref().is_none_or(|slice| slice.chars().count() <= MAX_SLICE));
        assert!(!result.metric.contains(char::is_control));
        let value = result.value.to_string();
        assert!(value.len() <= 26 && value != "-0", "{value}");
    }
}

/// A sample with some bytes replaced, removed or inserted.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        any::<prop::sample::Index>(),
        0_usize..40,
        prop_oneof!["[0-9]{0,30}", r#"[\[\]{}:,"\\a-z-]{0,4}"#, ".{0,3}"],
    );
    (0..SAMPLES.len(), prop::collection::vec(edit, 1..4)).prop_map(|(sample, edits)| {
        let mut bytes = SAMPLES[sample].to_vec();
        for (at, length, text) in edits {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, text.into_bytes());
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_samples_never_panic(bytes in mutated()) {
        check(&bytes, &Options::default());
        check(&bytes, &lenient());
        check(&bytes, &Options { model: Some("echo".to_owned()), ..lenient() });
        check(&bytes, &Options { trust: key(), ..lenient() });
        check(&bytes, &Options { trust: identity(), ..lenient() });
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes, &lenient());
    }

    #[test]
    fn any_json_or_yaml_text_never_panics(text in r#"[\[{<]?[\[\]{}:,"\\ \n&*!|>'a-z0-9.-]{0,120}"#) {
        check(text.as_bytes(), &lenient());
    }
}

#[test]
fn each_sample_is_read_or_refused_within_the_rules() {
    for sample in SAMPLES {
        check(sample, &lenient());
        check(sample, &Options::default());
    }
}

#[test]
fn truncated_samples_never_panic() {
    for sample in SAMPLES {
        for end in (0..sample.len()).step_by(sample.len() / 64 + 1) {
            check(&sample[..end], &lenient());
        }
    }
}

#[test]
fn hostile_yaml_is_refused() {
    let anchors = (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let before = level - 1;
        format!("{text}a{level}: &a{level} [*a{before}, *a{before}, *a{before}]\n")
    });
    check(anchors.as_bytes(), &lenient());
    check("- ".repeat(100_000).as_bytes(), &lenient());
    check(format!("results: {}", "[".repeat(100_000)).as_bytes(), &lenient());
}
