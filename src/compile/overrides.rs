//! Computes the statuses of overrides.
//!
//! ```text
//!  state of the override   condition Granted      condition Active      condition Reviewed
//!  requested               False AwaitingGrant …  False AwaitingGrant   absent
//!  in effect               True  Granted          True  InEffect        False NotDue
//!  ended                   True  Granted          False Expired …       False Due or Overdue
//!  reviewed                True  Granted          False Reviewed …      True  Justified or NotJustified
//! ```

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    index::{Cached, CachedOverride, NamespaceFacts},
    judged::Judged,
};
use crate::{
    api::{Approval, OverrideRules, OverrideStatus, ReviewOutcome, condition},
    policy::{GrantState, NoEffect, NotSigned, OverrideState, Overrides, RecordedOverride, SystemOverrides},
    truncate::{plain, shorten},
};

/// The overrides of each system, judged by the rules in the risk level of the system.
pub type JudgedOverrides<'a> = BTreeMap<&'a str, SystemOverrides<'a>>;

pub fn overrides(facts: &NamespaceFacts) -> Overrides<'_> {
    let overrides = facts
        .overrides
        .values()
        .filter_map(|cached| Some(((&*cached.name, cached.created?), &cached.spec, cached.digest.clone())));
    Overrides::new(overrides, facts.approvals.values().map(AsRef::as_ref), &facts.roles)
}

fn rules<'a>(facts: &'a NamespaceFacts, system: &str) -> Option<&'a OverrideRules> {
    facts.levels.get(&facts.systems.get(system)?.spec.risk_level)?.spec.overrides.as_ref()
}

pub fn judged<'a>(facts: &NamespaceFacts, overrides: &'a Overrides<'a>) -> JudgedOverrides<'a> {
    let judge = |(system, recorded)| Some((system, SystemOverrides::new(recorded, rules(facts, system)?)));
    overrides.systems().filter_map(judge).collect()
}

/// The next time at which the status of any override in `overrides` can change although no object changes.
pub fn next(
    overrides: &JudgedOverrides<'_>,
    judged: &BTreeMap<&str, Judged>,
    now: Timestamp,
) -> Option<Timestamp> {
    let states = overrides.values().flat_map(SystemOverrides::states).map(|(_, state)| state);
    let planned = states.flat_map(|state| [Some(state.planned_end), state.review_due]).flatten();
    let ends = judged.values().flat_map(|judged| judged.overrides.values());
    planned.chain(ends.filter_map(|end| end.as_ref().ok()).copied()).filter(|time| *time > now).min()
}

pub fn statuses(
    (namespace, facts): (&str, &NamespaceFacts),
    overrides: &JudgedOverrides<'_>,
    judged: &BTreeMap<&str, Judged>,
    now: Timestamp,
) -> BTreeMap<String, OverrideStatus> {
    let states: BTreeMap<&str, &OverrideState> = overrides
        .values()
        .flat_map(SystemOverrides::states)
        .map(|(recorded, state)| (recorded.name, state))
        .collect();
    let shown = |(name, cached): (&String, &std::sync::Arc<CachedOverride>)| {
        let about = Shown {
            namespace,
            cached,
            state: states.get(name.as_str()).copied(),
            rules: rules(facts, &cached.spec.system),
            judged: judged
                .get(&*cached.spec.model_version)
                .filter(|judged| judged.system == *cached.spec.system),
            now,
        };
        (name.clone(), about.status())
    };
    facts.overrides.iter().map(shown).collect()
}

/// A condition without its type: status, reason and message.
type Content = (bool, &'static str, String);

struct Shown<'a> {
    namespace: &'a str,
    cached: &'a CachedOverride,
    /// Like `rules`, `None` if the system or its risk level does not exist, or if the level has no rules for overrides.
    state: Option<&'a OverrideState>,
    rules: Option<&'a OverrideRules>,
    /// The judgement of the version that the override names, if this version exists.
    judged: Option<&'a Judged>,
    now: Timestamp,
}

impl Shown<'_> {
    fn status(&self) -> OverrideStatus {
        let before = self.cached.status.as_deref().map_or(&[][..], AsRef::as_ref);
        let generation = self.cached.generation;
        let make = |type_, (status, reason, message): Content| {
            let message = shorten(plain(&message).into_owned(), 4096);
            condition(before, (type_, status), reason, message, generation, self.now)
        };
        let active = self.active();
        let ready = (true, active.1, active.2.clone());
        let mut conditions =
            vec![make("Ready", ready), make("Granted", self.granted()), make("Active", active)];
        conditions.extend(self.reviewed().map(|reviewed| make("Reviewed", reviewed)));
        OverrideStatus {
            observed_generation: generation,
            conditions,
            digest: Some(self.cached.digest.clone()),
            not_after: self.end().map(Time),
            review_due: self.state.and_then(|state| state.review_due).map(Time),
        }
    }

    /// The end of the override's effect on the version. Without an effect, the planned end of the override. `None` if
    /// the risk level has no rules for overrides.
    fn end(&self) -> Option<Timestamp> {
        let of_version = self.effect().and_then(|effect| effect.as_ref().ok()).copied();
        of_version.or_else(|| self.state.map(|state| state.planned_end))
    }

    /// The end of the override's effect on the version, or the reason why the override has no effect. `None` if the
    /// version does not exist, or people did not grant the override.
    fn effect(&self) -> Option<&Result<Timestamp, NoEffect>> {
        self.judged?.overrides.get(&self.cached.name)
    }

    fn granted(&self) -> Content {
        let Some((state, rules)) = self.state.zip(self.rules) else {
            let system = &self.cached.spec.system;
            return (false, "NotAllowed", format!("the risk level of system {system} allows no override"));
        };
        match &state.grant {
            GrantState::Granted(at) => (true, "Granted", format!("people granted it at {at}")),
            GrantState::Awaiting(missing) => {
                let next =
                    format!("kubectl assent override grant {} -n {}", self.cached.name, self.namespace);
                (false, "AwaitingGrant", format!("{missing} ({next})"))
            }
            GrantState::TooLate => {
                let message = "people granted it only after its end or its review: request another override";
                (false, "GrantedTooLate", message.to_owned())
            }
            GrantState::OverQuota => {
                let count = rules.per_system.count;
                let message = format!("the system had used its quota of {count} when people granted it");
                (false, "OverQuota", message)
            }
            GrantState::AfterMissedReview(missed) => {
                let message = format!(
                    "the review of override/{missed} was missed when people granted it: review that one, then request another override"
                );
                (false, "ReviewMissed", message)
            }
        }
    }

    fn active(&self) -> Content {
        let granted = self.granted();
        if !granted.0 {
            return granted;
        }
        let version = &self.cached.spec.model_version;
        match self.effect() {
            None => (false, "SubjectNotFound", format!("there is no ModelVersion {version} of the system")),
            Some(Err(NoEffect::SubjectChanged)) => {
                let message = format!(
                    "{version} has other content than the override names, or was created after it: request another override"
                );
                (false, "SubjectChanged", message)
            }
            Some(Err(NoEffect::Revoked)) => {
                (false, "Revoked", format!("{version} was revoked after the override, or in the same second"))
            }
            Some(Err(NoEffect::PeopleInvolved(missing))) => {
                let message = format!(
                    "a person who granted it owns or wrote the system, or fills two roles: {missing}"
                );
                (false, "GranterIsInvolved", message)
            }
            Some(Ok(end)) if *end > self.now => self.in_effect(*end),
            Some(Ok(end)) if self.state.and_then(|s| s.review).is_some_and(|review| review.at <= *end) => {
                (false, "Reviewed", format!("its review ended it at {end}"))
            }
            Some(Ok(end)) => (false, "Expired", format!("it ended at {end}")),
        }
    }

    fn in_effect(&self, end: Timestamp) -> Content {
        let waived = self.judged.into_iter().flat_map(|judged| &judged.waived);
        let waived = waived.filter(|waived| waived.by == self.cached.name);
        let waived: Vec<_> = waived.map(|waived| waived.reason.to_string()).collect();
        let refused = self
            .cached
            .spec
            .waives
            .iter()
            .filter(|waiver| self.rules.is_none_or(|rules| !rules.waivable.contains(&waiver.type_)));
        let refused: Vec<_> = refused.map(|waiver| format!("{:?} {}", waiver.type_, waiver.name)).collect();
        let mut message = match &waived[..] {
            [] => format!(
                "it waives nothing now, because no requirement that it names is unmet, and ends at {end}"
            ),
            waived => format!("until {end} it waives: {}", waived.join("; ")),
        };
        if !refused.is_empty() {
            message = format!("{message}; the risk level lets nobody waive {}", refused.join(", "));
        }
        (true, "InEffect", message)
    }

    /// `None` if people did not grant the override, or the risk level has no rules for overrides.
    fn reviewed(&self) -> Option<Content> {
        let (state, rules) = self.state.zip(self.rules)?;
        let due = state.review_due?;
        if let Some(review) = state.review {
            let reason = match review.outcome {
                ReviewOutcome::Justified => "Justified",
                ReviewOutcome::NotJustified => "NotJustified",
            };
            return Some((true, reason, format!("a person reviewed it at {}", review.at)));
        }
        let reviewers = rules.review.roles.join(" or ");
        let next = format!("kubectl assent override review {} -n {}", self.cached.name, self.namespace);
        let people = "neither requested nor granted it";
        Some(if due <= self.now {
            let effect = "until then the system can use no other override";
            let message = format!(
                "the review was due at {due}, and {effect}: someone in role {reviewers} who {people} runs: {next}"
            );
            (false, "Overdue", message)
        } else if self.end().is_some_and(|end| end > self.now) {
            (false, "NotDue", format!("the review is due at {due}"))
        } else {
            (
                false,
                "Due",
                format!("someone in role {reviewers} who {people} reviews it before {due}: {next}"),
            )
        })
    }
}

/// Finds the override that the decision names. The override must have the name and the content that the decision
/// states. Otherwise, returns the reason and message of the decision's condition `Counted`. `act` is the subcommand of
/// `kubectl assent override` that signs the decision.
fn named<'a>(
    approval: &Cached<Approval>,
    not_signed: Option<&NotSigned>,
    act: &str,
    (facts, overrides): (&'a NamespaceFacts, &JudgedOverrides<'a>),
) -> Result<(&'a RecordedOverride<'a>, OverrideState), (&'static str, String)> {
    if let Some(why) = not_signed {
        let message = format!("{why}; have it signed again: kubectl assent override {act} --help");
        return Err(("SignatureNotValid", message));
    }
    let spec = &approval.spec;
    let name = spec.override_.as_ref().map_or("", |named| &*named.name);
    let system = &spec.system;
    if facts.systems.contains_key(system) && rules(facts, system).is_none() {
        return Err(("NotAllowed", format!("the risk level of system {system} allows no override")));
    }
    let mut states = overrides.get(&**system).into_iter().flat_map(SystemOverrides::states);
    let found = states.find(|(recorded, _)| recorded.name == name && recorded.is_named_by(approval));
    found.map(|(recorded, state)| (recorded, state.clone())).ok_or_else(|| {
        let message = format!(
            "no Override of system {system} has the name {name}, and the digest, version and content of this decision"
        );
        ("OverrideNotFound", message)
    })
}

const COUNTED: &str = "Counted";

/// The reason and message of the condition `Counted` of a decision that grants an override.
pub fn grant(
    approval: &Cached<Approval>,
    not_signed: Option<&NotSigned>,
    records: (&NamespaceFacts, &JudgedOverrides<'_>),
) -> (&'static str, String) {
    let (recorded, state) = match named(approval, not_signed, "grant", records) {
        Ok(found) => found,
        Err(why) => return why,
    };
    let spec = &approval.spec;
    let roles = rules(records.0, &spec.system).map(|rules| &rules.roles);
    if !roles.into_iter().flatten().any(|required| required.role == spec.role) {
        return (
            "RoleNotRequired",
            format!("the risk level lets nobody in role {} grant an override", spec.role),
        );
    }
    let message = match state.grant {
        GrantState::Granted(at) => format!("it counts for override/{}, granted at {at}", recorded.name),
        _ => format!("it counts for override/{}; see the conditions of the override", recorded.name),
    };
    (COUNTED, message)
}

/// The reason and message of the condition `Counted` of a decision that reviews an override.
pub fn review(
    approval: &Cached<Approval>,
    not_signed: Option<&NotSigned>,
    records: (&NamespaceFacts, &JudgedOverrides<'_>),
) -> (&'static str, String) {
    let (recorded, state) = match named(approval, not_signed, "review", records) {
        Ok(found) => found,
        Err(why) => return why,
    };
    let Some(rules) = rules(records.0, &approval.spec.system) else { return (COUNTED, String::new()) };
    let decision = recorded.reviews.iter().find(|(review, _)| review.name == approval.name);
    match decision.and_then(|(review, _)| recorded.why_not(review, rules)) {
        Some(why) => (why.code(), why.to_string()),
        None if state.review.is_some_and(|first| Some(first.at) < approval.created) => {
            ("Superseded", "an earlier review counts".to_owned())
        }
        None => (COUNTED, format!("it is the review of override/{}", recorded.name)),
    }
}
