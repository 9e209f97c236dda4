//! Derives the history of each object from the recorded changes. The times of the creation and the release of a pod
//! come from the API server, if it recorded them. The other times of a pod are those at which the witness received the
//! changes.
//!
//! ```text
//!  history.jsonl ── Line ──► History ─┬─ pods by uid     created, released, bound, gone
//!                                     ├─ clearances      by namespace, each with the period in which it was current
//!                                     ├─ record          the decisions of people
//!                                     └─ leaders         the holders of the Lease, each with its start
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Record, Subject, time};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The object was created or updated.
    Present,
    /// The object was deleted, or it was missing in a list.
    Gone,
}

/// A recorded change: one line of `history.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The time at which the witness received the change.
    pub at: Timestamp,
    pub change: Change,
    /// The object. If it is gone, its last known state.
    pub object: Value,
}

impl Line {
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    pub fn meta(&self) -> &Value {
        &self.object["metadata"]
    }

    pub fn text(&self, field: &str) -> String {
        self.meta()[field].as_str().unwrap_or_default().to_owned()
    }
}

#[derive(Clone, Debug)]
pub struct Life {
    /// The namespace and the name of the pod.
    pub name: (String, String),
    /// The namespace, and the name of the version for the revision in the arguments of the pod. The version may not
    /// exist.
    pub subject: Subject,
    pub last: Value,
    /// The time at which the API server admitted the pod.
    pub created: Timestamp,
    /// Whether the pod was held at its admission.
    pub was_held: bool,
    /// The time at which the gate was removed.
    pub released: Option<Timestamp>,
    /// The time at which the pod got a node.
    pub bound: Option<Timestamp>,
    /// The start of the deletion, or the end of a pod that was not deleted.
    pub ending: Option<Timestamp>,
    /// The time at which the pod succeeded, failed or disappeared, whichever was first.
    pub gone: Option<Timestamp>,
}

/// A spec of the Clearance, and the period in which this spec was current.
#[derive(Clone, Debug)]
pub struct ClearancePeriod {
    /// The start, according to the clock of the API server. If `spec` is `None`, the time at which the witness received
    /// the previous spec.
    pub from: Timestamp,
    /// The end, or `None` if the Clearance is still current.
    pub to: Option<Timestamp>,
    /// The spec. `None` if the watch missed the spec: then the generation increased by more than one.
    pub spec: Option<Value>,
}

#[derive(Debug, Default)]
pub struct History {
    /// The pods by uid.
    pub pods: BTreeMap<String, Life>,
    /// The Clearances by namespace.
    pub clearances: BTreeMap<String, Vec<ClearancePeriod>>,
    /// For the Clearance of each namespace: the last known generation, and the time at which the witness received this
    /// generation.
    seen: BTreeMap<String, (Option<i64>, Timestamp)>,
    pub record: Record,
    /// The holders of the Lease, each with the time at which the witness saw the change. A holder without name means
    /// that no operator held the Lease.
    pub leaders: Vec<(Timestamp, String)>,
    /// The first spec of each Approval, by namespace and name.
    pub approvals: BTreeMap<(String, String), Value>,
    /// Approvals that somebody changed or deleted: the time, namespace and name, and what happened.
    pub altered_approvals: Vec<(Timestamp, (String, String), &'static str)>,
    /// The existing Deployments, each with the times at which its spec changed.
    pub deployments: BTreeMap<(String, String), (Value, Vec<Timestamp>)>,
    /// For each Event: the uid of the object that it is about, the reason and the time.
    pub events: Vec<(String, String, Timestamp)>,
    /// The names of the pods that a `ReplicaSet` deleted, according to its Events.
    pub scaled_down: BTreeSet<String>,
    /// The time of the last line.
    pub end: Timestamp,
}

impl History {
    pub fn new(lines: &[Line]) -> Self {
        let mut history = Self::default();
        history.read_rules(lines);
        for line in lines {
            history.end = history.end.max(line.at);
            match line.kind() {
                "Pod" => history.pod(line),
                "Clearance" => history.clearance(line),
                "Approval" => history.approval(line),
                "Lease" => history.lease(line),
                "Deployment" => history.deployment(line),
                "Event" => {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let (about, why) = (&line.object["regarding"]["uid"], &line.object["reason"]);
                    if *why == "SuccessfulDelete" {
                        let pod = line.object["note"].as_str().and_then(|note| note.rsplit(' ').next());
                        history.scaled_down.extend(pod.map(str::to_owned));
                    }
                    let at = time(&line.meta()["creationTimestamp"]).unwrap_or(line.at);
                    history.events.push((text(about), text(why), at));
                }
                _ => {}
            }
        }
        history
    }

    /// Whether there is an Event with this reason about the object with `uid`.
    pub fn has_event(&self, uid: &str, reason: &str) -> bool {
        self.events.iter().any(|(of, why, _)| of == uid && why == reason)
    }

    /// Reads the decisions, and the levels, systems and digests, which do not change during a run.
    fn read_rules(&mut self, lines: &[Line]) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = |kind: &'static str| lines.iter().filter(move |line| line.kind() == kind);
        let levels: BTreeMap<_, Vec<String>> = of("RiskLevel")
            .map(|l| {
                let roles = l.object["spec"]["approvals"].as_array().into_iter().flatten();
                (l.text("name"), roles.map(|role| text(&role["role"])).collect())
            })
            .collect();
        for system in of("AISystem") {
            if let Some(roles) = levels.get(&text(&system.object["spec"]["riskLevel"])) {
                self.record.set_roles(&system.text("namespace"), roles.clone());
            }
        }
        let digests: BTreeMap<_, _> = of("ModelVersion")
            .map(|l| ((l.text("namespace"), l.text("name")), text(&l.object["status"]["subjectDigest"])))
            .collect();
        let mut known = BTreeSet::new();
        for approval in of("Approval").filter(|l| l.change == Change::Present && known.insert(l.text("uid")))
        {
            let version = (approval.text("namespace"), text(&approval.object["spec"]["modelVersion"]));
            self.record.add(&approval.object, digests.get(&version).map(String::as_str));
        }
    }

    fn pod(&mut self, line: &Line) {
        let (uid, object) = (line.text("uid"), &line.object);
        let held = is_held(object);
        let known = self.pods.entry(uid).or_insert_with(|| {
            let args = object["spec"]["containers"][0]["args"].as_array();
            let revision = args.and_then(|args| args.get(1)?.as_str()?.strip_prefix("--revision="));
            let namespace = line.text("namespace");
            Life {
                name: (namespace.clone(), line.text("name")),
                subject: (namespace, format!("v{}", revision.unwrap_or_default())),
                last: Value::Null,
                created: time(&line.meta()["creationTimestamp"]).unwrap_or(line.at),
                was_held: held || !object["metadata"]["annotations"]["assent.dev/released"].is_null(),
                released: None,
                bound: None,
                ending: None,
                gone: None,
            }
        });
        known.was_held |= held;
        if known.was_held && !held && known.released.is_none() {
            let entries = line.meta()["managedFields"].as_array().into_iter().flatten();
            let mut releases = entries.filter(|entry| entry["manager"] == "assent-release");
            known.released = releases.next().and_then(|entry| time(&entry["time"])).or(Some(line.at));
        }
        if !object["spec"]["nodeName"].is_null() {
            known.bound.get_or_insert(line.at);
        }
        if !line.meta()["deletionTimestamp"].is_null() {
            known.ending.get_or_insert(line.at);
        }
        let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if line.change == Change::Gone || ended {
            known.ending.get_or_insert(line.at);
            known.gone.get_or_insert(line.at);
        }
        known.last.clone_from(object);
    }

    fn clearance(&mut self, line: &Line) {
        let periods = self.clearances.entry(line.text("namespace")).or_default();
        let entries = line.meta()["managedFields"].as_array().into_iter().flatten();
        let written = entries.filter_map(|entry| time(&entry["time"])).max();
        let from = written.or_else(|| time(&line.meta()["creationTimestamp"])).unwrap_or(line.at);
        // The API server records times without fractions of a second. So the write may be up to a second after `from`.
        let to = if line.change == Change::Present { from + SignedDuration::from_secs(1) } else { line.at };
        let generation = line.meta()["generation"].as_i64();
        let before = self.seen.insert(line.text("namespace"), (generation, line.at));
        if let Some((Some(before), at)) = before
            && generation.is_some_and(|generation| generation > before + 1)
        {
            periods.push(ClearancePeriod { from: at, to: Some(to), spec: None });
        }
        let last = periods.iter_mut().rfind(|period| period.spec.is_some());
        if last.as_ref().is_some_and(|last| last.spec.as_ref() == Some(&line.object["spec"]))
            && line.change == Change::Present
        {
            return;
        }
        if let Some(last) = last {
            last.to.get_or_insert(to);
        }
        if line.change == Change::Present {
            periods.push(ClearancePeriod { from, to: None, spec: Some(line.object["spec"].clone()) });
        }
    }

    fn approval(&mut self, line: &Line) {
        let key = (line.text("namespace"), line.text("name"));
        let first = self.approvals.entry(key.clone()).or_insert_with(|| line.object["spec"].clone());
        if line.change == Change::Gone {
            self.altered_approvals.push((line.at, key, "is gone"));
        } else if *first != line.object["spec"] {
            self.altered_approvals.push((line.at, key, "was changed"));
        }
    }

    fn lease(&mut self, line: &Line) {
        let holder = line.object["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if line.text("name") == "assent" && self.leaders.last().is_none_or(|(_, last)| last != holder) {
            self.leaders.push((line.at, holder.to_owned()));
        }
    }

    fn deployment(&mut self, line: &Line) {
        let key = (line.text("namespace"), line.text("name"));
        if line.change == Change::Gone {
            self.deployments.remove(&key);
            return;
        }
        let known = self.deployments.entry(key).or_insert_with(|| (Value::Null, Vec::new()));
        if known.0["spec"] != line.object["spec"] {
            known.1.push(line.at);
        }
        known.0.clone_from(&line.object);
    }
}

/// Whether a pod has the gate of Assent.
pub fn is_held(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    gates.is_some_and(|gates| gates.iter().any(|gate| gate["name"] == "assent.dev/clearance"))
}
