//! Explains pods that name an image by tag, if a version approves the digest of this image.
//!
//! ```text
//!  template, held pod ─► gets the digests of the newest cleared version
//!  running pod ────────► stays without them: a new pod must replace it
//!  Kubernetes before 1.36 ─► the template must state the digests
//! ```

use kube::ResourceExt;

use super::{
    finding::{Conclusion, ExplainInput, Match},
    pod_group::{PodGroup, State},
};
use crate::{
    api::{ModelVersion, Runtime},
    cli::connect::system_record::SystemRecord,
    policy::{Pins, matches_if_pinned},
};

impl PodGroup {
    /// The pins that the pods get at their creation or their release.
    pub(super) fn pins(&self, approved: &Runtime, runtime: &Runtime) -> Pins {
        match self.state {
            State::Held | State::NotCreated => Pins::of(approved, runtime),
            State::Admitted | State::Stopping | State::Ended => Pins::default(),
        }
    }

    /// The pins from `version`. `None` if the pods need none.
    fn pins_of(&self, version: &ModelVersion) -> Option<Pins> {
        let pins = self.pins(&version.spec.runtime, self.runtime.as_ref().ok()?);
        (!pins.is_empty()).then_some(pins)
    }
}

/// A sentence that says from which version the pods get digests. `matching` has the matching versions, newest first.
/// `None` if the pods need no digest.
pub(super) fn pinned(group: &PodGroup, version: &ModelVersion, matching: &[Match<'_>]) -> Option<String> {
    group.pins_of(version)?;
    let name = version.name_any();
    let others: Vec<_> = matching
        .iter()
        .filter(|(other, judgement)| {
            judgement.is_cleared() && other.name_any() != name && group.pins_of(other).is_some()
        })
        .map(|(other, _)| other.name_any())
        .collect();
    let newest = match &others[..] {
        [] => String::new(),
        others => format!(", the newest version with these tags (also {})", others.join(", ")),
    };
    Some(format!("; its images get the digests that {name} approves{newest}"))
}

/// The conclusion about a template whose images would get no digests, because the API server cannot add them.
pub(super) fn not_pinned(
    group: &PodGroup,
    facts: &ExplainInput,
    version: &ModelVersion,
) -> Option<Conclusion> {
    if facts.pins || group.state != State::NotCreated {
        return None;
    }
    let Pins { containers, init_containers, volumes } = group.pins_of(version)?;
    let text = format!(
        "it names images by tag, {} approves only their digests, and Kubernetes before 1.36 does not add them",
        version.name_any()
    );
    let images: Vec<_> =
        containers.iter().chain(&init_containers).map(|pin| format!("{}={}", pin.name, pin.image)).collect();
    let command = format!("kubectl set image KIND/NAME {}{}", images.join(" "), facts.place);
    let volumes = volumes.iter().map(|pin| format!("set the image of volume {} to {}", pin.name, pin.image));
    Some((false, text, (!images.is_empty()).then_some(command).into_iter().chain(volumes).collect()))
}

/// The conclusion about running pods that differ from a version only in the digests of their images.
pub(super) fn only_by_tag(
    group: &PodGroup,
    facts: &ExplainInput,
    record: &SystemRecord,
) -> Option<Conclusion> {
    let runtime = group.runtime.as_ref().ok()?;
    let is = |version: &&ModelVersion| matches_if_pinned(&version.spec.runtime, facts.trusted(), runtime);
    let version = record.versions.iter().find(is)?.name_any();
    let text = format!(
        "it names images by tag, and only a new pod gets the digests that {version} of {} approves",
        record.name
    );
    let pod = group.pods.first().map_or("NAME", String::as_str);
    let next = format!("its controller creates a new pod after: kubectl delete pod {pod}{}", facts.place);
    Some((false, text, vec![next]))
}
