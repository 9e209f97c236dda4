//! Computes the Events and counts about overrides.
//!
//! An Event reports a condition that the new status of an override has and the stored status lacks: people granted the
//! override, its review is due, or people missed the review.

use std::{collections::BTreeMap, sync::Arc};

use kube::runtime::events::{Event, EventType};

use super::{
    index::{CachedOverride, NamespaceFacts},
    status::Statuses,
};
use crate::{
    api::{Condition, ConditionState},
    truncate::{note, plain},
};

/// The maximum number of Events about overrides in one compile.
const AT_ONCE: usize = 16;

/// The conditions that cause an Event. Each row has the type and reason of the condition, and then the reason and
/// action of the Event.
const ANNOUNCED: [(&str, &str, &str, &str); 3] = [
    ("Granted", "Granted", "OverrideGranted", "Grant"),
    ("Reviewed", "Due", "OverrideReviewDue", "Review"),
    ("Reviewed", "Overdue", "OverrideReviewMissed", "Review"),
];

pub struct Announcement<'a> {
    pub system: &'a str,
    pub event: Event,
}

/// The Events about conditions that are in `statuses` but not in the stored statuses.
pub fn announcements<'a>(
    namespace: &str,
    facts: &'a NamespaceFacts,
    statuses: &Statuses,
) -> Vec<Announcement<'a>> {
    let reached = |conditions: &'a [ConditionState], (type_, reason): (&str, &str)| {
        conditions.iter().any(|c| c.type_ == type_ && c.reason == reason)
    };
    let of_override = |(name, about): (&'a String, &'a Arc<CachedOverride>)| {
        let before = about.status.as_deref().map_or(&[][..], AsRef::as_ref);
        let now = statuses.overrides.get(name).map_or(&[][..], |status| &status.conditions).to_vec();
        let new = ANNOUNCED.into_iter().filter_map(move |(type_, reason, event, action)| {
            let is_this = |c: &&Condition| c.type_ == type_ && c.reason == reason;
            let condition = now.iter().find(is_this).filter(|_| !reached(before, (type_, reason)))?;
            Some((event, action, condition.message.clone()))
        });
        new.map(move |(reason, action, message)| Announcement {
            system: &about.spec.system,
            event: Event {
                type_: EventType::Warning,
                reason: reason.to_owned(),
                note: Some(note(
                    format!("override/{name} of {}: {}", about.spec.model_version, plain(&about.spec.reason)),
                    &format!("; {message}"),
                )),
                action: action.to_owned(),
                secondary: Some(about.reference(namespace)),
            },
        })
    };
    facts.overrides.iter().flat_map(of_override).take(AT_ONCE).collect()
}

/// Returns the number of overrides in effect, for each system that has an override. Then returns the number of due
/// reviews and the number of overdue reviews.
pub fn counts<'a>(facts: &'a NamespaceFacts, statuses: &Statuses) -> (BTreeMap<&'a str, usize>, [usize; 2]) {
    let is = |name: &String, type_: &str, reason: &str| {
        let conditions = statuses.overrides.get(name).map_or(&[][..], |status| &status.conditions);
        conditions.iter().any(|c| c.type_ == type_ && c.reason == reason)
    };
    let mut active = BTreeMap::new();
    for (name, about) in &facts.overrides {
        let count = active.entry(&*about.spec.system).or_default();
        *count += usize::from(is(name, "Active", "InEffect"));
    }
    let reviews = |reason| facts.overrides.keys().filter(|name| is(name, "Reviewed", reason)).count();
    (active, [reviews("Due"), reviews("Overdue")])
}
