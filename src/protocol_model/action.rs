//! The possible steps of the model. A request takes two steps: an operator sends it, and it arrives at the API server.
//! Other steps can happen in between, and the result depends on the state at the arrival. After a new fact or
//! Clearance, each cache reads the fact or Clearance in a separate step.

use stateright::Model;

use super::{
    Protocol,
    admission::{Template, User},
    code::{self, ASKED, OWN},
    guard::Guard,
    property,
    size::{Act, Time},
    state::{
        ClearanceState, Fact, Operator, Pod, Replacement, Request, RequestedAction, Role, State, Tick,
        Witness, is_held,
    },
};

/// The index of an operator in [`State::operators`].
pub type Who = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    Tick,
    People(Act),
    Create(Template),
    /// A user deletes the pod with the longest grace period that the API server accepts.
    UserDeletes,
    /// The kubelet has ended the pod.
    Gone,
    Tamper(Tamper),
    /// The mutating stage of admission reads the next Clearance in [`State::written`].
    GateSees,
    /// The validating stage of admission reads the next Clearance in [`State::written`].
    CheckSees,
    /// The operator takes the Lease. If another operator held the Lease, that operator was paused for too long.
    TakeLease(Who),
    Die(Who),
    /// The first time, `compile` lists all facts. Later, it reads the next fact.
    SeeFact(Who),
    /// The first time, `compile` reads the newest Clearance. Later, it reads the next Clearance.
    SeeClearance(Who),
    /// `compile` computes and sends the new Clearance.
    Compile(Who),
    /// The sent Clearance arrives at the API server.
    Replace(Who),
    /// The first time, `enforce` reads the newest Clearance. Later, it reads the next Clearance.
    EnforceSeesClearance(Who),
    /// `enforce` decides about the pod, and sends a request.
    Decide(Who),
    /// The request arrives at the API server.
    Arrive(Who),
    BudgetRefuses(Who),
}

/// A change of the pod that a developer tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tamper {
    RemoveLabel,
    LiftGate,
    ChangeImage,
}

const OPERATORS: [Who; 2] = [0, 1];

impl Model for Protocol {
    type State = State;
    type Action = Transition;

    fn init_states(&self) -> Vec<State> {
        let second = if self.size.takeover { Role::Standby } else { Role::Down };
        let state = |[a, b]: [Tick; 2]| State {
            now: 0,
            facts: vec![Fact::Approve(self.size.validity)],
            written: vec![ClearanceState::default()],
            gate_sees: 0,
            check_sees: 0,
            operators: [Operator::new(Role::Leading, a), Operator::new(second, b)],
            pod: None,
            pods: 0,
            witness: Witness::default(),
        };
        self.size.skews.iter().copied().map(state).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Transition>) {
        actions.extend([Transition::Tick, Transition::GateSees, Transition::CheckSees]);
        actions.extend(self.size.acts.iter().copied().map(Transition::People));
        if state.pod.is_none() {
            let templates = [Template::Described, Template::OtherLabelledHeld, Template::OtherOnNode];
            actions.extend(templates.map(Transition::Create));
        } else {
            let tampers = [Tamper::RemoveLabel, Tamper::LiftGate, Tamper::ChangeImage];
            actions.extend(tampers.map(Transition::Tamper));
            actions.extend([Transition::UserDeletes, Transition::Gone]);
        }
        for who in OPERATORS {
            actions.extend([
                Transition::TakeLease(who),
                Transition::Die(who),
                Transition::SeeFact(who),
                Transition::SeeClearance(who),
                Transition::Compile(who),
                Transition::Replace(who),
                Transition::EnforceSeesClearance(who),
                Transition::Decide(who),
                Transition::Arrive(who),
                Transition::BudgetRefuses(who),
            ]);
        }
    }

    fn next_state(&self, last: &State, action: Transition) -> Option<State> {
        if !self.can_happen(last, action) {
            return None;
        }
        let mut state = last.clone();
        self.step(&mut state, action)?;
        state.forget_read();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        property::of(self.size)
    }
}

impl Protocol {
    /// A cheap check that excludes most of the impossible steps before the model copies the state.
    fn can_happen(&self, state: &State, action: Transition) -> bool {
        let operator = |who: Who| &state.operators[who];
        match action {
            Transition::Tick => self.time_may_pass(state),
            Transition::People(act) => {
                state.facts.len() < self.size.decisions && (act != Act::Resume || is_held(&state.facts))
            }
            Transition::Create(_) => state.pods < self.size.pods,
            Transition::UserDeletes => state.pod.is_some_and(|pod| pod.ends_at.is_none()),
            Transition::Gone => state.pod.is_some_and(|pod| pod.ends_at.is_some()),
            Transition::Tamper(_) => true,
            Transition::GateSees => state.gate_sees < state.newest(),
            Transition::CheckSees => state.check_sees < state.newest(),
            Transition::TakeLease(who) => operator(who).role == Role::Standby,
            Transition::Die(who) => operator(who).acts(),
            Transition::SeeFact(who)
            | Transition::SeeClearance(who)
            | Transition::EnforceSeesClearance(who) => self.watches(operator(who)),
            Transition::Compile(who) => operator(who).acts() && operator(who).replacement.is_none(),
            Transition::Replace(who) => operator(who).replacement.is_some(),
            Transition::Decide(who) => operator(who).acts() && operator(who).request.is_none(),
            Transition::Arrive(who) => operator(who).request.is_some(),
            Transition::BudgetRefuses(who) => {
                matches!(operator(who).request, Some(Request { requested: RequestedAction::Evict(_), .. }))
            }
        }
    }

    fn watches(&self, operator: &Operator) -> bool {
        operator.acts() || operator.role == Role::Standby && !self.has(Guard::ListsAfterLease)
    }

    fn step(&self, state: &mut State, action: Transition) -> Option<()> {
        match action {
            Transition::Tick => self.tick(state),
            Transition::People(act) => state.facts.push(match act {
                Act::Approve => Fact::Approve(state.now + self.size.validity),
                Act::Revoke => Fact::Revoke,
                Act::Hold => Fact::Hold,
                Act::Resume => Fact::Resume,
                Act::Override => Fact::Override(state.now + 1),
            }),
            Transition::Create(template) => {
                state.pod = Some(self.create(state, template)?);
                state.pods += 1;
            }
            Transition::UserDeletes => end(state, if self.has(Guard::GraceBounded) { OWN } else { ASKED }),
            Transition::Gone => state.remove_pod(),
            Transition::Tamper(tamper) => {
                let pod = state.pod?;
                state.pod = Some(match tamper {
                    Tamper::RemoveLabel => self.remove_label(&pod)?,
                    Tamper::LiftGate if pod.gated => self.lift_gate(state, &pod, User::Developer)?,
                    Tamper::LiftGate => return None,
                    Tamper::ChangeImage => self.change_image(&pod)?,
                });
            }
            Transition::GateSees => state.gate_sees += 1,
            Transition::CheckSees => state.check_sees += 1,
            Transition::TakeLease(who) => self.take_lease(state, who),
            Transition::Die(who) => state.operators[who].forget(Role::Down),
            Transition::SeeFact(who) => read(&mut state.operators[who].facts, state.facts.len()),
            Transition::SeeClearance(who) => {
                let newest = state.newest();
                read(&mut state.operators[who].compiles_from, newest);
            }
            Transition::EnforceSeesClearance(who) => {
                let newest = state.newest();
                read(&mut state.operators[who].enforces, newest);
            }
            Transition::Compile(who) => self.compile(state, who)?,
            Transition::Replace(who) => self.replace(state, who)?,
            Transition::Decide(who) => self.decide(state, who)?,
            Transition::Arrive(who) => self.arrive(state, who)?,
            Transition::BudgetRefuses(who) => state.operators[who].request = None,
        }
        Some(())
    }

    /// Whether the clock may advance. The clock waits while a deleted pod still exists at the end of its grace period.
    /// With [`Time::Prompt`], the clock advances only in a settled state: see [`Self::is_settled`].
    fn time_may_pass(&self, state: &State) -> bool {
        let pod_is_due = state.pod.is_some_and(|pod| pod.ends_at.is_some_and(|end| end <= state.now));
        let on_time = self.size.time == Time::Free || self.is_settled(state);
        state.now < self.size.ticks && !pod_is_due && on_time
    }

    fn tick(&self, state: &mut State) {
        let is_led = state.is_led();
        if let (Some(pod), Time::Prompt) = (state.pod.as_mut(), self.size.time) {
            let is_uncleared = !pod.gated && !code::may_run(&state.facts, state.now);
            let late = &mut pod.witness.late;
            *late = if is_uncleared { *late + Tick::from(is_led) } else { 0 };
        }
        state.now += 1;
    }

    fn take_lease(&self, state: &mut State, who: Who) {
        let other = &mut state.operators[1 - who];
        match other.role {
            Role::Leading if !self.has(Guard::OneLeader) => {}
            Role::Leading if self.has(Guard::LeaseWatched) => other.forget(Role::Down),
            Role::Leading => other.role = Role::Stale,
            Role::Down | Role::Standby | Role::Stale => {}
        }
        state.operators[who].role = Role::Leading;
    }

    /// The Clearance that an operator would write now. `None` if the Clearance would stay the same, or if the operator
    /// has not finished its first lists.
    fn would_write(&self, state: &State, who: Who) -> Option<Replacement> {
        let operator = &state.operators[who];
        let read = operator.facts.or((!self.has(Guard::Synced)).then_some(0))?;
        let of = operator.compiles_from?;
        let mut by = code::compile(&state.facts[..read], state.written[of], state.now + operator.skew);
        if !self.has(Guard::LossRemembered) {
            by.lost_at = None;
        }
        (by != state.written[of]).then_some(Replacement { of, by, read })
    }

    fn compile(&self, state: &mut State, who: Who) -> Option<()> {
        state.operators[who].replacement = Some(self.would_write(state, who)?);
        Some(())
    }

    fn replace(&self, state: &mut State, who: Who) -> Option<()> {
        let Replacement { of, by, read } = state.operators[who].replacement.take()?;
        if of != state.newest() && self.has(Guard::ResourceVersion) {
            return Some(());
        }
        let before = state.present();
        let stays_lost = before.until.is_none() && by.until.is_none();
        state.witness.loss_moved |= stays_lost && before.lost_at != by.lost_at;
        state.witness.went_back |= read < state.witness.read;
        state.witness.read = read;
        state.witness.known = read.max(state.witness.known);
        state.write(by, self.size.lag);
        if state.operators[who].acts() {
            state.operators[who].compiles_from = Some(state.newest());
        }
        Some(())
    }

    /// The request that an operator would send about the pod, and the instant of the loss of clearance that it would
    /// note.
    pub fn requested(&self, state: &State, who: Who) -> (RequestedAction, Option<Tick>) {
        let operator = &state.operators[who];
        let clearance = operator.enforces.map(|seen| state.written[seen]);
        let Some(pod) = &state.pod else { return (RequestedAction::Nothing, None) };
        if clearance.is_none() && self.has(Guard::Listed) {
            return (RequestedAction::Nothing, operator.lost_since);
        }
        let (requested, since) = code::decide(pod, clearance, operator.lost_since, state.now + operator.skew);
        let requested = match requested {
            RequestedAction::Release if pod.given_up => RequestedAction::Nothing,
            RequestedAction::Evict(_) if !self.has(Guard::TerminationCut) => RequestedAction::Evict(ASKED),
            RequestedAction::Delete(_) if !self.has(Guard::TerminationCut) => RequestedAction::Delete(ASKED),
            RequestedAction::Delete(grace) if !self.has(Guard::DeletedAfterBudgets) => {
                RequestedAction::Evict(grace)
            }
            requested => requested,
        };
        (requested, since)
    }

    fn decide(&self, state: &mut State, who: Who) -> Option<()> {
        let (requested, since) = self.requested(state, who);
        let uid = state.pod?.uid;
        let operator = &mut state.operators[who];
        operator.lost_since = since;
        operator.request = (requested != RequestedAction::Nothing).then_some(Request { uid, requested });
        Some(())
    }

    fn arrive(&self, state: &mut State, who: Who) -> Option<()> {
        let request = state.operators[who].request.take()?;
        let Some(pod) = state.pod else { return Some(()) };
        let same = pod.uid == request.uid;
        match request.requested {
            RequestedAction::Release if pod.gated && (same || !self.has(Guard::ReleaseUid)) => {
                let released = self.lift_gate(state, &pod, User::Operator);
                let given_up = !self.has(Guard::Retry);
                state.pod = Some(released.unwrap_or(Pod { given_up, ..pod }));
            }
            RequestedAction::Evict(grace) | RequestedAction::Delete(grace)
                if same || !self.has(Guard::StopUid) =>
            {
                state.witness.other_pod_stopped |= !same;
                end(state, grace);
            }
            RequestedAction::Nothing
            | RequestedAction::Release
            | RequestedAction::Evict(_)
            | RequestedAction::Delete(_) => {}
        }
        Some(())
    }

    /// Whether the API server and all active operators have current caches, and the operators have nothing more to do.
    /// An operator that only wants to evict the pod counts as done, because a disruption budget can refuse every
    /// eviction.
    pub fn is_settled(&self, state: &State) -> bool {
        let newest = state.newest();
        let admission = state.gate_sees == newest && state.check_sees == newest;
        let is_done = |who: Who| {
            let operator = &state.operators[who];
            let knows = operator.facts == Some(state.facts.len())
                && operator.compiles_from == Some(newest)
                && operator.enforces == Some(newest);
            let (requested, since) = self.requested(state, who);
            let wants = match (requested, &state.pod) {
                (RequestedAction::Nothing | RequestedAction::Evict(_), _) | (_, None) => false,
                (RequestedAction::Delete(_), Some(pod)) => pod.ends_at.is_none(),
                (RequestedAction::Release, Some(pod)) => self.lift_gate(state, pod, User::Operator).is_some(),
            };
            knows
                && !wants
                && since == operator.lost_since
                && operator.request.is_none()
                && operator.replacement.is_none()
                && self.would_write(state, who).is_none()
        };
        admission && OPERATORS.into_iter().all(|who| !state.operators[who].acts() || is_done(who))
    }
}

/// Moves a cache forward. The first read lists all items, and each later read takes the next item.
fn read(known: &mut Option<usize>, newest: usize) {
    *known = Some(known.map_or(newest, |known| (known + 1).min(newest)));
}

/// Deletes the pod with the grace period `grace`. A second deletion does not change `ends_at`, because the kubelet
/// keeps the grace period of the first deletion. A gated pod has no node, so it is gone at once.
fn end(state: &mut State, grace: Tick) {
    let at = state.now + grace;
    match state.pod.as_mut() {
        Some(pod) if !pod.gated => pod.ends_at = Some(pod.ends_at.unwrap_or(at)),
        _ => state.remove_pod(),
    }
}
