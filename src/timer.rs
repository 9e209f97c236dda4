//! Sleeps until an optional instant, for `select!` loops.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};

/// The maximum sleep, because a timer cannot wait for years. The callers then check the time again.
const MAX_SLEEP: Duration = Duration::from_hours(24);

/// Sleeps until `instant`. With `None`, the sleep never ends.
pub(crate) async fn sleep_until_opt(instant: Option<Instant>) {
    match instant {
        None => std::future::pending().await,
        Some(instant) => sleep_until(instant).await,
    }
}

/// Sleeps until `time`, at most a day. With `None`, the sleep never ends.
pub(crate) async fn sleep_until_time(time: Option<Timestamp>) {
    match time {
        None => std::future::pending().await,
        Some(time) => {
            let wait = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
            sleep(wait.min(MAX_SLEEP)).await;
        }
    }
}
