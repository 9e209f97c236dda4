//! Finds the format of a file from its content.
//!
//! XML is read as `JUnit`. Text that is neither XML nor JSON is read as YAML in the native format. A stream of JSON
//! values is a garak report if each value has an `entry_type`. Every other JSON format has marks: keys, or fields with
//! a certain type or prefix. A file with the marks of two formats is refused, because the reader of one format would
//! skip the results of the other.

use super::{
    Format, Options, Provenance, cyclonedx, deepeval, envelope, evalhub, every_eval_ever, garak, inspect,
    json::{Value, parse_stream},
    junit, lm_eval, native,
    node::Node,
    promptfoo,
    refusal::Problem,
    select::Content,
    statement,
    text::shown,
};

/// Reads the content of a file, and verifies the signature of the file if the options ask for it.
pub(super) fn content(text: &str, options: &Options) -> Result<(Format, Content, Provenance), Problem> {
    let (format, content, provenance) = match text.trim_start().chars().next() {
        None => return Err(Problem::UnknownFormat("the file is empty".to_owned())),
        Some('<') => (Format::JUnit, junit::content(text)?, Provenance::Unsigned),
        Some('{' | '[') => json(text, options)?,
        Some(_) => (Format::Native, native::from_yaml(text)?, Provenance::Unsigned),
    };
    match (&provenance, options.trust.option()) {
        (Provenance::Unsigned, Some(option)) => Err(Problem::NotSigned(option)),
        _ => Ok((format, content, provenance)),
    }
}

fn json(text: &str, options: &Options) -> Result<(Format, Content, Provenance), Problem> {
    let values = parse_stream(text)?;
    let nodes: Vec<_> = values.iter().map(Node::root).collect();
    if !nodes.is_empty() && nodes.iter().all(|node| node.get("entry_type").is_some()) {
        return Ok((Format::Garak, garak::content(&nodes)?, Provenance::Unsigned));
    }
    match nodes.as_slice() {
        [root] => value(root, text, options),
        [first, ..] => Err(several_values(first)),
        [] => Err(Problem::UnknownFormat("the file is empty".to_owned())),
    }
}

fn value(root: &Node<'_>, text: &str, options: &Options) -> Result<(Format, Content, Provenance), Problem> {
    let formats = formats(root);
    let [format] = formats.as_slice() else {
        return Err(if formats.is_empty() { unknown(root) } else { Problem::SeveralFormats(formats) });
    };
    if matches!(format, Format::Dsse | Format::SigstoreBundle) {
        let (content, provenance) = envelope::content(*format, root, text, options)?;
        return Ok((*format, content, provenance));
    }
    let content = match format {
        Format::LmEval => lm_eval::content(root, options)?,
        Format::Inspect => inspect::content(root, options)?,
        Format::Promptfoo => promptfoo::content(root, options)?,
        Format::DeepEval => deepeval::content(root)?,
        Format::EvalHubJob => evalhub::job(root)?,
        Format::EvalHubCard => evalhub::card(root)?,
        Format::EveryEvalEver => every_eval_ever::content(root)?,
        Format::Statement => statement::content(root, options)?,
        Format::CycloneDx => cyclonedx::content(root, options)?,
        _ => native::from_json(root)?,
    };
    Ok((*format, content, Provenance::Unsigned))
}

/// The formats whose marks the JSON value `root` has.
fn formats(root: &Node<'_>) -> Vec<Format> {
    let has = |key: &str| root.get(key).is_some();
    let starts = |key: &str, prefix: &str| {
        root.get(key).and_then(|node| node.text().ok()).is_some_and(|text| text.starts_with(prefix))
    };
    let object = |keys: &[&str]| matches!(root.path(keys).map(|node| node.value), Some(Value::Object(_)));
    let array = |keys: &[&str]| matches!(root.path(keys).map(|node| node.value), Some(Value::Array(_)));
    let marks = [
        (Format::Statement, starts("_type", statement::TYPE_PREFIX)),
        (Format::Dsse, has("payloadType") && has("payload") && has("signatures")),
        (Format::SigstoreBundle, starts("mediaType", "application/vnd.dev.sigstore.bundle")),
        (Format::CycloneDx, starts("bomFormat", "CycloneDX")),
        (Format::EveryEvalEver, has("schema_version") && has("evaluation_results")),
        (Format::EvalHubCard, has("card_version") && object(&["context"])),
        (Format::EvalHubJob, array(&["results", "benchmarks"]) && !has("card_version")),
        (Format::Inspect, has("version") && has("status") && object(&["eval"])),
        (
            Format::LmEval,
            object(&["results"]) && (has("n-samples") || has("higher_is_better") || has("versions")),
        ),
        (Format::Promptfoo, object(&["results", "stats"])),
        (Format::DeepEval, object(&["testRunData"]) || array(&["metricsScores"])),
        (Format::Native, array(&["results"])),
    ];
    marks.into_iter().filter_map(|(format, found)| found.then_some(format)).collect()
}

/// The error for a JSON file without the marks of a supported format. If a known tool wrote the file, the error names
/// the tool.
fn unknown(root: &Node<'_>) -> Problem {
    let has = |keys: &[&str]| keys.iter().all(|key| root.get(key).is_some());
    let (tool, why) = if has(&["run_uid", "scores"]) {
        ("MLCommons modelbench", "its grades are relative to reference models that change with each release")
    } else if has(&["gid", "cid", "startTime"]) {
        ("AI Verify", "its output has no fixed fields for metrics")
    } else if has(&["attempt_id", "probe", "detector"]) {
        (
            "garak (hit log)",
            "it has the hits only, without the number of attempts; give the .report.jsonl file",
        )
    } else if has(&["metrics", "tests"]) {
        ("Evidently", "its tests have verdicts, and its metrics have no direction")
    } else if root.get("entry_type").is_some() {
        ("garak", "some lines have no entry_type")
    } else {
        return Problem::UnknownFormat(format!("the JSON value has {}", keys(root)));
    };
    Problem::Unsupported { tool, why }
}

fn keys(root: &Node<'_>) -> String {
    match root.value {
        Value::Object(object) if object.is_empty() => "no keys".to_owned(),
        Value::Object(object) => {
            let keys: Vec<_> = object.keys().take(8).map(|key| shown(key)).collect();
            format!("the keys {}", keys.join(", "))
        }
        _ => "no keys, because it is not an object".to_owned(),
    }
}

fn several_values(first: &Node<'_>) -> Problem {
    if first.get("payloadType").is_some() || first.get("mediaType").is_some() {
        return Problem::UnknownFormat(
            "it has several attestations; give each one in a file of its own".to_owned(),
        );
    }
    match unknown(first) {
        Problem::UnknownFormat(_) => {
            Problem::UnknownFormat("it has several JSON values, and not each one has entry_type".to_owned())
        }
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{problem, read};

    #[test]
    fn content_with_the_marks_of_two_formats_is_refused() {
        let text = r#"{"results": {"stats": {}}, "n-samples": {}}"#;
        let expected =
            "the content has the marks of several formats: lm-evaluation-harness results, promptfoo output";
        assert_eq!(problem(text), expected);
    }

    #[test]
    fn unknown_files_name_what_was_found() {
        assert_eq!(problem(" \n"), "the format is unknown: the file is empty");
        assert_eq!(problem(r#"{"a": 1}"#), "the format is unknown: the JSON value has the keys a");
        assert_eq!(
            problem("[1]"),
            "the format is unknown: the JSON value has no keys, because it is not an object"
        );
        assert!(problem(r#"{"run_uid": 1, "scores": []}"#).contains("MLCommons modelbench"));
        assert!(problem("{\"payloadType\": 1}\n{\"payloadType\": 1}").contains("several attestations"));
        assert!(problem("{\"attempt_id\": 1, \"probe\": 1, \"detector\": 1}").contains("hit log"));
    }

    #[test]
    fn archives_and_other_encodings_are_refused() {
        let error = read(b"PK\x03\x04rest").unwrap_err();
        assert!(error.next().unwrap().contains("inspect log dump --header-only"));
        assert!(read(b"\xff\xfe{\x00").unwrap_err().to_string().contains("not UTF-8"));
        assert!(
            read(&vec![b' '; super::super::MAX_BYTES + 1]).unwrap_err().to_string().contains("the limit is")
        );
    }
}
