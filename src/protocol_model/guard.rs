//! What the code does to keep the promises, piece by piece, so that each can be taken away; where it is;
//! and what happens without it.

use super::{
    property::{BACK, FORWARD, GONE, LOSS_STAYS, ONLY_THIS_POD, SEEN},
    size::{BUDGETS, END, HANDOVER, LAGS, PODS, Size},
};

/// A piece.
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

/// What the model found about a guard.
pub struct Finding {
    pub guard: Guard,
    /// The step that it guards.
    pub step: &'static str,
    /// The file and function that it is in, and words of it.
    pub code: (&'static str, &'static str, &'static str),
    /// At which size.
    pub size: Size,
    /// The property that fails without it; or, if none does, why not.
    pub without: Result<&'static str, &'static str>,
}

const PODS_RS: &str = "src/admission/pods.rs";
const DECIDE: &str = "src/enforce/decide.rs";
const ACT: &str = "src/enforce/act.rs";
const ENFORCER: &str = "src/enforce/enforcer.rs";
const REQUESTS: &str = "src/enforce/requests.rs";

const RECHECKED: &str = "the API server looks again at whatever is released";

impl Finding {
    /// Its line in the table of docs/model.md.
    pub fn row(&self) -> String {
        let Self { guard, step, code: (path, item, _), size, without } = self;
        let without = without.map_or_else(|why| format!("nothing: {why}"), |fails| format!("*{fails}*"));
        format!("| `{guard:?}` | {step} | `{item}` in [{path}](../{path}) | {without} | {} |", size.name)
    }
}

/// Every guard, in the order of a pod's life and then of a Clearance's.
pub const FINDINGS: [Finding; 21] = [
    Finding {
        guard: Guard::HeldNeedsGate,
        step: "create: a pod that says it is held has the gate",
        code: (PODS_RS, "label_follows_gate", "vec![label_follows_gate(), no_record_yet()]"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::LookAgain,
        step: "create: the validating stage looks again, at its own cache",
        code: (PODS_RS, "create", "let gated_or_cleared"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::CreationClock,
        step: "create: and at the clock",
        code: (PODS_RS, "LIVE", "{LIVE} && {}"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::ReleaseCheck,
        step: "release: the API server looks again",
        code: (PODS_RS, "release", "all(t, t < timestamp(v.notAfter)) && {}"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::ReleaseClock,
        step: "release: and at the clock",
        code: (PODS_RS, "release", "{released}.all(t, t < timestamp(v.notAfter))"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::LabelStays,
        step: "update: the label, by which a release is found, goes with the gate",
        code: (PODS_RS, "update", "stays as long as the gate"),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::ImagesStay,
        step: "update: what was admitted stays what it was",
        code: (PODS_RS, "update", r#"unchanged("containers")"#),
        size: LAGS,
        without: Ok(SEEN),
    },
    Finding {
        guard: Guard::OperatorLifts,
        step: "update: nobody else lifts the gate",
        code: (PODS_RS, "operator_lifts", "operator.asks()"),
        size: END,
        without: Err(RECHECKED),
    },
    Finding {
        guard: Guard::ReleaseUid,
        step: "release: of the pod that it was decided for",
        code: (ACT, "release", r#""uid": uid"#),
        size: PODS,
        without: Err(RECHECKED),
    },
    Finding {
        guard: Guard::Listed,
        step: "enforce: decides once the clearances were listed",
        code: (ENFORCER, "enough", "self.clearances && self.pods && self.leading"),
        size: END,
        without: Err(RECHECKED),
    },
    Finding {
        guard: Guard::Retry,
        step: "release: refused by a cache that lags, asked again",
        code: (REQUESTS, "failed", "notes.refusals += 1"),
        size: LAGS,
        without: Ok(BACK),
    },
    Finding {
        guard: Guard::StopUid,
        step: "stop: of the pod that it was decided for",
        code: (ACT, "delete_params", "Preconditions { uid: Some(uid.to_owned())"),
        size: PODS,
        without: Ok(ONLY_THIS_POD),
    },
    Finding {
        guard: Guard::DeletedAfterBudgets,
        step: "stop: after half of the grace whatever the budgets say",
        code: (DECIDE, "stop", "now >= budgets_until"),
        size: BUDGETS,
        without: Ok(GONE),
    },
    Finding {
        guard: Guard::TerminationCut,
        step: "stop: the pod's own grace is cut to what is left",
        code: (DECIDE, "stop", "left.min(pod.termination_grace)"),
        size: BUDGETS,
        without: Ok(GONE),
    },
    Finding {
        guard: Guard::GraceBounded,
        step: "delete: nobody else gives a pod more than half of the grace",
        code: ("src/admission/grace.rs", "delete", "{asked} <= {bound}"),
        size: BUDGETS,
        without: Ok(GONE),
    },
    Finding {
        guard: Guard::LossRemembered,
        step: "compile: writes down when a clearance was lost",
        code: ("src/compile/clearance.rs", "remember_losses", "system.lost_at = Some(lost_at)"),
        size: HANDOVER,
        without: Ok(GONE),
    },
    Finding {
        guard: Guard::Synced,
        step: "compile: once every kind was listed",
        code: ("src/compile/mod.rs", "work", "self.index.synced().await"),
        size: LAGS,
        without: Ok(FORWARD),
    },
    Finding {
        guard: Guard::ResourceVersion,
        step: "replace the Clearance: at the version that was read",
        code: ("src/compile/write.rs", "clearance", "resource_version = is.resource_version()"),
        size: LAGS,
        without: Ok(LOSS_STAYS),
    },
    Finding {
        guard: Guard::ListsAfterLease,
        step: "take the Lease: then list, so as to know all that the one before knew",
        code: ("src/operator.rs", "write", "leading.wait_for(|leading| *leading).await"),
        size: LAGS,
        without: Ok(FORWARD),
    },
    Finding {
        guard: Guard::OneLeader,
        step: "take the Lease: one at a time",
        code: ("src/leader.rs", "take", "is_held_by_another(&spec, &self.identity, observed.age("),
        size: LAGS,
        without: Ok(FORWARD),
    },
    Finding {
        guard: Guard::LeaseWatched,
        step: "wake after a pause: exit before anything else, if the Lease ran out",
        code: ("src/leader.rs", "keep", "held_until <= begun + MARGIN"),
        size: LAGS,
        without: Ok(FORWARD),
    },
];
