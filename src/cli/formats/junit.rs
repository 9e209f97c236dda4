//! A `JUnit` XML report, as counts of tests.
//!
//! ```text
//!  <testsuites> <testsuite timestamp> <testcase> ─┬─ (none of these)                  passed
//!                                                 ├─ <failure>                        failed
//!                                                 ├─ <error>, <flakyFailure>, …       errors
//!                                                 └─ <skipped>                        not taken
//! ```
//!
//! The reader counts the elements. It does not read the attributes `tests` and `failures`, because tools give them
//! different meanings.

use jiff::Timestamp;
use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use super::{
    Direction, Kind, NotTaken, refusal::Problem, select::Content, statement::test_count, text::shortened,
};

/// The maximum depth of nested elements. The format itself sets no maximum, because suites can contain suites.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Passed,
    Skipped,
    Failed,
    /// The test raised an error, or the tool ran the test again after a failure.
    Error,
}

#[derive(Default)]
struct Counts {
    passed: u64,
    skipped: u64,
    failed: u64,
    errors: u64,
    /// The earliest start of a suite. `None` if no suite has a time with a UTC offset.
    started: Option<Timestamp>,
}

pub(super) fn content(text: &str) -> Result<Content, Problem> {
    let counts = count(text)?;
    let samples = counts.passed.saturating_add(counts.failed);
    let result = |metric: &str, count, direction| {
        test_count(metric, count, direction, samples).samples(Some(samples), counts.errors)
    };
    let mut content = Content {
        default_kind: Some(Kind::Other),
        candidates: vec![
            result("tests_passed", counts.passed, Direction::HigherIsBetter),
            result("tests_failed", counts.failed, Direction::LowerIsBetter),
        ],
        performed_at: counts.started,
        ..Content::default()
    };
    if counts.skipped > 0 {
        content.not_taken.push(NotTaken::new(
            "tests_skipped",
            format!("counts tests that did not run: {}", counts.skipped),
        ));
    }
    Ok(content)
}

fn count(text: &str) -> Result<Counts, Problem> {
    let invalid = |error: &dyn ToString| Problem::Xml(shortened(&error.to_string(), 256));
    let mut reader = Reader::from_str(text);
    let (mut counts, mut path, mut outcome) = (Counts::default(), Vec::new(), Outcome::Passed);
    loop {
        let event = reader.read_event().map_err(|error| invalid(&error))?;
        match &event {
            Event::Start(element) | Event::Empty(element) => {
                let name = element.local_name().as_ref().to_vec();
                counts.enter(&name, &path, element, &mut outcome)?;
                if matches!(event, Event::Start(_)) {
                    path.push(name);
                } else {
                    counts.leave(&name, outcome);
                }
                if path.len() > MAX_DEPTH {
                    return Err(Problem::Xml(format!("more than {MAX_DEPTH} nested elements")));
                }
            }
            Event::End(_) => {
                if let Some(name) = path.pop() {
                    counts.leave(&name, outcome);
                }
            }
            Event::DocType(_) => return Err(Problem::Xml("a document type is not allowed".to_owned())),
            Event::Eof if path.is_empty() => return Ok(counts),
            Event::Eof => return Err(Problem::Xml("the file ends inside an element".to_owned())),
            _ => {}
        }
    }
}

impl Counts {
    fn enter(
        &mut self,
        name: &[u8],
        path: &[Vec<u8>],
        element: &BytesStart<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), Problem> {
        let in_case = path.last().is_some_and(|parent| parent == b"testcase");
        match (name, path.is_empty()) {
            (b"testsuites" | b"testsuite", _) => self.start(element),
            (b"bom", true) => {
                let why =
                    "only BOMs in JSON are read; convert it with: cyclonedx convert --output-format json";
                return Err(Problem::Unsupported { tool: "CycloneDX (XML)", why });
            }
            (_, true) => {
                let name = shortened(&String::from_utf8_lossy(name), 64);
                return Err(Problem::UnknownFormat(format!("the XML element is {name}, not testsuites")));
            }
            (b"testcase", false) => *outcome = Outcome::Passed,
            (b"skipped", false) if in_case => *outcome = (*outcome).max(Outcome::Skipped),
            (b"failure", false) if in_case => *outcome = (*outcome).max(Outcome::Failed),
            (b"error" | b"flakyFailure" | b"flakyError" | b"rerunFailure" | b"rerunError", false)
                if in_case =>
            {
                *outcome = Outcome::Error;
            }
            _ => {}
        }
        Ok(())
    }

    fn leave(&mut self, name: &[u8], outcome: Outcome) {
        if name != b"testcase" {
            return;
        }
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Error => self.errors += 1,
        }
    }

    /// Keeps the earliest timestamp of the suites. A timestamp without a UTC offset is ignored.
    fn start(&mut self, element: &BytesStart<'_>) {
        let attribute =
            element.attributes().flatten().find(|attribute| attribute.key.as_ref() == b"timestamp");
        let time = attribute.and_then(|attribute| std::str::from_utf8(&attribute.value).ok()?.parse().ok());
        self.started = [self.started, time].into_iter().flatten().min();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Kind, Options,
        testing::{edited, problem, read, read_with, row},
    };

    const PYTEST: &[u8] = include_bytes!("samples/junit-pytest.xml");

    fn xml(cases: &str) -> String {
        format!("<?xml version=\"1.0\"?>\n<testsuite name=\"s\">{cases}</testsuite>")
    }

    #[test]
    fn report_of_pytest_is_read_as_counts() {
        let reading = read_with(PYTEST, &Options { allow_errors: true, ..Options::default() }).unwrap();
        let rows: Vec<_> = reading.results.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                "tests_passed = 2 HigherIsBetter, 3 samples, 1 errors",
                "tests_failed = 1 LowerIsBetter, 3 samples, 1 errors",
            ]
        );
        assert_eq!(reading.kind, Some(Kind::Other));
        assert_eq!(reading.not_taken[0].reason, "counts tests that did not run: 1");
        assert!(reading.performed_at.is_some());
        assert!(problem(std::str::from_utf8(PYTEST).unwrap()).contains("samples without a score: 1"));
    }

    #[test]
    fn attributes_do_not_count() {
        let text = edited(PYTEST, "failures=\"1\"", "failures=\"0\"");
        let options = Options { allow_errors: true, ..Options::default() };
        assert_eq!(read_with(text.as_bytes(), &options).unwrap().results[1].value.to_string(), "1");
    }

    #[test]
    fn reruns_are_errors_and_output_is_ignored() {
        let text = xml(
            "<testcase/><testcase><flakyFailure/></testcase><testcase><system-out>x<failure/></system-out></testcase>",
        );
        let reading =
            read_with(text.as_bytes(), &Options { allow_errors: true, ..Options::default() }).unwrap();
        assert_eq!(row(&reading.results[0]), "tests_passed = 2 HigherIsBetter, 2 samples, 1 errors");
    }

    #[test]
    fn report_without_tests_has_no_values() {
        assert!(problem(&xml("")).contains("no test ran"));
        assert!(
            problem(&xml("<testcase><skipped/></testcase>"))
                .contains("the file has no value that can be taken")
        );
    }

    #[test]
    fn hostile_and_other_xml_is_refused() {
        assert!(problem(&xml("<testcase>")).contains("not valid XML"));
        assert!(
            problem(&format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{}", xml("<testcase/>")))
                .contains("not valid XML")
        );
        assert!(problem(&xml(&"<testsuite>".repeat(1000))).contains("more than 64 nested"));
        assert!(problem("<html></html>").contains("the XML element is html"));
        assert!(problem("<bom/>").contains("cyclonedx convert"));
        assert!(problem("<").contains("not valid XML"));
        assert!(read(xml("<testcase/>").as_bytes()).is_ok());
    }
}
