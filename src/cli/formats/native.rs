//! The native format: the fields of an `Assessment` as JSON or YAML, without the system, the version and the subject
//! digest.
//!
//! Some libraries, such as fairlearn, have no file format. A script that uses such a library can write the native
//! format. Unknown fields are refused, so that the reader does not ignore a misspelt `errors` or `slice`.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Direction, Interval, Kind, Relationship, Report, Tool,
    decimal::Decimal,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
    text::{shortened, shown},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    kind: Option<Kind>,
    results: Vec<Row>,
    method: Option<String>,
    tool: Option<Tool>,
    report: Option<Report>,
    relationship: Option<Relationship>,
    performed_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    metric: String,
    value: String,
    direction: Direction,
    slice: Option<String>,
    samples: u64,
    #[serde(default)]
    errors: u64,
    interval: Option<Bounds>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    lower: String,
    upper: String,
    level: String,
}

pub(super) fn from_json(root: &Node<'_>) -> Result<Content, Problem> {
    let file: File = serde_path_to_error::deserialize(root.value).map_err(|error| {
        let inner = shortened(&error.inner().to_string(), 512);
        match error.path().to_string().as_str() {
            "." => Problem::field("the file", inner),
            path => Problem::field(path, inner),
        }
    })?;
    content(file)
}

pub(super) fn from_yaml(text: &str) -> Result<Content, Problem> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let why = shortened(&error.to_string(), 512);
        Problem::UnknownFormat(format!("read as Assent results in YAML, it has an error: {why}"))
    })?;
    content(file)
}

fn content(file: File) -> Result<Content, Problem> {
    let performed_at = file.performed_at.as_deref().map(performed_at).transpose()?;
    if let Some(report) = &file.report {
        check_digest(&report.digest)?;
    }
    let rows = file.results.into_iter().enumerate();
    Ok(Content {
        kind: file.kind,
        candidates: rows.map(|(index, row)| candidate(index, row)).collect::<Result<_, _>>()?,
        method: file.method.as_deref().map(clean_lines),
        tool: file.tool,
        performed_at,
        relationship: file.relationship,
        report: file.report.map(clean_report),
        authored: true,
        ..Content::default()
    })
}

/// The text with its line breaks, but without other hidden characters. Each line is cut to 1024 characters.
fn clean_lines(text: &str) -> String {
    text.lines().map(|line| shortened(line, 1024)).collect::<Vec<_>>().join("\n")
}

fn clean_report(report: Report) -> Report {
    Report { uri: report.uri.map(|uri| shortened(&uri, 2048)), ..report }
}

fn candidate(index: usize, row: Row) -> Result<Candidate, Problem> {
    let value = Decimal::parse(&row.value).map_err(|error| format!("{:?} {error}", shown(&row.value)));
    let interval = row.interval.map(|bounds| interval(index, &bounds)).transpose()?;
    let candidate = Candidate::new(row.metric, value).direction(Some(row.direction));
    let candidate = candidate.samples(Some(row.samples), row.errors);
    Ok(Candidate { slice: row.slice, interval, ..candidate })
}

fn interval(index: usize, bounds: &Bounds) -> Result<Interval, Problem> {
    let bound = |name: &str, text: &str| {
        let at = format!("results[{index}].interval.{name}");
        Decimal::parse(text).map_err(|error| Problem::field(at, format!("{:?} {error}", shown(text))))
    };
    Ok(Interval {
        lower: bound("lower", &bounds.lower)?,
        upper: bound("upper", &bounds.upper)?,
        level: bound("level", &bounds.level)?,
    })
}

fn performed_at(text: &str) -> Result<Timestamp, Problem> {
    let why = || format!("{:?} is not a time such as 2026-09-01T10:00:00Z", shown(text));
    text.parse().map_err(|_| Problem::field("performedAt", why()))
}

fn check_digest(digest: &str) -> Result<(), Problem> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    Err(Problem::field("report.digest", "expected sha256: and 64 lower-case hex digits"))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Direction, Format, Kind, Options, Relationship,
        testing::{problem, read, read_with, row},
    };

    const FAIRLEARN: &[u8] = include_bytes!("samples/fairlearn.json");

    #[test]
    fn file_of_a_script_around_fairlearn_is_read() {
        let reading = read(FAIRLEARN).unwrap();
        assert_eq!((reading.format, reading.kind), (Format::Native, Some(Kind::Fairness)));
        assert_eq!(reading.relationship, Some(Relationship::FirstParty));
        assert_eq!(reading.tool.as_ref().unwrap().name, "fairlearn");
        assert_eq!(
            row(&reading.results[0]),
            "demographic_parity_difference[sex] = 0.033717456253 LowerIsBetter, 400 samples, 0 errors"
        );
        assert_eq!(reading.results[3].slice.as_deref(), Some("sex=male"));
    }

    const YAML: &str = "
kind: Robustness
method: 100 perturbed prompts, read by hand
tool: {name: notebook, version: '3'}
report: {digest: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}
performedAt: 2026-09-01T10:00:00+02:00
results:
- {metric: flips, value: 0.10000000000000000000001, direction: LowerIsBetter, samples: 100, errors: 2}
- metric: kept
  value: '0.90'
  direction: HigherIsBetter
  samples: 100
  interval: {lower: 0.85, upper: '0.94', level: 0.95}
";

    #[test]
    fn yaml_is_read_without_a_loss_of_digits() {
        let reading = read(YAML.as_bytes()).unwrap();
        assert_eq!(row(&reading.results[0]), "flips = 0.1 LowerIsBetter, 100 samples, 2 errors");
        assert_eq!(
            row(&reading.results[1]),
            "kept = 0.9 HigherIsBetter, 100 samples, 0 errors, 0.85 to 0.94 at 0.95"
        );
        assert_eq!(reading.performed_at.unwrap().to_string(), "2026-09-01T08:00:00Z");
        assert_eq!(reading.method.as_deref(), Some("100 perturbed prompts, read by hand"));
    }

    #[test]
    fn unknown_and_duplicate_fields_are_refused_in_both_notations() {
        let json = |fields: &str| {
            let row =
                format!(r#"{{"metric":"m","value":"1","direction":"HigherIsBetter","samples":1{fields}}}"#);
            format!(r#"{{"kind":"Other","results":[{row}]}}"#)
        };
        assert!(read(json("").as_bytes()).is_ok());
        assert!(problem(&json(r#","eror":1"#)).starts_with("results[0].eror: unknown field `eror`"));
        assert!(problem(&json(r#","samples":1"#)).contains("the key \"samples\" occurs twice"));
        assert!(problem(&json(r#","errors":-1"#)).contains("results[0].errors"));
        assert!(problem(&json(r#","passed":true"#)).contains("unknown field `passed`"));
        assert!(
            problem(&YAML.replace("samples: 100, errors", "eror: 1, samples: 100, errors")).contains("eror")
        );
        assert!(problem(&YAML.replace("kind: Robustness", "kind: Other\nkind: Other")).contains("duplicate"));
        assert!(problem(r#"{"kind":"Other","results":[], "apiVersion": "v1"}"#).contains("apiVersion"));
        assert!(problem(&format!("{YAML}---\nkind: Other\n")).contains("the format is unknown"));
    }

    #[test]
    fn wrong_types_and_times_are_refused() {
        for (from, to, expected) in [
            ("samples: 100, errors", "samples: many, errors", "invalid u64 at line 8"),
            (
                "2026-09-01T10:00:00+02:00",
                "2026-09-01T10:00:00",
                "performedAt: \"2026-09-01T10:00:00\" is not a time",
            ),
            ("direction: LowerIsBetter", "direction: Lower", "Lower"),
            ("kind: Robustness", "kind: Speed", "Speed"),
            ("upper: '0.94'", "upper: '0.5'", "the interval ends at 0.5, below its start 0.85"),
            ("level: 0.95", "level: 95", "the level 95 of the interval is not between 0 and 1"),
            ("sha256:0123", "sha256:123", "report.digest: expected sha256:"),
        ] {
            let error = problem(&YAML.replace(from, to));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn value_without_a_number_is_not_taken() {
        let reading = read(YAML.replace("'0.90'", ".nan").as_bytes()).unwrap();
        assert_eq!(reading.not_taken[0].reason, "\".nan\" is not a finite number");
        let options = Options { metrics: vec!["kept".to_owned()], ..Options::default() };
        assert!(read_with(YAML.replace("'0.90'", "N/A").as_bytes(), &options).is_err());
        assert_eq!(reading.results[0].direction, Direction::LowerIsBetter);
    }
}
