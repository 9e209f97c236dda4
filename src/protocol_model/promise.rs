//! The names of the properties: conditions that must always hold, and examples that must be possible.

/// A pod is bound only if the API server saw a valid clearance for exactly its content when it admitted or released it.
/// The validating stage may have read an older version of the Clearance. The clearance in that version had not ended
/// according to the API server's clock.
pub const SEEN: &str = "I1: a pod is bound only if the API server found it cleared";

/// While an operator leads, no pod stays bound without clearance for longer than the grace period plus the difference
/// of the clocks. The clocks matter, because one operator can record the loss and another can read it.
pub const GONE: &str = "I2: a pod without clearance is gone within the grace period";

/// When the leader has nothing more to do, no pod is held that is cleared according to all clocks.
pub const BACK: &str = "I3: a cleared pod is not held";

/// An operator with lagging watches does not overwrite a Clearance from newer facts.
pub const FORWARD: &str = "the Clearance never goes back to older facts";

/// The grace period starts at the loss. If another operator writes the next Clearance, the grace period does not
/// restart.
pub const LOSS_STAYS: &str = "the time of a loss does not change";

/// A request to stop a pod does not stop a later pod with the same name.
pub const ONLY_THIS_POD: &str = "a stop does not reach a later pod";

/// After a Clearance was compiled from a hold, no Clearance clears the version until people resume it. Neither an approval
/// nor an override lifts a hold.
pub const HELD: &str = "a hold stays until people resume";

/// I5 says that a cleared pod starts while every operator is down, and that I1 also holds then. This property is the
/// first part.
pub const STARTS_ALONE: &str = "I5: a cleared pod starts with every operator down";

/// The next pod of the same workload runs after a revocation and a new approval.
pub const RUNS_AGAIN: &str = "I3: a pod runs after a revocation and a new approval";

/// A lagging cache can admit a revoked pod. I1 covers only the versions of the Clearance that the API server saw, so I2
/// is needed too.
pub const BELATED: &str = "the window: a pod starts although it is already revoked";

/// `enforce` can read a pod before it reads the Clearance by which the API server admitted the pod.
pub const UNTIMELY: &str = "the window: a pod is to be stopped although it is already cleared";

/// A pod runs after people resumed a held version.
pub const RESUMED: &str = "I3: a pod runs after people resumed its version";

/// A pod runs although the approval has ended, because an override waives it.
pub const WAIVED: &str = "the window: a pod runs by an override";
