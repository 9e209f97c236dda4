//! The guards of the protocol. A guard is a check in the code that a property of the model needs. Each entry in
//! [`FINDINGS`] names the source line of a guard, and the property that fails without the guard. If no property fails,
//! the entry says why.

use super::{
    promise::{BACK, FORWARD, GONE, HELD, LOSS_STAYS, ONLY_THIS_POD, SEEN},
    size::{BUDGETS, END, HANDOVER, HOLDS, LAGS, OVERRIDES, PODS, Size},
};

/// A guard of the protocol. The model checker can check the model without this guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    HeldNeedsGate,
    LookAgain,
    CreationClock,
    ReleaseCheck,
    ReleaseClock,
    OperatorLifts,
    LabelStays,
    ImagesStay,
    ResourceVersion,
    Synced,
    LossRemembered,
    ListsAfterLease,
    LeaseWatched,
    OneLeader,
    Listed,
    Retry,
    StopUid,
    ReleaseUid,
    DeletedAfterBudgets,
    TerminationCut,
    GraceBounded,
}

/// The result of the model checker for the model without one guard.
pub struct Finding {
    pub guard: Guard,
    /// The step that the guard protects.
    pub step: &'static str,
    /// The file, the function or constant, and a part of the source line of the guard.
    pub code: (&'static str, &'static str, &'static str),
    /// The size of the model that shows the result.
    pub size: Size,
    /// `Ok`: the property that fails without the guard. `Err`: the reason why no property fails.
    pub without: Result<&'static str, &'static str>,
}

const PODS_RS: &str = "src/admission/pods.rs";
const DECIDE: &str = "src/enforce/decide.rs";
const ACT: &str = "src/enforce/act.rs";
const ENFORCER: &str = "src/enforce/enforcer.rs";
const REQUESTS: &str = "src/enforce/requests.rs";

const RECHECKED: &str = "the API server checks every release again";

impl Finding {
    /// The row of the guard in the table of docs/model.md.
    pub fn row(&self) -> String {
        let Self { guard, step, code: (path, item, _), size, without } = self;
        let without = without.map_or_else(|why| format!("nothing: {why}"), |fails| format!("*{fails}*"));
        format!("| `{guard:?}` | {step} | `{item}` in [{path}](../{path}) | {without} | {} |", size.name)
    }
}

/// All guards: first the guards of pods, then the guards of Clearances. The last entries name some of these guards
/// again, with their effect on overrides and holds.
pub const FINDINGS: [Finding; 26] = [
    Finding {
        guard: Guard::HeldNeedsGate,
        step: "create: a pod with the label `assent.dev/held` has the gate",
        code: (PODS_RS, "label_follows_gate", "vec![label_follows_gate(), no_record_yet()]"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::LookAgain,
        step: "create: the validating stage checks again, with its own cache",
        code: (PODS_RS, "create", "let gated_or_cleared"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::CreationClock,
        step: "create: the clearance has not ended",
        code: (PODS_RS, "LIVE", "{LIVE} && {}"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::ReleaseCheck,
        step: "release: the API server checks again",
        code: (PODS_RS, "release", "all(time, time < timestamp(version.notAfter)) && {}"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::ReleaseClock,
        step: "release: the clearance has not ended",
        code: (PODS_RS, "release", "{released}.all(time, time < timestamp(version.notAfter))"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::LabelStays,
        step: "update: the label, which selects the release policy, stays as long as the gate",
        code: (PODS_RS, "update", "stays as long as the gate"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::ImagesStay,
        step: "update: the images of an admitted pod do not change",
        code: (PODS_RS, "update", r#"unchanged("containers")"#),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::OperatorLifts,
        step: "update: only the operator removes the gate",
        code: (PODS_RS, "operator_lifts", "operator.asks()"),
        size: END,
        without: Err(RECHECKED),
    },
    Finding {
        guard: Guard::ReleaseUid,
        step: "release: the request names the UID of the pod for which `enforce` decided",
        code: (ACT, "release", r#""uid": uid"#),
        size: PODS,
        without: Err(RECHECKED),
    },
    Finding {
        guard: Guard::Listed,
        step: "enforce: decides only after it has listed the Clearances",
        code: (ENFORCER, "enough", "self.clearances && self.pods && self.leading"),
        size: END,
        without: Err(RECHECKED),
    },
    Finding {
        guard: Guard::Retry,
        step: "release: the operator retries after a refusal because of an old Clearance",
        code: (REQUESTS, "failed", "notes.refusals += 1"),
        size: LAGS,
        without: Ok(BACK),
    },
    Finding {
        guard: Guard::StopUid,
        step: "stop: the request names the UID of the pod for which `enforce` decided",
        code: (ACT, "delete_params", "Preconditions { uid: Some(uid.to_owned())"),
        size: PODS,
        without: Ok(ONLY_THIS_POD),
    },
    Finding {
        guard: Guard::DeletedAfterBudgets,
        step: "stop: budgets are ignored after half of the grace period",
        code: (DECIDE, "stop", "now >= budgets_until"),
        size: BUDGETS,
        without: Ok(GONE),
    },
    Finding {
        guard: Guard::TerminationCut,
        step: "stop: the termination grace period is at most the remaining time",
        code: (DECIDE, "stop", "left.min(pod.termination_grace)"),
        size: BUDGETS,
        without: Ok(GONE),
    },
    Finding {
        guard: Guard::GraceBounded,
        step: "delete: in a request of another user, the grace period is at most half of that of the level",
        code: ("src/admission/grace.rs", "delete", "{asked} <= {bound}"),
        size: BUDGETS,
        without: Ok(GONE),
    },
    Finding {
        guard: Guard::LossRemembered,
        step: "compile: records when a clearance was lost",
        code: ("src/compile/clearance.rs", "remember_losses", "system.lost_at = Some(lost_at)"),
        size: HANDOVER,
        without: Ok(GONE),
    },
    Finding {
        guard: Guard::Synced,
        step: "compile: waits until all kinds are listed",
        code: ("src/compile/mod.rs", "work", "self.index.synced().await"),
        size: LAGS,
        without: Ok(FORWARD),
    },
    Finding {
        guard: Guard::ResourceVersion,
        step: "replace the Clearance: only if nobody replaced it after the operator read it",
        code: ("src/compile/write.rs", "clearance", "resource_version = current.resource_version()"),
        size: LAGS,
        without: Ok(LOSS_STAYS),
    },
    Finding {
        guard: Guard::ListsAfterLease,
        step: "take the Lease: only then list, to know every fact that the previous leader knew",
        code: ("src/operator.rs", "write", "leading.wait_for(|leading| *leading).await"),
        size: LAGS,
        without: Ok(FORWARD),
    },
    Finding {
        guard: Guard::OneLeader,
        step: "take the Lease: only one operator at a time",
        code: ("src/leader.rs", "take", "is_held_by_another(&spec, &self.identity, observed.age("),
        size: LAGS,
        without: Ok(FORWARD),
    },
    Finding {
        guard: Guard::LeaseWatched,
        step: "continue after a pause: exit at once if the Lease expired",
        code: ("src/leader.rs", "renew", "held_until <= begun + MARGIN"),
        size: LAGS,
        without: Ok(FORWARD),
    },
    Finding {
        guard: Guard::CreationClock,
        step: "create: the override has not ended",
        code: (PODS_RS, "LIVE", "{LIVE} && {}"),
        size: OVERRIDES,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::ReleaseClock,
        step: "release: the override has not ended",
        code: (PODS_RS, "release", "{released}.all(time, time < timestamp(version.notAfter))"),
        size: OVERRIDES,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::ListsAfterLease,
        step: "take the Lease: know every hold that the previous leader knew",
        code: ("src/operator.rs", "write", "leading.wait_for(|leading| *leading).await"),
        size: HOLDS,
        without: Ok(HELD),
    },
    Finding {
        guard: Guard::OneLeader,
        step: "take the Lease: no second operator clears a held version",
        code: ("src/leader.rs", "take", "is_held_by_another(&spec, &self.identity, observed.age("),
        size: HOLDS,
        without: Ok(HELD),
    },
    Finding {
        guard: Guard::LeaseWatched,
        step: "continue after a pause: an operator without the Lease clears no held version",
        code: ("src/leader.rs", "renew", "held_until <= begun + MARGIN"),
        size: HOLDS,
        without: Ok(HELD),
    },
];
