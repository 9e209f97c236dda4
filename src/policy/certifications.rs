//! Compares the certifications of a provider with the required ones. The provider of the system and the providers of its
//! hosted models have the same rules.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::effect::whole_seconds;
use crate::api::{AISystemSpec, Provider};

/// The times at which the certifications of all providers of the system end.
pub(super) fn end_times(system: &AISystemSpec) -> impl Iterator<Item = Timestamp> {
    let providers = system.provider.iter().chain(&system.suppliers);
    let ends = providers.flat_map(|provider| &provider.certifications).filter_map(|c| c.not_after.as_ref());
    ends.map(|end| whole_seconds(end.0))
}

/// The `required` certifications that `holder` does not hold at `now`.
pub(super) fn missing<'a>(
    holder: Option<&Provider>,
    required: &'a [String],
    now: Timestamp,
) -> impl Iterator<Item = &'a String> {
    let held = holder.into_iter().flat_map(|holder| &holder.certifications);
    let held = held.filter(|held| held.not_after.as_ref().is_none_or(|end| now < whole_seconds(end.0)));
    let held: BTreeSet<_> = held.map(|held| &held.name).collect();
    required.iter().filter(move |wanted| !held.contains(wanted))
}
