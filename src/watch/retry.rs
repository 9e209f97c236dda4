//! Decides which requests the operator retries, and after which delay.

use std::time::Duration;

use backon::ExponentialBuilder;
use kube::core::Status;

/// The mean delay before the operator sends a refused request again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// A random delay between 0.5 and 1.5 times `duration`, so that many retries do not run at the same time.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.5 + fastrand::f64())
}

pub(crate) async fn retry_delay() {
    tokio::time::sleep(jittered(RETRY)).await;
}

/// The back-off of background work. After 30 retries, which take some minutes, the operator gives up.
pub(crate) fn background_backoff() -> ExponentialBuilder {
    ExponentialBuilder::default().with_max_delay(RETRY * 5).with_max_times(30).with_jitter()
}

/// Whether a retry may succeed soon, because the API server is unavailable or overloaded.
pub(crate) fn is_transient(error: &kube::Error) -> bool {
    match error {
        // The code 500 is no sign of overload. Its cause can be a failed webhook, or a pod with two disruption budgets.
        kube::Error::Api(answer) => matches!(answer.code, 429 | 503 | 504) && !is_budget(answer),
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// Whether a disruption budget refused an eviction. The code is then 429, as for an overloaded API server.
fn is_budget(answer: &Status) -> bool {
    let causes = answer.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "DisruptionBudget")
}
