//! Judges whether Assent kept the following promises, I1 to I5, for each pod. The judge knows only the recorded
//! changes, the outages and the errors of the operators' clocks.
//!
//! * I1: If a pod is admitted without a gate, or released, a Clearance contained the pod and had not expired. This
//!   Clearance was current then, or at most LAG earlier. The decisions of the people also cleared the pod.
//! * I2: After a loss of clearance, a pod is gone within the grace period plus SLACK. Otherwise, it is deleted in time
//!   and has an Event `StopOverdue`.
//! * I3: At the end, approved Deployments have all replicas. Assent never stops an approved pod.
//! * I4: No Approval is deleted or changed. A pod that Assent stopped has an Event with the reason.
//! * I5: A pod is not held at its creation if all Clearances of the last LAG cleared it. A pod that is not held gets a
//!   node.
//!
//! LAG, grace period and SLACK are measured in [`Uptime`]: only the time counts in which the required components were
//! up. Decisions of the API server require the API server and etcd. Work of the operator also requires a leader.
//!
//! Wrong clocks of operators have these effects:
//!
//! * A fast clock ends an approval early, because the operator removes the version from the Clearance early.
//! * A slow clock does not extend an approval for new pods, because the API server checks the end with its own clock.
//! * A slow clock stops running pods late.
//! * If one operator starts a grace period and another operator ends it, the length of the grace period is wrong by the
//!   difference of their clocks.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::history::{ClearancePeriod, History, Life, is_held};
use super::record::time;
use super::uptime::Uptime;
use crate::faults::Outage;

/// The longest time from the write of an object until every component has received it.
const LAG: Duration = Duration::from_secs(5);

/// The longest time that a stop may take beyond the grace period. It allows for a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// The longest time for which a pod without a gate may wait for a node.
const UNSCHEDULED: Duration = Duration::from_secs(15);

/// The facts that the test gives to the witness.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Testimony {
    pub outages: Vec<Outage>,
    /// The error of each operator's clock in seconds. Positive if the clock is fast.
    pub skew: Vec<i64>,
    /// The grace period of all risk levels in seconds.
    pub grace: u32,
}

/// A broken promise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violation {
    /// The promise that is broken, `I1` to `I5`.
    pub promise: String,
    /// The uid of the pod, or the name of the Approval.
    pub object: String,
    /// The namespace and the name of the version.
    pub subject: (String, String),
    /// The start of the period with the violation.
    pub from: Timestamp,
    /// The end of the period with the violation.
    pub to: Timestamp,
    pub says: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    pub pods: usize,
    /// The pods that got a node.
    pub bound: usize,
    /// The pods that were held.
    pub held: usize,
    /// The number of losses of clearance while a pod ran.
    pub losses: usize,
    /// The longest time that a pod ran beyond its grace period, in milliseconds of [`Uptime`].
    pub slowest_stop: u64,
    /// The number of Approvals, with any decision.
    pub decisions: usize,
    /// The number of changes of the leader, including the first leader.
    pub leaders: usize,
}

pub fn judge(history: &History, testimony: &Testimony) -> (Vec<Violation>, Figures) {
    let mut judge = Judge::new(history, testimony);
    for (uid, life) in &history.pods {
        judge.admission(uid, life);
        judge.start(uid, life);
        judge.stop(uid, life);
        judge.event(uid, life);
    }
    judge.approvals();
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
    /// The times at which the API server and etcd were up.
    api: Uptime,
    /// The times at which the API server and etcd were up and an operator was the leader.
    service: Uptime,
    /// The times at which the API server, etcd and the scheduler were up.
    scheduling: Uptime,
    /// The times at which the API server, etcd and the controllers were up.
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

    /// Checks I1, and the part of I5 about admission.
    fn admission(&mut self, uid: &str, life: &Life) {
        let at = if life.was_held { life.released } else { Some(life.created) };
        if life.was_held && self.all_clear(life) {
            self.violate(
                "I5",
                uid,
                life,
                life.created,
                "it was held at its creation, although every current Clearance cleared it",
            );
        }
        let Some(at) = at else {
            if life.bound.is_some() {
                self.violate("I1", uid, life, life.created, "it has a node, but also the gate");
            }
            return;
        };
        let what = if life.was_held { "released" } else { "admitted" };
        let may_clear = |spec: &Option<Value>| spec.as_ref().is_none_or(|spec| clears(spec, &life.last, at));
        if !self.known_clearances(life, at).any(|period| may_clear(&period.spec)) {
            let says = format!("it was {what} at {at}, but no current Clearance cleared it");
            self.violate("I1", uid, life, at, &says);
        } else if !self.recorded(life, at) {
            let says = format!("it was {what} at {at}, but the decisions did not clear {}", life.subject.1);
            self.violate("I1", uid, life, at, &says);
        }
    }

    fn recorded(&self, life: &Life, at: Timestamp) -> bool {
        let known = (self.service.before(at, LAG), at + SignedDuration::from_secs(1));
        self.history.record.may_have_been_cleared(&life.subject, known, at)
    }

    /// The Clearances that the API server may have used at the instant `at`.
    fn known_clearances(
        &self,
        life: &Life,
        at: Timestamp,
    ) -> impl Iterator<Item = &'a ClearancePeriod> + use<'a> {
        let (from, to) = (self.api.before(at, LAG), at + SignedDuration::from_secs(1));
        let all = self.history.clearances.get(&life.name.0);
        all.into_iter().flatten().filter(move |s| s.from <= to && s.to.is_none_or(|end| end >= from))
    }

    fn all_clear(&self, life: &Life) -> bool {
        let mut known = self.known_clearances(life, life.created).peekable();
        let does_clear =
            |spec: &Option<Value>| spec.as_ref().is_some_and(|s| clears(s, &life.last, life.created));
        known.peek().is_some() && known.all(|period| does_clear(&period.spec))
    }

    /// Checks I5: a pod that is not held gets a node.
    fn start(&mut self, uid: &str, life: &Life) {
        let from = if life.was_held { life.released } else { Some(life.created) };
        let to = life.bound.or(life.ending).unwrap_or(self.history.end);
        let Some(from) = from.filter(|from| *from < to) else { return };
        let waited = self.scheduling.between(from, to);
        if waited > UNSCHEDULED {
            self.violate("I5", uid, life, from, &format!("it was not held and had no node for {waited:.1?}"));
        }
    }

    /// Checks I2, and one part of I3: no approved pod is stopped.
    fn stop(&mut self, uid: &str, life: &Life) {
        let Some(bound) = life.bound else { return };
        let gone = life.gone.unwrap_or(self.history.end);
        let (slow, fast, apart) = self.clocks();
        let grace = Duration::from_secs(self.testimony.grace.into());
        for (lost, back) in self.history.record.losses(&life.subject, bound, gone) {
            let ended =
                self.history.record.about(&life.subject).iter().any(|decision| decision.end == Some(lost));
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
                let says =
                    format!("it lost its clearance at {lost} and ran for another {survived:.1?} of uptime");
                self.violate("I2", uid, life, lost, &says);
            }
        }
        if let Some(ending) = life.ending.filter(|_| self.history.has_event(uid, "ClearanceLost")) {
            let from = self.service.before(ending, LAG);
            let to =
                ending + SignedDuration::from_secs(1) + SignedDuration::try_from(fast).unwrap_or_default();
            let known = self.history.record.instants(&life.subject, from, to);
            if known.into_iter().all(|at| self.history.record.cleared(&life.subject, at)) {
                self.violate("I3", uid, life, ending, "it was stopped, but it was cleared");
            }
        }
    }

    /// Checks I4: a pod that Assent stopped after a loss of clearance has an Event.
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
        if lost && !own_doing && !rolled && !hindered && !self.history.has_event(uid, "ClearanceLost") {
            self.violate("I4", uid, life, ending, "it was stopped, and no Event says why");
        }
    }

    /// Checks I4: Approvals stay unchanged.
    fn approvals(&mut self) {
        for (at, (namespace, name), what) in &self.history.altered_approvals {
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

    /// How far the slowest clock is slow, how far the fastest clock is fast, and the difference between these two
    /// clocks.
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

/// The times at which a leader existed and could work.
fn led(history: &History, testimony: &Testimony) -> Uptime {
    let begin = history.leaders.first().map_or(history.end, |(at, _)| *at);
    let mut down = vec![(Timestamp::UNIX_EPOCH, begin)];
    let ends = history.leaders.iter().skip(1).map(|(at, _)| *at).chain([history.end]);
    for ((from, leader), to) in history.leaders.iter().zip(ends) {
        if leader.is_empty() {
            down.push((*from, to));
        }
        // An outage of a leader ends at the latest when the next operator becomes the leader.
        let outages = testimony.outages.iter().filter(|outage| outage.who == *leader);
        for outage in outages.filter(|outage| outage.from < to && *from <= outage.to) {
            let hindered = matches!(outage.what.split('(').next(), Some("Storm" | "Partition"));
            let rest = if hindered { outage.to.duration_since(outage.from) } else { SignedDuration::ZERO };
            down.push((outage.from.max(*from), (outage.to + rest).min(to)));
        }
        // A new leader needs time before it works. `recovering` adds this time to an outage, so the start of the leader
        // is an outage without duration.
        down.push((*from, *from));
    }
    Uptime::recovering(down)
}

/// The differences between the current state and the state that Assent must reach after the faults.
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
        .map(|(_, life)| format!("pod {}/{} runs, but is not cleared", life.name.0, life.name.1))
        .collect();
    for ((namespace, name), (deployment, _)) in &history.deployments {
        let revision = deployment["spec"]["template"]["spec"]["containers"][0]["args"][1].as_str();
        let version =
            format!("v{}", revision.and_then(|arg| arg.strip_prefix("--revision=")).unwrap_or_default());
        if !history.record.cleared(&(namespace.clone(), version.clone()), now) {
            continue;
        }
        let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
        let pods = alive().map(|(_, life)| life).filter(|life| {
            life.name.0 == *namespace
                && life.last["metadata"]["labels"]["app"] == *name
                && life.ending.is_none()
        });
        let (mut running, mut others) = (0, 0);
        for life in pods {
            let ready = life.subject.1 == version && life.last["status"]["phase"] == "Running";
            if ready && !is_held(&life.last) { running += 1 } else { others += 1 }
        }
        if running != wanted || others != 0 {
            wrong.push(format!(
                "deployment {namespace}/{name}: {version} is cleared, but {running} of {wanted} pods run, and there are {others} others"
            ));
        }
    }
    wrong
}

/// Whether the `deletionTimestamp` of the pod is at most `by`, and an Event states that its node does not confirm the
/// end.
fn waits_for_its_node(history: &History, uid: &str, life: &Life, by: Timestamp) -> bool {
    time(&life.last["metadata"]["deletionTimestamp"]).is_some_and(|end| end <= by)
        && history.has_event(uid, "StopOverdue")
}

/// Whether a Clearance clears a pod at `now`. Compares only the fields that the chaos test varies.
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
