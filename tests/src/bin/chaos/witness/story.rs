//! Tells what led to a violation: the changes of the affected objects and the outages, in order of time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::history::{Change, Line, is_held};
use super::judge::{Testimony, Violation};

/// The story leaves out changes that are older than this time before the violation. Exceptions are Approvals, and
/// outages that had not ended by then.
const BEFORE: SignedDuration = SignedDuration::from_secs(20);

pub fn of(violation: &Violation, lines: &[Line], testimony: &Testimony) -> Vec<String> {
    let (from, to) = (violation.from - BEFORE, violation.to + SignedDuration::from_secs(2));
    let mut story: Vec<(Timestamp, String)> = Vec::new();
    let mut last = BTreeMap::new();
    for line in lines {
        let concerns = match line.kind() {
            "Pod" => line.text("uid") == violation.object,
            "Clearance" => line.text("namespace") == violation.subject.0,
            "Approval" => {
                line.text("namespace") == violation.subject.0
                    && line.object["spec"]["modelVersion"] == violation.subject.1
            }
            "Lease" => line.text("name") == "assent",
            "Event" => line.object["regarding"]["uid"] == violation.object,
            _ => false,
        };
        // Old decisions matter, because they can still be in effect.
        if !concerns || line.at > to || (line.at < from && line.kind() != "Approval") {
            continue;
        }
        let text = describe(line, &violation.subject.1);
        if last.insert(line.text("uid"), text.clone()).as_ref() != Some(&text) {
            story.push((line.at, text));
        }
    }
    for outage in testimony.outages.iter().filter(|outage| outage.from <= to && from <= outage.to) {
        let seconds = outage.to.duration_since(outage.from).as_secs_f64();
        story.push((outage.from, format!("{} {} for {seconds:.1}s", outage.who, outage.what)));
    }
    story.sort_by_key(|(at, _)| *at);
    let begin = story.first().map_or(from, |(at, _)| *at);
    let since = |at: Timestamp| at.duration_since(begin).as_secs_f64();
    story.into_iter().map(|(at, what)| format!("{at:.3} {:7.3}s  {what}", since(at))).collect()
}

fn describe(line: &Line, version: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (object, spec) = (&line.object, &line.object["spec"]);
    let what = match line.kind() {
        "Pod" => {
            let gate = if is_held(object) { "held" } else { "not held" };
            let ends = text(&line.meta()["deletionTimestamp"]);
            let (node, phase) = (text(&spec["nodeName"]), text(&object["status"]["phase"]));
            let released = text(&line.meta()["annotations"]["assent.dev/released"]);
            let created = text(&line.meta()["creationTimestamp"]);
            format!("pod created={created} {gate} node={node:?} {phase} released={released:?} ends={ends:?}")
        }
        "Clearance" => {
            let systems = spec["systems"].as_object().into_iter().flatten();
            let cleared = systems.flat_map(|(_, system)| system["cleared"].as_array().into_iter().flatten());
            let of_version = cleared.filter(|cleared| cleared["modelVersion"] == version);
            let ends: Vec<_> = of_version.map(|cleared| text(&cleared["notAfter"])).collect();
            let written = line.meta()["managedFields"].as_array().into_iter().flatten();
            let written = written.map(|entry| text(&entry["time"])).max().unwrap_or_default();
            format!("clearance written={written} {version} until {ends:?}")
        }
        "Approval" => {
            let (who, end) = (text(&spec["approver"]["user"]), text(&spec["notAfter"]));
            let at = text(&line.meta()["creationTimestamp"]);
            format!(
                "approval at={at} {who} {} {} until={end:?}",
                text(&spec["decision"]),
                text(&spec["role"])
            )
        }
        "Lease" => format!("lease holder={}", text(&spec["holderIdentity"])),
        "Event" => format!("event {} {}", text(&object["reason"]), text(&object["note"])),
        kind => kind.to_owned(),
    };
    if line.change == Change::Gone { format!("GONE {what}") } else { what }
}
