//! Restores deleted or changed admission policies within a second, and reports each restore with a log line, a metric
//! and an Event.
//!
//! ```text
//!  watch of the policies ─► PolicyCache ─┐
//!  admission::policies() ────────────────┴─► differ? ─► same Release installed? ─► restore ─► follow_up
//!                                                         │                        log,       field manager,
//!                                                         └─ no: pause             metric     Event
//! ```
//!
//! An annotation of the operator's `ClusterRole` shows which policies the release installed. Helm deletes and upgrades the
//! `ClusterRole` before the policies. So the operator restores no policy during an uninstall, and an older operator does
//! not change the policies of a newer chart.
//!
//! `enforce` stops uncleared pods that were created while a policy was missing.

mod cache;
mod events;
mod follow_up;
mod ownership;
mod release;
mod restore;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use self::{
    cache::PolicyCache,
    follow_up::follow_up,
    release::{NotInstalled, Release},
    restore::{Restored, restore},
};
use crate::{
    admission::{HoldMethod, Key, Operator, PolicyObject, policies},
    metrics::{Metrics, PolicyLabels},
    timer::sleep_until_opt,
    watch::{RETRY, Watches},
};

/// The time that Helm may need from the write of the `ClusterRole` to the writes of the policies. During this time, the
/// operator restores only policies that it saw intact since it started.
const SETTLING: SignedDuration = SignedDuration::from_secs(15);

/// The minimum time between two checks. The pause limits the load if another client keeps changing a policy.
const PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of policies that the operator restores at the same time.
const CONCURRENCY: usize = 8;

/// Restores the policies of `operator` until `shutdown`, and then finishes the follow-up work.
pub(crate) async fn run(
    client: Client,
    operator: Operator,
    hold_method: HoldMethod,
    metrics: Arc<Metrics>,
    watches: &Arc<Watches>,
    shutdown: impl Future<Output = ()>,
) {
    let changes = cache::watch(watches, hold_method);
    let wanted = policies(&operator).into_iter().filter(|policy| hold_method.has(policy));
    let (restored, receiver) = mpsc::unbounded_channel();
    let policies = PolicyRestorer {
        wanted: wanted.map(|policy| (policy.key(), policy)).collect(),
        live: PolicyCache::default(),
        paused_for: None,
        client: client.clone(),
        operator,
        metrics,
        restored,
    };
    tokio::join!(policies.watch(changes, shutdown), follow_up(client, receiver));
}

struct PolicyRestorer {
    client: Client,
    operator: Operator,
    wanted: BTreeMap<Key, PolicyObject>,
    live: PolicyCache,
    /// The reason why the operator skipped the last restore. The operator does not log an equal reason again.
    paused_for: Option<NotInstalled>,
    metrics: Arc<Metrics>,
    restored: mpsc::UnboundedSender<Restored>,
}

impl PolicyRestorer {
    async fn watch(mut self, mut changes: cache::Changes, shutdown: impl Future<Output = ()>) {
        let mut again = None;
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some((kind, change)) = changes.next() => {
                    self.live.apply(kind, change, &self.wanted);
                    // Apply all pending changes before the next check.
                    again = Some(Instant::now());
                    continue;
                }
                () = sleep_until_opt(again) => {}
            }
            let next = self.check().await;
            tokio::time::sleep(PAUSE).await;
            again = next.map(|wait| Instant::now() + wait);
        }
    }

    /// Restores broken policies. Returns the time until the next check, or `None` if the next check can wait until a
    /// policy changes.
    async fn check(&mut self) -> Option<Duration> {
        let (broken, never_intact) = self.live.broken(&self.wanted);
        if broken.is_empty() && never_intact.is_empty() {
            return None;
        }
        let release = match Release::read(&self.client, &self.operator).await {
            Ok(Ok(release)) => release,
            Ok(Err(not_installed)) => return Some(self.pause(not_installed)),
            Err(error) => {
                warn!(
                    "policies are missing or changed, and the release cannot be read: {error}; retrying in 1 s"
                );
                return Some(RETRY);
            }
        };
        self.paused_for = None;
        let settled = (release.written + SETTLING).duration_since(Timestamp::now());
        let settled =
            Duration::try_from(settled).ok().filter(|wait| !wait.is_zero() && !never_intact.is_empty());
        let broken = if settled.is_some() { broken } else { [broken, never_intact].concat() };
        // Policies come first: for a new binding, the API server reads the policy to check access to the parameters.
        let (bindings, policies): (Vec<_>, Vec<_>) =
            broken.into_iter().partition(|key| key.kind.ends_with("Binding"));
        let all = self.restore(&policies, &release).await & self.restore(&bindings, &release).await;
        if all { settled } else { Some(RETRY) }
    }

    /// Restores policies. Returns whether all of them are restored.
    async fn restore(&mut self, keys: &[Key], release: &Release) -> bool {
        let broken = keys.iter().filter_map(|key| Some((key, self.wanted.get(key)?, self.live.get(key))));
        let results = stream::iter(broken).map(|(key, wanted, found)| {
            let restored = restore(&self.client, wanted, found, release);
            async move { (key, found.cloned(), restored.await) }
        });
        let results: Vec<_> = results.buffer_unordered(CONCURRENCY).collect().await;
        let mut all = true;
        for (key, found, restored) in results {
            match restored {
                Ok(restored) => self.report(key, found.as_ref(), restored, release),
                // The policy of this binding was deleted too, but the watch has not delivered the deletion yet.
                Err(error) if error.to_string().contains("unable to get policy") => all = false,
                Err(error) => {
                    warn!(policy = %key, "missing or changed, and cannot be restored: {error}; retrying in 1 s");
                    all = false;
                }
            }
        }
        all
    }

    fn report(&mut self, key: &Key, found: Option<&PolicyObject>, restored: PolicyObject, release: &Release) {
        let by = found.and_then(PolicyObject::last_manager);
        let what = match (found, by) {
            (None, _) => "was missing, restored".to_owned(),
            (Some(_), None) => "was changed, restored".to_owned(),
            (Some(_), Some(by)) => format!("was changed by {by}, restored"),
        };
        warn!(policy = %key, "{what}");
        self.metrics.policies_restored.get_or_create(&PolicyLabels { policy: key.to_string() }).inc();
        self.live.set(key.clone(), restored.clone());
        // The send cannot fail, because the receiver lives as long as this task.
        let _ = self.restored.send(Restored { policy: restored, what, applier: release.applier.clone() });
    }

    fn pause(&mut self, not_installed: NotInstalled) -> Duration {
        if self.paused_for.as_ref() != Some(&not_installed) {
            match &not_installed {
                NotInstalled::Gone => warn!(
                    "the release was uninstalled, so its policies are not restored. Without them, unapproved pods \
                     start, nothing is stopped, and decisions can be changed and deleted. Held pods stay held until \
                     their gate assent.dev/clearance is removed"
                ),
                NotInstalled::Other(version) => info!(
                    version,
                    "the release has policies of another version or with other chart values than this operator: the operator leaves them unchanged"
                ),
            }
        }
        self.paused_for = Some(not_installed);
        RETRY
    }
}
