//! The names of the properties: conditions that must always hold, and examples that must be possible.

/// When the API server admitted or released a bound pod, it saw a valid clearance for exactly the content of the pod.
/// The validating stage may have read an old Clearance, but this clearance had not ended by the API server's clock.
pub const SEEN: &str = "I1: a pod is bound only if the API server found it cleared";

/// While an operator leads, no pod stays bound without clearance for longer than the grace period plus the difference
/// of the clocks. The clocks matter, because one operator records the time of the loss, and another operator reads it.
pub const GONE: &str = "I2: a pod without clearance is gone within the grace period";

/// In a settled state with a leader, no cleared pod is held. Settled means that all caches are current and the
/// operators have nothing more to do. Cleared means that the pod is cleared by all clocks.
pub const BACK: &str = "I3: a cleared pod is not held";

/// An operator with lagging watches does not overwrite a Clearance that was compiled from newer facts.
pub const FORWARD: &str = "the Clearance never goes back to older facts";

/// The grace period starts at the loss of clearance. It does not restart if another operator writes the next Clearance.
pub const LOSS_STAYS: &str = "the time of a loss does not change";

/// A request to stop a pod does not stop a later pod with the same name.
pub const ONLY_THIS_POD: &str = "a stop does not reach a later pod";

/// After an operator compiled a Clearance from facts with a hold, no Clearance clears the version until people resume
/// it. Neither an approval nor an override lifts a hold.
pub const HELD: &str = "a hold stays until people resume";

/// An example: a cleared pod starts while every operator is down. I1 must hold in this case too.
pub const STARTS_ALONE: &str = "I5: a cleared pod starts with every operator down";

/// An example: the next pod of the same workload runs after a revocation and a new approval.
pub const RUNS_AGAIN: &str = "I3: a pod runs after a revocation and a new approval";

/// An example: while its cache lags, the API server admits a pod whose version is already revoked. I1 allows this case,
/// because I1 is about the Clearance in the cache. So the protocol also needs I2.
pub const BELATED: &str = "the window: a pod starts although it is already revoked";

/// An example: `enforce` reads a pod before it reads the Clearance by which the API server admitted the pod. So
/// `enforce` sends a request to stop a cleared pod.
pub const UNTIMELY: &str = "the window: a pod is to be stopped although it is already cleared";

/// An example: a pod runs after people resumed a held version.
pub const RESUMED: &str = "I3: a pod runs after people resumed its version";

/// An example: a pod runs although the approval has ended, because an override waives the approval.
pub const WAIVED: &str = "the window: a pod runs by an override";
