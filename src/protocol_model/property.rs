//! The properties of the model: conditions that must always hold, and examples that must be possible.

use stateright::Property;

use super::{
    Protocol,
    code::{self, GRACE},
    promise::{
        BACK, BELATED, FORWARD, GONE, HELD, LOSS_STAYS, ONLY_THIS_POD, RESUMED, RUNS_AGAIN, SEEN,
        STARTS_ALONE, UNTIMELY, WAIVED,
    },
    size::{Size, Time},
    state::{Fact, Operator, Pod, Request, RequestedAction, Runtime, State, is_held},
};

pub fn of(size: Size) -> Vec<Property<Protocol>> {
    let mut properties = vec![
        Property::always(SEEN, |_, s: &State| {
            s.pod.is_none_or(|p| p.gated || p.witness.seen == Some(p.runtime))
        }),
        Property::always(BACK, is_back),
        Property::always(FORWARD, |_, s: &State| !s.witness.went_back),
        Property::always(LOSS_STAYS, |_, s: &State| !s.witness.loss_moved),
        Property::always(HELD, |_, s: &State| {
            !is_held(&s.facts[..s.witness.known]) || s.present().until.is_none()
        }),
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
    let held = state.pod.is_some_and(|pod| pod.gated && pod.runtime == Runtime::ByTag);
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
        RESUMED => |_, s| {
            let resumed = matches!(s.facts[..], [Fact::Approve(_), Fact::Hold, Fact::Resume]);
            let since = s.witness.read == s.facts.len();
            resumed && since && s.present().until.is_some() && s.pod.is_some_and(|pod| is_bound(&pod))
        },
        WAIVED => |_, s| {
            let waived = s.facts.iter().any(|fact| matches!(fact, Fact::Override(until) if *until > s.now));
            waived && s.pod.is_some_and(|pod| pod.witness.seen.is_some() && is_bound(&pod))
        },
        BELATED => |_, s| s.pod.is_some_and(|pod| pod.witness.belated && is_bound(&pod)),
        UNTIMELY => |_, s| {
            let cleared = !s.facts.contains(&Fact::Revoke) && code::may_run(&s.facts, s.now + s.spread());
            cleared
                && s.pod
                    .is_some_and(|pod| s.operators.iter().any(|operator| is_about_to_stop(operator, &pod)))
        },
        name => panic!("there is no example with the name {name}"),
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
