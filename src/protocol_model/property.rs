//! The properties: what must always hold, and what must be possible.

use stateright::Property;

use super::{
    Protocol,
    code::{self, GRACE},
    size::{Size, Time},
    state::{Fact, Operator, Pod, Request, RequestedAction, Runtime, State},
};

/// A pod is bound only if the API server saw a valid clearance for exactly its content when it admitted or released it.
/// Its validating stage saw some version of the Clearance, and the clearance had not ended at the API server's clock.
pub const SEEN: &str = "I1: bound only if the API server saw it cleared";

/// While an operator leads, no pod stays bound without clearance for longer than the grace period plus the difference
/// of the clocks. One operator can record the loss and another can read it.
pub const GONE: &str = "I2: gone within the grace";

/// When the leader has nothing more to do, no pod is held that is cleared at all clocks.
pub const BACK: &str = "I3: what is cleared is not held";

/// An operator with lagging watches does not overwrite a Clearance from newer facts.
pub const FORWARD: &str = "the Clearance never goes back to older facts";

/// The grace period starts at the loss. The next writer of the Clearance does not restart it.
pub const LOSS_STAYS: &str = "a loss keeps its instant";

/// A stop does not reach another pod that has taken the same name.
pub const ONLY_THIS_POD: &str = "a stop reaches no other pod";

/// The second half of I5. The first is that I1 holds without operators.
pub const STARTS_ALONE: &str = "I5: a cleared pod starts with every operator down";

/// The next pod of the same workload runs after a revocation was lifted.
pub const RUNS_AGAIN: &str = "I3: a pod runs after a revocation was lifted";

/// A lagging cache can admit a revoked pod. So I1 is about what the API server saw, and I2 is needed too.
pub const BELATED: &str = "the window: a pod starts that is revoked already";

/// `enforce` has read a pod before the Clearance with which the pod was admitted.
pub const UNTIMELY: &str = "the window: a pod is to be stopped that is cleared already";

pub fn of(size: Size) -> Vec<Property<Protocol>> {
    let mut properties = vec![
        Property::always(SEEN, |_, s: &State| {
            s.pod.is_none_or(|p| p.gated || p.witness.seen == Some(p.runtime))
        }),
        Property::always(BACK, is_back),
        Property::always(FORWARD, |_, s: &State| !s.witness.went_back),
        Property::always(LOSS_STAYS, |_, s: &State| !s.witness.loss_moved),
        Property::always(ONLY_THIS_POD, |_, s: &State| !s.witness.other_pod_stopped),
    ];
    if size.time == Time::Prompt {
        properties.push(Property::always(GONE, is_gone));
    }
    properties.extend(size.possible.iter().map(|name| Property::sometimes(name, example(name))));
    properties
}

fn is_gone(_: &Protocol, state: &State) -> bool {
    state.pod.is_none_or(|pod| pod.witness.late <= GRACE + state.spread())
}

fn is_back(model: &Protocol, state: &State) -> bool {
    let held = state.pod.is_some_and(|pod| pod.gated && pod.runtime == Runtime::Described);
    let soonest = state.now + state.spread();
    !(held && state.is_led() && code::may_run(&state.facts, soonest) && model.is_settled(state))
}

fn example(name: &str) -> fn(&Protocol, &State) -> bool {
    match name {
        STARTS_ALONE => |_, s| s.pod.is_some_and(|pod| pod.witness.alone && is_bound(&pod)),
        RUNS_AGAIN => |_, s| {
            let lifted = matches!(s.facts[..], [Fact::Approve(_), Fact::Revoke, Fact::Approve(_)]);
            lifted && s.pod.is_some_and(|pod| pod.uid == 2 && is_bound(&pod))
        },
        BELATED => |_, s| s.pod.is_some_and(|pod| pod.witness.belated && is_bound(&pod)),
        UNTIMELY => |_, s| {
            let cleared = !s.facts.contains(&Fact::Revoke) && code::may_run(&s.facts, s.now + s.spread());
            cleared
                && s.pod
                    .is_some_and(|pod| s.operators.iter().any(|operator| is_about_to_stop(operator, &pod)))
        },
        name => panic!("no example is known of: {name}"),
    }
}

fn is_bound(pod: &Pod) -> bool {
    !pod.gated && pod.ends_at.is_none()
}

fn is_about_to_stop(operator: &Operator, pod: &Pod) -> bool {
    let stop = |request: Request| {
        matches!(request.requested, RequestedAction::Evict(_) | RequestedAction::Delete(_))
    };
    operator.request.is_some_and(|request| stop(request) && request.uid == pod.uid)
}
