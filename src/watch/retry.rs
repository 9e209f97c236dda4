//! Which requests are tried again, and after which delay.

use std::time::Duration;

use backon::ExponentialBuilder;
use kube::core::Status;

/// The mean delay before a refused request is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// A random delay between half and one and a half of `duration`, so that many retries do not come at once.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.5 + fastrand::f64())
}

/// The back-off of background work: some minutes in all.
pub(crate) fn background_backoff() -> ExponentialBuilder {
    ExponentialBuilder::default().with_max_delay(RETRY * 5).with_max_times(30).with_jitter()
}

/// Whether the same request may succeed a moment later: the API server is away or overloaded.
pub(crate) fn is_transient(error: &kube::Error) -> bool {
    match error {
        // 500 is not transient. It concerns one object: two budgets for one pod, or a webhook that fails.
        kube::Error::Api(answer) => matches!(answer.code, 429 | 503 | 504) && !is_budget(answer),
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// Whether a disruption budget refused an eviction. Its code is 429, like that of an overloaded API server.
fn is_budget(answer: &Status) -> bool {
    let causes = answer.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "DisruptionBudget")
}
