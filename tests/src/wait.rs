//! Polls for a condition with a timeout. Kubernetes is eventually consistent, so a fixed sleep would be too short or
//! too long.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::{sleep, timeout};

/// The timeout for changes that usually happen at once. It is long, because the machine may be busy. A test that checks
/// a promised time measures this time, and does not rely on the timeout.
pub const SOON: Duration = Duration::from_mins(1);

const INTERVAL: Duration = Duration::from_millis(25);

/// Polls `probe` until it returns a value.
///
/// # Errors
///
/// Fails after `patience`. The message contains `what` and the last error of `probe`.
pub async fn until<T>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + patience;
    let mut reason = String::new();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        match timeout(left, probe()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => reason.clear(),
            Ok(Err(error)) => reason = format!(": {error:#}"),
            Err(_) => break,
        }
        sleep(INTERVAL).await;
    }
    bail!("timeout after {patience:?} while waiting for {what}{reason}")
}
