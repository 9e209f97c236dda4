//! Kubernetes is eventually consistent, so a test that sleeps is either slow or wrong: it polls, and says
//! what it waited for when that did not come.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::{sleep, timeout};

const INTERVAL: Duration = Duration::from_millis(25);

/// Polls `probe` until it gives a value. An error of the probe counts as "not yet" and is reported if
/// `patience` runs out; so is `what` was waited for.
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
    bail!("waited {patience:?} in vain for {what}{reason}")
}
