//! What there is at an instant: etcd, the API server's two caches, two operators, one pod.
//!
//! ```text
//!  facts    [Approve, Revoke, …]       written  [Clearance, …, Clearance]   the last is etcd's
//!               ▲                            ▲         ▲
//!               └── Operator.facts           │         └── gate_sees, check_sees   the API server's
//!                   Operator.compiles_from ──┤
//!                   Operator.enforces ───────┘
//! ```
//!
//! A cache is how far it has read; what nobody will read again is dropped.

/// An instant, or a time between two, in units of [`super::code::TICK`].
pub type Tick = i8;

/// What people decide about the one version there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// It may run until then.
    Approve(Tick),
    /// It may not.
    Revoke,
}

/// A [`Clearance`](crate::api::Clearance), as far as it differs from others of this one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClearanceState {
    /// Until when the version is cleared, if it is.
    pub until: Option<Tick>,
    /// When it last was no longer.
    pub lost_at: Option<Tick>,
}

/// What a pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// What people decide about.
    Described,
    /// Anything else.
    Other,
}

/// The one pod. One that is not gated counts as bound: nothing but the gate keeps the scheduler from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    pub uid: u8,
    pub runtime: Runtime,
    pub gated: bool,
    pub labelled_held: bool,
    pub created: Tick,
    /// When it will have been deleted, if it is being.
    pub ends_at: Option<Tick>,
    /// Its release is not asked for again. Only without [`super::guard::Guard::Retry`].
    pub given_up: bool,
    pub witness: PodWitness,
}

/// What a pod does not tell, because it is about how it came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodWitness {
    /// What the API server saw a valid clearance for when it let the pod go.
    pub seen: Option<Runtime>,
    /// The present clearance did not clear it then.
    pub belated: bool,
    /// No operator was there when it was created.
    pub alone: bool,
    /// How many ticks it was bound without clearance while an operator led.
    pub late: Tick,
}

/// Who an operator is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Its process is not there.
    Down,
    /// It waits for the Lease.
    Standby,
    /// It has the Lease.
    Leading,
    /// It had the Lease, was paused until another had it, and goes on. Only without
    /// [`super::guard::Guard::LeaseWatched`].
    Stale,
}

/// A process of the operator. Each of its watches lags by itself; `None` before the first list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    pub role: Role,
    /// How far its clock is ahead of the API server's.
    pub skew: Tick,
    /// How many facts `compile` has read.
    pub facts: Option<usize>,
    /// Which of [`State::written`] `compile` has read.
    pub compiles_from: Option<usize>,
    /// Which of [`State::written`] `enforce` has read.
    pub enforces: Option<usize>,
    /// Since when `enforce` knows that the pod should not run.
    pub lost_since: Option<Tick>,
    /// What it asked about the pod, which comes to the API server at some time, even if it dies.
    pub request: Option<Request>,
    /// The clearance that it sent, likewise.
    pub replacement: Option<Replacement>,
}

/// A request about the pod that had `uid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub uid: u8,
    pub requested: RequestedAction,
}

/// What an operator wants of a pod: the `Decision` of `enforce`, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestedAction {
    Nothing,
    Release,
    Evict(Tick),
    Delete(Tick),
}

/// A clearance to put in the place of the one at `of`, compiled from the first `read` facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Replacement {
    pub of: usize,
    pub by: ClearanceState,
    pub read: usize,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The API server's clock.
    pub now: Tick,
    pub facts: Vec<Fact>,
    pub written: Vec<ClearanceState>,
    /// What the mutating stage of admission has read.
    pub gate_sees: usize,
    /// What the validating stage of admission has read.
    pub check_sees: usize,
    pub operators: [Operator; 2],
    pub pod: Option<Pod>,
    /// How many pods were created.
    pub pods: u8,
    pub witness: Witness,
}

/// What a state does not tell, because it is about the steps that led to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Witness {
    /// How many facts the present clearance was compiled from.
    pub read: usize,
    /// It was replaced by one compiled from fewer.
    pub went_back: bool,
    /// A loss that was written down was given another instant.
    pub loss_moved: bool,
    /// A pod was stopped that the decision was not about.
    pub other_pod_stopped: bool,
}

impl Operator {
    /// Whether it compiles and enforces.
    pub fn acts(&self) -> bool {
        matches!(self.role, Role::Leading | Role::Stale)
    }

    /// The process is gone, and what it knew with it; what it sent is not.
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
        let under_way = self.replacement.as_mut().map(|replacement| &mut replacement.of);
        [self.compiles_from.as_mut(), self.enforces.as_mut(), under_way].into_iter().flatten()
    }
}

impl State {
    pub fn present(&self) -> ClearanceState {
        self.written[self.newest()]
    }

    pub fn newest(&self) -> usize {
        self.written.len() - 1
    }

    /// Whether somebody leads who is at work.
    pub fn is_led(&self) -> bool {
        self.operators.iter().any(|operator| operator.role == Role::Leading)
    }

    /// How far the clocks of the cluster are apart.
    pub fn spread(&self) -> Tick {
        let [a, b] = self.operators.map(|operator| operator.skew);
        a.max(b).max(0) - a.min(b).min(0)
    }

    /// Puts `next` into etcd. Nobody stays more than `lag` versions behind.
    pub fn write(&mut self, next: ClearanceState, lag: usize) {
        self.written.push(next);
        if self.written.len() > lag + 1 {
            self.forget_oldest();
        }
    }

    /// Drops the versions that everybody has read past, so that equal states are equal.
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
