//! What the API server told, line by line as it came, and what follows from it for each pod.
//!
//! ```text
//!  Line ── at ── told ── object        history.jsonl, in the order in which it came
//!   └──► History ─┬─ pods by uid       created, released, bound, gone: the API server's time where it says one
//!                 ├─ clearances        by namespace; each with the stretch for which it stood
//!                 ├─ record            what people decided
//!                 └─ leaders           whose the Lease was, since when
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Record, Subject, time};

/// What is told of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// It is so.
    Is,
    /// It was deleted; in a list it was missing.
    Gone,
}

/// Something the API server told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// When the witness heard of it.
    pub at: Timestamp,
    /// What.
    pub told: Told,
    /// Of which object.
    pub object: Value,
}

impl Line {
    /// The object's kind.
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// The object's metadata.
    pub fn meta(&self) -> &Value {
        &self.object["metadata"]
    }

    /// A text of its metadata.
    pub fn text(&self, field: &str) -> String {
        self.meta()[field].as_str().unwrap_or_default().to_owned()
    }
}

/// The life of a pod.
#[derive(Clone, Debug)]
pub struct Life {
    /// Its namespace and name.
    pub name: (String, String),
    /// The version whose revision it runs, if it is one.
    pub subject: Subject,
    /// As it was last seen.
    pub last: Value,
    /// When it was admitted.
    pub created: Timestamp,
    /// Whether it was held when it was admitted.
    pub was_held: bool,
    /// When its gate was lifted.
    pub released: Option<Timestamp>,
    /// When it was first seen with a node.
    pub bound: Option<Timestamp>,
    /// When it was first seen to be ending.
    pub ending: Option<Timestamp>,
    /// When it was first seen to be gone, or to have ended.
    pub gone: Option<Timestamp>,
}

/// A clearance and the stretch during which it stood.
#[derive(Clone, Debug)]
pub struct Stood {
    /// From when, by the API server's clock.
    pub from: Timestamp,
    /// Until when.
    pub to: Option<Timestamp>,
    /// What it said; none, if nobody saw it: the watch was broken, and what followed had been written twice.
    pub spec: Option<Value>,
}

/// What follows from the lines.
#[derive(Debug, Default)]
pub struct History {
    /// By uid.
    pub pods: BTreeMap<String, Life>,
    /// By namespace.
    pub clearances: BTreeMap<String, Vec<Stood>>,
    /// The generation of each as it was last seen, and when.
    seen: BTreeMap<String, (Option<i64>, Timestamp)>,
    /// What people decided.
    pub record: Record,
    /// Whose the Lease was, since when.
    pub leaders: Vec<(Timestamp, String)>,
    /// Approvals by namespace and name, as they were first seen.
    pub approvals: BTreeMap<(String, String), Value>,
    /// Approvals that were changed or are gone.
    pub forgotten: Vec<(Timestamp, (String, String), &'static str)>,
    /// Deployments as they are, and when each last became another.
    pub deployments: BTreeMap<(String, String), (Value, Vec<Timestamp>)>,
    /// Events: of which uid, why, when.
    pub events: Vec<(String, String, Timestamp)>,
    /// Pods that their controller says it deleted.
    pub scaled_down: BTreeSet<String>,
    /// When the last line came.
    pub end: Timestamp,
}

impl History {
    /// Reads all lines.
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

    /// Whether there is an Event about the object with `uid` for this reason.
    pub fn is_said(&self, uid: &str, reason: &str) -> bool {
        self.events.iter().any(|(of, why, _)| of == uid && why == reason)
    }

    /// Levels, systems and the digests of versions do not change while it is watched, and decisions need them.
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
        let mut heard = BTreeSet::new();
        for approval in of("Approval").filter(|l| l.told == Told::Is && heard.insert(l.text("uid"))) {
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
            let mut lifted = entries.filter(|entry| entry["manager"] == "assent-release");
            known.released = lifted.next().and_then(|entry| time(&entry["time"])).or(Some(line.at));
        }
        if !object["spec"]["nodeName"].is_null() {
            known.bound.get_or_insert(line.at);
        }
        if !line.meta()["deletionTimestamp"].is_null() {
            known.ending.get_or_insert(line.at);
        }
        let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if line.told == Told::Gone || ended {
            known.ending.get_or_insert(line.at);
            known.gone.get_or_insert(line.at);
        }
        known.last.clone_from(object);
    }

    fn clearance(&mut self, line: &Line) {
        let stood = self.clearances.entry(line.text("namespace")).or_default();
        let entries = line.meta()["managedFields"].as_array().into_iter().flatten();
        let written = entries.filter_map(|entry| time(&entry["time"])).max();
        let from = written.or_else(|| time(&line.meta()["creationTimestamp"])).unwrap_or(line.at);
        // Written in that second, and perhaps at its very end.
        let to = if line.told == Told::Is { from + SignedDuration::from_secs(1) } else { line.at };
        let generation = line.meta()["generation"].as_i64();
        let before = self.seen.insert(line.text("namespace"), (generation, line.at));
        if let Some((Some(before), at)) = before
            && generation.is_some_and(|generation| generation > before + 1)
        {
            stood.push(Stood { from: at, to: Some(to), spec: None });
        }
        let last = stood.iter_mut().rfind(|stood| stood.spec.is_some());
        if last.as_ref().is_some_and(|last| last.spec.as_ref() == Some(&line.object["spec"]))
            && line.told == Told::Is
        {
            return;
        }
        if let Some(last) = last {
            last.to.get_or_insert(to);
        }
        if line.told == Told::Is {
            stood.push(Stood { from, to: None, spec: Some(line.object["spec"].clone()) });
        }
    }

    fn approval(&mut self, line: &Line) {
        let key = (line.text("namespace"), line.text("name"));
        let first = self.approvals.entry(key.clone()).or_insert_with(|| line.object["spec"].clone());
        if line.told == Told::Gone {
            self.forgotten.push((line.at, key, "is gone"));
        } else if *first != line.object["spec"] {
            self.forgotten.push((line.at, key, "was changed"));
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
        if line.told == Told::Gone {
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

/// Whether a pod is gated by Assent.
pub fn is_held(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    gates.is_some_and(|gates| gates.iter().any(|gate| gate["name"] == "assent.dev/clearance"))
}
