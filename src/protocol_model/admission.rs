//! The API server's policies on pods, rule by rule as `admission::pods` writes them in CEL.
//!
//! ```text
//!  create ─► assent-gate (gate_sees) ─► assent-pod-held | assent-pod-create (check_sees)
//!  update ─► assent-pod-update, and, of what was held, assent-pod-release (check_sees)
//! ```

use super::{
    Protocol,
    guard::Guard,
    state::{ClearanceState, Operator, Pod, PodWitness, Runtime, State, Tick},
};

/// What somebody creates a pod from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Template {
    /// What people decide about.
    Described,
    /// Anything else, and says that it is held already.
    OtherLabelledHeld,
    /// Anything else, and names its node: nothing gates it.
    OtherOnNode,
}

/// Who changes a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    Operator,
    Developer,
}

impl Protocol {
    /// The pod as the API server stores it; `None`: refused.
    pub fn create(&self, state: &State, template: Template) -> Option<Pod> {
        let (gate_sees, check_sees) = (state.written[state.gate_sees], state.written[state.check_sees]);
        let mut pod = Pod {
            uid: state.pods + 1,
            runtime: if template == Template::Described { Runtime::Described } else { Runtime::Other },
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
        if assent_gate && !clears(gate_sees, &pod) {
            (pod.gated, pod.labelled_held) = (true, true);
        }
        let label_follows_gate = pod.gated == pod.labelled_held || !self.has(Guard::HeldNeedsGate);
        let gated_or_cleared = pod.labelled_held
            || pod.gated
            || !self.has(Guard::LookAgain)
            || clears(check_sees, &pod)
                && (is_live(check_sees, state.now) || !self.has(Guard::CreationClock));
        (label_follows_gate && gated_or_cleared).then(|| let_go(state, pod))
    }

    /// The pod with its gate and label off; `None`: refused.
    pub fn lift_gate(&self, state: &State, pod: &Pod, asker: Asker) -> Option<Pod> {
        let check_sees = state.written[state.check_sees];
        let operator_lifts = asker == Asker::Operator || !self.has(Guard::OperatorLifts);
        // assent-pod-release looks at objects that have the label, before or after.
        let cleared = !pod.labelled_held
            || !self.has(Guard::ReleaseCheck)
            || clears(check_sees, pod) && (is_live(check_sees, state.now) || !self.has(Guard::ReleaseClock));
        let released = Pod { gated: false, labelled_held: false, ..*pod };
        (operator_lifts && cleared).then(|| let_go(state, released))
    }

    /// The pod without its label alone; `None`: refused.
    pub fn take_label(&self, pod: &Pod) -> Option<Pod> {
        (!pod.gated || !self.has(Guard::LabelStays)).then_some(Pod { labelled_held: false, ..*pod })
    }

    /// The pod with another image; `None`: refused.
    pub fn change_image(&self, pod: &Pod) -> Option<Pod> {
        (!self.has(Guard::ImagesStay)).then_some(Pod { runtime: Runtime::Other, ..*pod })
    }
}

/// Whether the clearance has a version that the pod is: `versions().exists(v, matches())`.
fn clears(clearance: ClearanceState, pod: &Pod) -> bool {
    clearance.until.is_some() && pod.runtime == Runtime::Described
}

/// Whether it has not ended: `LIVE`, and the comparison with the time of the release.
fn is_live(clearance: ClearanceState, now: Tick) -> bool {
    clearance.until.is_some_and(|until| now < until)
}

/// The pod with what the promises ask for, whatever the policies looked at.
fn let_go(state: &State, pod: Pod) -> Pod {
    if pod.gated {
        return pod;
    }
    let is_cleared = |by: ClearanceState| clears(by, &pod) && is_live(by, state.now);
    let seen = is_cleared(state.written[state.check_sees]).then_some(pod.runtime);
    let belated = !is_cleared(state.present());
    Pod { witness: PodWitness { seen, belated, ..pod.witness }, ..pod }
}
