//! The state at an instant: etcd, the two caches of the API server, two operators, one pod.
//!
//! The list [`State::facts`] has all records that people created. The list [`State::written`] has the Clearances in the
//! order of their writes. The last Clearance in the list is the Clearance in etcd.
//!
//! The state of a cache is the position in a list up to which the cache has read. `Operator::facts` is a position in
//! `facts`. The positions in `written` are `gate_sees` and `check_sees` of the API server, and `compiles_from` and
//! `enforces` of each operator. The model drops a Clearance if all caches have read a newer Clearance.

/// An instant or a duration, in units of [`super::code::TICK`].
pub type Tick = i8;

/// A record that people create about the only version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// An approval that is valid until this tick.
    Approve(Tick),
    Revoke,
    /// An incident that holds the version.
    Hold,
    /// The notes and the decision to resume that lift the last open hold.
    Resume,
    /// A granted override, which waives the missing approval until this tick.
    Override(Tick),
}

/// Whether at least one hold is not lifted yet.
pub fn is_held(facts: &[Fact]) -> bool {
    let count = |wanted: Fact| facts.iter().filter(|fact| **fact == wanted).count();
    count(Fact::Hold) > count(Fact::Resume)
}

/// The variable parts of the [`Clearance`](crate::api::Clearance).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClearanceState {
    /// The end of the clearance, if the version is cleared.
    pub until: Option<Tick>,
    /// The tick at which the version last lost its clearance.
    pub lost_at: Option<Tick>,
}

/// The content of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// The content of the version.
    Described,
    /// The content of the version, but the pod names the image by tag.
    ByTag,
    Other,
}

/// The only pod. Without the gate, the pod counts as bound, because nothing else prevents its scheduling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    pub uid: u8,
    pub runtime: Runtime,
    pub gated: bool,
    pub labelled_held: bool,
    pub created: Tick,
    /// The end of the grace period, if the pod is being deleted.
    pub ends_at: Option<Tick>,
    /// Whether the operator no longer retries the release of the pod. The value is true only in a model without the
    /// guard [`super::guard::Guard::Retry`].
    pub given_up: bool,
    pub witness: PodWitness,
}

/// Data about the past of the pod, which the properties need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodWitness {
    /// The content that the API server saw as cleared when it admitted or released the pod without its gate.
    pub seen: Option<Runtime>,
    /// Whether the Clearance in etcd did not clear the pod when the API server admitted or released the pod without its
    /// gate.
    pub belated: bool,
    /// Whether no operator was active when the pod was created.
    pub alone: bool,
    /// The number of ticks in which the pod was bound without clearance while an operator led. A new clearance resets
    /// the number to zero.
    pub late: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Down,
    Standby,
    Leading,
    /// The operator lost the Lease during a pause and continues. This role exists only in a model without the guard
    /// [`super::guard::Guard::LeaseWatched`].
    Stale,
}

/// A process of the operator. Each watch lags independently. The position of a watch is `None` before its first list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    pub role: Role,
    /// The number of ticks by which the operator's clock is ahead of the API server's clock.
    pub skew: Tick,
    /// The number of facts that `compile` has read.
    pub facts: Option<usize>,
    /// The index in [`State::written`] of the Clearance that `compile` has read.
    pub compiles_from: Option<usize>,
    /// The index in [`State::written`] of the Clearance that `enforce` has read.
    pub enforces: Option<usize>,
    /// The instant at which the pod lost its clearance, if `enforce` has noticed the loss.
    pub lost_since: Option<Tick>,
    /// A request about the pod that the operator sent. The request arrives later, even if the operator dies.
    pub request: Option<Request>,
    /// A Clearance that the operator sent. The Clearance arrives later, even if the operator dies.
    pub replacement: Option<Replacement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub uid: u8,
    pub requested: RequestedAction,
}

/// The request that follows from a decision of `enforce`, with grace periods in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestedAction {
    Nothing,
    Release,
    Evict(Tick),
    Delete(Tick),
}

/// A write of a Clearance: `by` replaces the Clearance at index `of`. `by` was compiled from the first `read` facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Replacement {
    pub of: usize,
    pub by: ClearanceState,
    pub read: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The API server's clock.
    pub now: Tick,
    pub facts: Vec<Fact>,
    pub written: Vec<ClearanceState>,
    /// The index in `written` of the Clearance that the mutating stage of admission has read.
    pub gate_sees: usize,
    /// The index in `written` of the Clearance that the validating stage of admission has read.
    pub check_sees: usize,
    pub operators: [Operator; 2],
    pub pod: Option<Pod>,
    /// The number of created pods.
    pub pods: u8,
    pub witness: Witness,
}

/// Data about the past steps, which the properties need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Witness {
    /// The number of facts from which the current Clearance was compiled.
    pub read: usize,
    /// The largest number of facts from which a Clearance was compiled.
    pub known: usize,
    /// Whether a Clearance from fewer facts replaced a Clearance from more facts.
    pub went_back: bool,
    /// Whether the recorded instant of a loss changed.
    pub loss_moved: bool,
    /// Whether a request to stop a pod stopped a later pod with the same name.
    pub other_pod_stopped: bool,
}

impl Operator {
    /// Whether the operator compiles and enforces.
    pub fn acts(&self) -> bool {
        matches!(self.role, Role::Leading | Role::Stale)
    }

    /// Ends the process. The process loses its memory, but the requests that it sent still arrive.
    pub fn forget(&mut self, role: Role) {
        let Self { skew, request, replacement, .. } = *self;
        *self = Self { request, replacement, ..Self::new(role, skew) };
    }

    pub fn new(role: Role, skew: Tick) -> Self {
        Self {
            role,
            skew,
            facts: None,
            compiles_from: None,
            enforces: None,
            lost_since: None,
            request: None,
            replacement: None,
        }
    }

    fn reads(&mut self) -> impl Iterator<Item = &mut usize> {
        let sent = self.replacement.as_mut().map(|replacement| &mut replacement.of);
        [self.compiles_from.as_mut(), self.enforces.as_mut(), sent].into_iter().flatten()
    }
}

impl State {
    pub fn present(&self) -> ClearanceState {
        self.written[self.newest()]
    }

    pub fn newest(&self) -> usize {
        self.written.len() - 1
    }

    pub fn is_led(&self) -> bool {
        self.operators.iter().any(|operator| operator.role == Role::Leading)
    }

    /// The maximum difference between the clocks of the operators and the API server.
    pub fn spread(&self) -> Tick {
        let [a, b] = self.operators.map(|operator| operator.skew);
        a.max(b).max(0) - a.min(b).min(0)
    }

    /// Stores `next`. A cache that would lag by more than `lag` writes moves forward to the oldest stored Clearance.
    pub fn write(&mut self, next: ClearanceState, lag: usize) {
        self.written.push(next);
        if self.written.len() > lag + 1 {
            self.forget_oldest();
        }
    }

    /// Drops each Clearance that no cache can read any more, so that equivalent states are equal.
    pub fn forget_read(&mut self) {
        while self.written.len() > 1 && self.reads().all(|read| *read > 0) {
            self.forget_oldest();
        }
    }

    fn reads(&mut self) -> impl Iterator<Item = &mut usize> {
        let operators = self.operators.iter_mut().flat_map(Operator::reads);
        operators.chain([&mut self.gate_sees, &mut self.check_sees])
    }

    fn forget_oldest(&mut self) {
        self.written.remove(0);
        self.reads().for_each(|read| *read = read.saturating_sub(1));
    }

    pub fn remove_pod(&mut self) {
        self.pod = None;
        self.operators.iter_mut().for_each(|operator| operator.lost_since = None);
    }
}
