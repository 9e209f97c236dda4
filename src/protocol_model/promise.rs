//! The names of the properties: conditions that must always hold, and examples that must be possible.

/// A pod is bound only if the API server saw a valid clearance for exactly its content when it admitted or released it.
/// The validating stage may have read an older version of the Clearance. The clearance in that version had not ended
/// according to the API server's clock.
pub const SEEN: &str = "I1: bound only if the API server saw it cleared";

/// While an operator leads, no pod stays bound without clearance for longer than the grace period plus the difference
/// of the clocks. The clocks matter, because one operator can record the loss and another can read it.
pub const GONE: &str = "I2: gone within the grace";

/// When the leader has nothing more to do, no pod is held that is cleared according to all clocks.
pub const BACK: &str = "I3: what is cleared is not held";

/// An operator with lagging watches does not overwrite a Clearance from newer facts.
pub const FORWARD: &str = "the Clearance never goes back to older facts";

/// The grace period starts at the loss. The next writer of the Clearance does not restart it.
pub const LOSS_STAYS: &str = "a loss keeps its instant";

/// A stop does not reach another pod that has taken the same name.
pub const ONLY_THIS_POD: &str = "a stop reaches no other pod";

/// After a Clearance was compiled from a hold, no Clearance clears the version until people resume it. Neither an approval
/// nor an override lifts a hold.
pub const HELD: &str = "a hold stays until people resume";

/// The second half of I5. The first half is that I1 holds without operators.
pub const STARTS_ALONE: &str = "I5: a cleared pod starts with every operator down";

/// The next pod of the same workload runs after a revocation was lifted.
pub const RUNS_AGAIN: &str = "I3: a pod runs after a revocation was lifted";

/// A lagging cache can admit a revoked pod. I1 covers only the versions of the Clearance that the API server saw, so I2
/// is needed too.
pub const BELATED: &str = "the window: a pod starts that is revoked already";

/// `enforce` has read a pod before the Clearance with which the pod was admitted.
pub const UNTIMELY: &str = "the window: a pod is to be stopped that is cleared already";

/// A pod runs after people resumed a held version.
pub const RESUMED: &str = "I3: a pod runs after people resumed its version";

/// A pod runs although the approval has ended, because an override waives it.
pub const WAIVED: &str = "the window: a pod runs by an override";
