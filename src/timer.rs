//! Waiting for an instant that there may not be: for a loop that selects among what can happen next.

use tokio::time::{Instant, sleep_until};

/// Waits until `instant`; without one, for ever.
pub async fn at(instant: Option<Instant>) {
    match instant {
        None => std::future::pending().await,
        Some(instant) => sleep_until(instant).await,
    }
}
