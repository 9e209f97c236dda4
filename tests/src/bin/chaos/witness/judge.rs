//! The judgement: whether what happened to each pod is what was promised. It knows what the API server told,
//! when something was down, and by how much the operators' clocks were wrong; of the operators it knows nothing.
//!
//! ```text
//!  I1  admitted or released     a Clearance that stood no longer than LAG before matched it and had not ended,
//!                               and so did the people's record
//!  I2  clearance lost           gone within the grace and SLACK, or asked to be and an Event names its node
//!  I3  in the end               what is approved runs with its replicas; nothing approved was stopped
//!  I4  always                   no Approval is gone or changed; what was stopped has its Event
//!  I5  always                   what a Clearance cleared was not held, and got a node
//! ```
//!
//! LAG, grace and SLACK are counted while what they depend on is up ([`Uptime`]): the API server and etcd for
//! what the API server decides, and a leading operator besides for what the operator does.
//!
//! A clock that is wrong: an end is kept by the API server to the second, whatever the operators' clocks say.
//! Only running pods are stopped by the operator's clock: as much too late as it is slow, or too early as it is
//! fast; and where two operators' clocks differ, a grace that one began and another ends is wrong by as much.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::history::{History, Life, Stood, is_held};
use super::record::time;
use super::uptime::Uptime;
use crate::faults::Outage;

/// How long what was written may be unknown to who must know it.
const LAG: Duration = Duration::from_secs(5);

/// How much longer than the grace a stop may take, on a machine that has much else to do.
const SLACK: Duration = Duration::from_secs(5);

/// How long a pod that is not held may wait for a node.
const UNSCHEDULED: Duration = Duration::from_secs(15);

/// What the witness is told beside what it sees.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Testimony {
    /// What was down or hindered, and when.
    pub outages: Vec<Outage>,
    /// The error of each operator's clock in seconds.
    pub skew: Vec<i64>,
    /// The grace of every level in seconds.
    pub grace: u32,
}

/// A promise that was not kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violation {
    /// `I1` to `I5`.
    pub promise: String,
    /// The uid of the object concerned, or its name.
    pub object: String,
    /// The namespace and version concerned.
    pub subject: (String, String),
    /// From when it matters.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// What is wrong.
    pub says: String,
}

/// How much was judged, and how close to the bounds it came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Pods that were seen.
    pub pods: usize,
    /// Those of them that got a node.
    pub bound: usize,
    /// Those that were held.
    pub held: usize,
    /// Losses of clearance under running pods.
    pub losses: usize,
    /// The longest that one of them was survived, in milliseconds of uptime beyond the grace.
    pub slowest_stop: u64,
    /// Decisions.
    pub decisions: usize,
    /// How often the leader was another.
    pub leaders: usize,
}

/// Judges all of it.
pub fn judge(history: &History, testimony: &Testimony) -> (Vec<Violation>, Figures) {
    let mut judge = Judge::new(history, testimony);
    for (uid, life) in &history.pods {
        judge.admission(uid, life);
        judge.start(uid, life);
        judge.stop(uid, life);
        judge.event(uid, life);
    }
    judge.memory();
    let lives = || history.pods.values();
    judge.figures = Figures {
        pods: history.pods.len(),
        bound: lives().filter(|life| life.bound.is_some()).count(),
        held: lives().filter(|life| life.was_held).count(),
        decisions: history.approvals.len(),
        leaders: history.leaders.len(),
        ..judge.figures
    };
    (judge.violations, judge.figures)
}

struct Judge<'a> {
    history: &'a History,
    testimony: &'a Testimony,
    /// When the API server and etcd were themselves.
    api: Uptime,
    /// When an operator led besides.
    service: Uptime,
    /// When the scheduler was there besides.
    scheduling: Uptime,
    /// When the controllers were there besides.
    controlling: Uptime,
    violations: Vec<Violation>,
    figures: Figures,
}

impl<'a> Judge<'a> {
    fn new(history: &'a History, testimony: &'a Testimony) -> Self {
        let of = |who: &'static [&'static str]| {
            let outages = testimony.outages.iter().filter(move |outage| who.contains(&outage.who.as_str()));
            outages.map(|outage| (outage.from, outage.to))
        };
        let api = Uptime::backing_off(of(&["kube-apiserver", "etcd"]));
        let scheduling = api.and(&Uptime::backing_off(of(&["kube-scheduler"])));
        let controlling = api.and(&Uptime::backing_off(of(&["kube-controller-manager"])));
        let service = api.and(&led(history, testimony));
        Self {
            history,
            testimony,
            api,
            service,
            scheduling,
            controlling,
            violations: Vec::new(),
            figures: Figures::default(),
        }
    }

    /// I1, and the part of I5 that is decided at admission.
    fn admission(&mut self, uid: &str, life: &Life) {
        let at = if life.was_held { life.released } else { Some(life.created) };
        if life.was_held && self.all_clear(life) {
            self.violate("I5", uid, life, life.created, "it was held though a clearance cleared it");
        }
        let Some(at) = at else {
            if life.bound.is_some() {
                self.violate("I1", uid, life, life.created, "it has a node, and a gate");
            }
            return;
        };
        let what = if life.was_held { "released" } else { "admitted" };
        let may_clear = |spec: &Option<Value>| spec.as_ref().is_none_or(|spec| clears(spec, &life.last, at));
        if !self.standing(life, at).any(|stood| may_clear(&stood.spec)) {
            let says = format!("it was {what} at {at}, and no clearance that stood then cleared it");
            self.violate("I1", uid, life, at, &says);
        } else if !self.recorded(life, at) {
            let says = format!("it was {what} at {at}, and nobody's decisions cleared {}", life.subject.1);
            self.violate("I1", uid, life, at, &says);
        }
    }

    fn recorded(&self, life: &Life, at: Timestamp) -> bool {
        let known = (self.service.before(at, LAG), at + SignedDuration::from_secs(1));
        self.history.record.cleared_for_somebody(&life.subject, known, at)
    }

    /// The clearances that the API server may have known at an instant.
    fn standing(&self, life: &Life, at: Timestamp) -> impl Iterator<Item = &'a Stood> + use<'a> {
        let (from, to) = (self.api.before(at, LAG), at + SignedDuration::from_secs(1));
        let all = self.history.clearances.get(&life.name.0);
        all.into_iter().flatten().filter(move |s| s.from <= to && s.to.is_none_or(|end| end >= from))
    }

    fn all_clear(&self, life: &Life) -> bool {
        let mut standing = self.standing(life, life.created).peekable();
        let does_clear =
            |spec: &Option<Value>| spec.as_ref().is_some_and(|s| clears(s, &life.last, life.created));
        standing.peek().is_some() && standing.all(|stood| does_clear(&stood.spec))
    }

    /// I5: what is not held gets a node.
    fn start(&mut self, uid: &str, life: &Life) {
        let from = if life.was_held { life.released } else { Some(life.created) };
        let to = life.bound.or(life.ending).unwrap_or(self.history.end);
        let Some(from) = from.filter(|from| *from < to) else { return };
        let waited = self.scheduling.between(from, to);
        if waited > UNSCHEDULED {
            self.violate("I5", uid, life, from, &format!("it was not held and had no node for {waited:.1?}"));
        }
    }

    /// I2, and that nothing approved is stopped.
    fn stop(&mut self, uid: &str, life: &Life) {
        let Some(bound) = life.bound else { return };
        let gone = life.gone.unwrap_or(self.history.end);
        let (slow, fast, apart) = self.clocks();
        let grace = Duration::from_secs(self.testimony.grace.into());
        for (lost, back) in self.history.record.losses(&life.subject, bound, gone) {
            let ended = self.history.record.about(&life.subject).iter().any(|said| said.end == Some(lost));
            let wrong = apart + if ended { slow } else { Duration::ZERO };
            let survived = self.service.between(lost, back.min(gone)).saturating_sub(wrong);
            self.figures.losses += 1;
            let by = lost + SignedDuration::try_from(grace + SLACK + wrong).unwrap_or_default();
            if waits_for_its_node(self.history, uid, life, by) {
                continue;
            }
            let late = u64::try_from(survived.saturating_sub(grace).as_millis()).unwrap_or(u64::MAX);
            self.figures.slowest_stop = self.figures.slowest_stop.max(late);
            if survived > grace + SLACK {
                let says = format!("it lost its clearance at {lost} and ran on for {survived:.1?} of uptime");
                self.violate("I2", uid, life, lost, &says);
            }
        }
        if let Some(ending) = life.ending.filter(|_| self.history.is_said(uid, "ClearanceLost")) {
            let from = self.service.before(ending, LAG);
            let to =
                ending + SignedDuration::from_secs(1) + SignedDuration::try_from(fast).unwrap_or_default();
            let known = self.history.record.instants(&life.subject, from, to);
            if known.into_iter().all(|at| self.history.record.cleared(&life.subject, at)) {
                self.violate("I3", uid, life, ending, "it was stopped though it was cleared");
            }
        }
    }

    /// I4: whoever stopped a pod says so.
    fn event(&mut self, uid: &str, life: &Life) {
        let (Some(_), Some(ending)) = (life.bound, life.ending) else { return };
        let second = SignedDuration::from_secs(1);
        let lost = self.history.record.losses(&life.subject, ending - second * 3, ending);
        let lost = lost.first().is_some_and(|(from, to)| *from <= ending - second * 3 && *to >= ending);
        let own_doing = self.history.scaled_down.contains(&life.name.1)
            || !life.last["metadata"]["annotations"]["chaos/deleted"].is_null();
        let app = life.last["metadata"]["labels"]["app"].as_str().unwrap_or_default().to_owned();
        let rolled = self.history.deployments.get(&(life.name.0.clone(), app));
        let since = self.controlling.before(ending, Duration::from_secs(10));
        let rolled = rolled
            .is_some_and(|(_, changes)| changes.iter().any(|at| since <= *at && *at <= ending + second));
        let hindered = self.testimony.outages.iter().any(|outage| {
            (outage.who.starts_with("operator") || outage.who == "kube-apiserver" || outage.who == "etcd")
                && outage.from <= ending + second * 15
                && ending - second * 3 <= outage.to
        });
        if lost && !own_doing && !rolled && !hindered && !self.history.is_said(uid, "ClearanceLost") {
            self.violate("I4", uid, life, ending, "it was stopped, and no Event says why");
        }
    }

    /// I4: decisions stay.
    fn memory(&mut self) {
        for (at, (namespace, name), what) in &self.history.forgotten {
            self.violations.push(Violation {
                promise: "I4".to_owned(),
                object: name.clone(),
                subject: (namespace.clone(), String::new()),
                from: *at,
                to: *at,
                says: format!("approval {namespace}/{name} {what}"),
            });
        }
    }

    /// By how much the slowest clock is slow, the fastest fast, and by how much they differ.
    fn clocks(&self) -> (Duration, Duration, Duration) {
        let skew = || self.testimony.skew.iter().copied();
        let (slowest, fastest) = (skew().min().unwrap_or(0), skew().max().unwrap_or(0));
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        (seconds(-slowest), seconds(fastest), seconds(fastest - slowest))
    }

    fn violate(&mut self, promise: &str, uid: &str, life: &Life, from: Timestamp, says: &str) {
        let to = life.gone.unwrap_or(self.history.end).max(from);
        let (namespace, name) = &life.name;
        self.violations.push(Violation {
            promise: promise.to_owned(),
            object: uid.to_owned(),
            subject: life.subject.clone(),
            from,
            to,
            says: format!("pod {namespace}/{name}: {says}"),
        });
    }
}

/// When the holder of the Lease could do its work.
fn led(history: &History, testimony: &Testimony) -> Uptime {
    let begin = history.leaders.first().map_or(history.end, |(at, _)| *at);
    let mut down = vec![(Timestamp::UNIX_EPOCH, begin)];
    let ends = history.leaders.iter().skip(1).map(|(at, _)| *at).chain([history.end]);
    for ((from, leader), to) in history.leaders.iter().zip(ends) {
        if leader.is_empty() {
            down.push((*from, to));
        }
        // What it could not do at the end of its time was not done until the next one recovered.
        let outages = testimony.outages.iter().filter(|outage| outage.who == *leader);
        for outage in outages.filter(|outage| outage.from < to && *from <= outage.to) {
            let hindered = matches!(outage.what.split('(').next(), Some("Storm" | "Partition"));
            let rest = if hindered { outage.to.duration_since(outage.from) } else { SignedDuration::ZERO };
            down.push((outage.from.max(*from), (outage.to + rest).min(to)));
        }
        // A new leader begins anew.
        down.push((*from, *from));
    }
    Uptime::recovering(down)
}

/// What the witness sees at the moment that is not as it should be in the end.
pub fn unsettled(history: &History, now: Timestamp) -> Vec<String> {
    let cleared = |life: &Life| {
        let clearance = history
            .clearances
            .get(&life.name.0)
            .and_then(|all| all.iter().rev().find_map(|s| s.spec.as_ref()));
        history.record.cleared(&life.subject, now)
            && clearance.is_some_and(|spec| clears(spec, &life.last, now))
    };
    let alive = || history.pods.iter().filter(|(_, life)| life.gone.is_none());
    let runs = alive().filter(|(uid, life)| {
        life.bound.is_some() && !cleared(life) && !waits_for_its_node(history, uid, life, now)
    });
    let mut wrong: Vec<_> = runs
        .map(|(_, life)| format!("pod {}/{} runs and is not cleared", life.name.0, life.name.1))
        .collect();
    for ((namespace, name), (deployment, _)) in &history.deployments {
        let revision = deployment["spec"]["template"]["spec"]["containers"][0]["args"][1].as_str();
        let version =
            format!("v{}", revision.and_then(|arg| arg.strip_prefix("--revision=")).unwrap_or_default());
        if !history.record.cleared(&(namespace.clone(), version.clone()), now) {
            continue;
        }
        let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
        let ours = alive().map(|(_, life)| life).filter(|life| {
            life.name.0 == *namespace
                && life.last["metadata"]["labels"]["app"] == *name
                && life.ending.is_none()
        });
        let (mut running, mut others) = (0, 0);
        for life in ours {
            let ready = life.subject.1 == version && life.last["status"]["phase"] == "Running";
            if ready && !is_held(&life.last) { running += 1 } else { others += 1 }
        }
        if running != wanted || others != 0 {
            wrong.push(format!(
                "deployment {namespace}/{name}: {version} is cleared and {running} of {wanted} pods run, with {others} others"
            ));
        }
    }
    wrong
}

/// Whether a pod was to have ended `by` then, and an Event says that its node does not say that it did.
fn waits_for_its_node(history: &History, uid: &str, life: &Life, by: Timestamp) -> bool {
    time(&life.last["metadata"]["deletionTimestamp"]).is_some_and(|end| end <= by)
        && history.is_said(uid, "StopOverdue")
}

/// Whether a clearance clears a pod at an instant: an equality of the parts that the workloads here vary.
fn clears(clearance: &Value, pod: &Value, now: Timestamp) -> bool {
    let system = pod["metadata"]["labels"]["assent.dev/system"].as_str().unwrap_or_default();
    let cleared = clearance["systems"][system]["cleared"].as_array().into_iter().flatten();
    cleared.into_iter().any(|version| {
        time(&version["notAfter"]).is_some_and(|end| now < end)
            && ["containers", "initContainers"]
                .iter()
                .all(|list| parts(&version["runtime"][list]) == parts(&pod["spec"][list]))
    })
}

fn parts(containers: &Value) -> Vec<Value> {
    let each = containers.as_array().into_iter().flatten();
    let part = |c: &Value| json!([c["name"], c["image"], c["command"], c["args"], c["env"], c["envFrom"]]);
    each.map(part).collect()
}
