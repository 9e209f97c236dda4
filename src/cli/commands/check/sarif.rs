//! Writes the results of the check as a SARIF 2.1.0 log (OASIS). Code hosts show the results beside the lines of a pull
//! request.

use serde_json::{Value, json};

use super::judge::{Checked, Outcome};

/// Returns the SARIF log. Omits a result if the outcome is [`Outcome::Runs`] and the result has no warnings.
pub fn log(results: &[Checked]) -> Value {
    let results: Vec<_> = results.iter().filter_map(result).collect();
    let rule = |id: &str, text: &str| json!({ "id": id, "shortDescription": { "text": text } });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "kubectl-assent",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": [
                    rule("AwaitsApproval", "A pod would be held until people have approved it"),
                    rule("Held", "A pod would be held for another reason than missing approvals"),
                    rule("Invalid", "A manifest is not a valid object of its kind"),
                    rule("NotCounted", "An approval in a file does not count without a valid signature"),
                    rule("Uncertain", "A pod would run, but the check found something that people must look at"),
                    rule("Unforeseen", "A controller creates the pods, and the manifest does not show them"),
                ],
            } },
            "results": results,
        }],
    })
}

fn result(checked: &Checked) -> Option<Value> {
    let rule = match checked.outcome {
        Outcome::Runs if checked.warnings.is_empty() => return None,
        Outcome::Runs => json!("Uncertain"),
        other => json!(other),
    };
    let level = match checked.outcome {
        Outcome::Unforeseen => "note",
        Outcome::Runs | Outcome::AwaitsApproval | Outcome::NotCounted => "warning",
        Outcome::Held | Outcome::Invalid => "error",
    };
    let what = format!("{}: {}", checked.place(), checked.conclusion);
    let difference = checked.difference.as_ref().map(|difference| difference.trim_end().to_owned());
    let lines =
        [what].into_iter().chain(difference).chain(checked.next.iter().chain(&checked.warnings).cloned());
    let text = lines.collect::<Vec<_>>().join("\n");
    Some(json!({
        "ruleId": rule,
        "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": checked.path },
            "region": { "startLine": checked.part_line },
        } }],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The pods of a revoked version have the outcome `Held`, and new approvals can lift the revocation.
    #[test]
    fn rule_held_does_not_say_that_approvals_are_useless() {
        let log = log(&[]);
        let rules = log.pointer("/runs/0/tool/driver/rules").and_then(Value::as_array).expect("rules");
        let held = rules.iter().find(|rule| rule["id"] == json!(Outcome::Held)).expect("the rule");
        let wanted = "A pod would be held for another reason than missing approvals";
        assert_eq!(held["shortDescription"]["text"], wanted);
    }
}
