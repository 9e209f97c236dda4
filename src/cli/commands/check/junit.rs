//! Writes the results of the check as `JUnit` test cases, for CI systems that show no other format.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{
    FailOn,
    judge::{Checked, Outcome},
};
use crate::cli::error::{Error, Result};

/// Returns `JUnit` XML with one test case for each result. Consecutive results of the same file form a test suite.
pub fn xml(results: &[Checked], fail_on: FailOn) -> Result<String> {
    let mut report = Report::new("kubectl assent check");
    for file in results.chunk_by(|a, b| a.path == b.path) {
        let mut suite = TestSuite::new(&*file[0].path);
        suite.add_test_cases(file.iter().map(|checked| case(checked, fail_on)));
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| Error::Output(error.to_string()))
}

fn case(checked: &Checked, fail_on: FailOn) -> TestCase {
    let mut status = if fail_on.fails(checked.outcome) {
        TestCaseStatus::non_success(NonSuccessKind::Failure)
    } else if checked.outcome == Outcome::Runs {
        TestCaseStatus::success()
    } else {
        TestCaseStatus::skipped()
    };
    if checked.outcome != Outcome::Runs {
        status.set_message(&*checked.conclusion);
        status.set_description(checked.next.join("\n"));
    }
    let mut case = TestCase::new(checked.place(), status);
    case.set_classname(&*checked.path);
    if !checked.warnings.is_empty() {
        case.set_system_out(checked.warnings.join("\n"));
    }
    case
}
