//! A copy of the admission policies on pods, rule by rule as in the CEL of `admission::pods`.
//!
//! ```text
//!  create ─► assent-gate (gate_sees): gate, or pin ─► assent-pod-held | assent-pod-create (check_sees)
//!  update ─► assent-pod-update; for held pods also assent-pod-release (check_sees)
//! ```
//!
//! The template of the version names its image by tag. So a pod gets its content at its creation, or with its release.

use super::{
    Protocol,
    guard::Guard,
    state::{ClearanceState, Operator, Pod, PodWitness, Runtime, State, Tick},
};

/// The template of a new pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Template {
    /// The pod has the content of the version, with the image by tag.
    Described,
    /// The pod has other content, and the label of a held pod.
    OtherLabelledHeld,
    /// The pod has other content, and a node name. So assent-gate adds no gate.
    OtherOnNode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Operator,
    Developer,
}

impl Protocol {
    /// The pod as the API server stores it, or `None` if the API server refuses the pod.
    pub fn create(&self, state: &State, template: Template) -> Option<Pod> {
        let (gate_sees, check_sees) = (state.written[state.gate_sees], state.written[state.check_sees]);
        let mut pod = Pod {
            uid: state.pods + 1,
            runtime: if template == Template::Described { Runtime::ByTag } else { Runtime::Other },
            gated: false,
            labelled_held: template == Template::OtherLabelledHeld,
            created: state.now,
            ends_at: None,
            given_up: false,
            witness: PodWitness {
                alone: !state.operators.iter().any(Operator::acts),
                ..PodWitness::default()
            },
        };
        let assent_gate = !pod.labelled_held && template != Template::OtherOnNode;
        let pinned = pinned(&pod);
        if clears(gate_sees, &pinned) {
            pod = pinned;
        } else if assent_gate {
            (pod.gated, pod.labelled_held) = (true, true);
        }
        let label_follows_gate = pod.gated == pod.labelled_held || !self.has(Guard::HeldNeedsGate);
        let gated_or_cleared = pod.labelled_held
            || pod.gated
            || !self.has(Guard::LookAgain)
            || clears(check_sees, &pod)
                && (is_live(check_sees, state.now) || !self.has(Guard::CreationClock));
        (label_follows_gate && gated_or_cleared).then(|| with_witness(state, pod))
    }

    /// The pod without its gate and label, and with its digest, or `None` if the API server refuses the update.
    pub fn lift_gate(&self, state: &State, pod: &Pod, user: User) -> Option<Pod> {
        let pod = &pinned(pod);
        let check_sees = state.written[state.check_sees];
        let operator_lifts = user == User::Operator || !self.has(Guard::OperatorLifts);
        // The policy `assent-pod-release` checks only a pod that has the label before or after the update.
        let cleared = !pod.labelled_held
            || !self.has(Guard::ReleaseCheck)
            || clears(check_sees, pod) && (is_live(check_sees, state.now) || !self.has(Guard::ReleaseClock));
        let released = Pod { gated: false, labelled_held: false, ..*pod };
        (operator_lifts && cleared).then(|| with_witness(state, released))
    }

    /// The pod without the label of a held pod. `None` if the API server refuses the update.
    pub fn remove_label(&self, pod: &Pod) -> Option<Pod> {
        (!pod.gated || !self.has(Guard::LabelStays)).then_some(Pod { labelled_held: false, ..*pod })
    }

    /// The pod with another image, or `None` if the API server refuses the update.
    pub fn change_image(&self, pod: &Pod) -> Option<Pod> {
        (!self.has(Guard::ImagesStay)).then_some(Pod { runtime: Runtime::Other, ..*pod })
    }
}

/// The pod with the digest of the version, if it names the image of the version by tag.
fn pinned(pod: &Pod) -> Pod {
    let runtime = if pod.runtime == Runtime::ByTag { Runtime::Described } else { pod.runtime };
    Pod { runtime, ..*pod }
}

/// Whether the pod matches a cleared version, as `cleared_versions().exists(version, matches())` in the policies.
fn clears(clearance: ClearanceState, pod: &Pod) -> bool {
    clearance.until.is_some() && pod.runtime == Runtime::Described
}

/// Whether the clearance has not ended. The policies check this with `LIVE` when a pod is created, and with the time of
/// the release when a pod is released.
fn is_live(clearance: ClearanceState, now: Tick) -> bool {
    clearance.until.is_some_and(|until| now < until)
}

/// Records whether a pod without the gate is cleared. The properties check this record, and not the policies.
fn with_witness(state: &State, pod: Pod) -> Pod {
    if pod.gated {
        return pod;
    }
    let is_cleared = |by: ClearanceState| clears(by, &pod) && is_live(by, state.now);
    let seen = is_cleared(state.written[state.check_sees]).then_some(pod.runtime);
    let belated = !is_cleared(state.present());
    Pod { witness: PodWitness { seen, belated, ..pod.witness }, ..pod }
}
