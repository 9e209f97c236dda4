//! The policies enforce, and an administrator can delete or edit them, on purpose or by mistake: this
//! puts them back within a second, and raises an alarm.
//!
//! ```text
//!  watch of the policies ─► PolicyCache ─┐
//!  admission::policies() ─────────┴─► differ? ─► does the Release still say so? ─► restore ─► follow_up
//!                                                  │                               log,       field owner,
//!                                                  └─ gone, or of another version  metric     Event
//!                                                     : stand back
//! ```
//!
//! Whether there is anything to guard is for the release to say, in an annotation of the operator's own
//! `ClusterRole`: Helm removes that before the policies, and upgrades it before them. So what an uninstall
//! took away stays away, and an older operator leaves the policies of a newer chart alone.
//!
//! What slipped in while a policy was missing is no concern of this: it is not cleared, so it is stopped.

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
    follow_up::{Restored, follow_up},
    release::{NotInstalled, Release},
    restore::restore,
};
use crate::{
    admission::{HoldMethod, Key, Operator, PolicyObject, policies},
    metrics::{Metrics, PolicyLabels},
    timer::sleep_until_opt,
    watch::{RETRY, Watches},
};

/// How long Helm may take, after it wrote the `ClusterRole`, to write the policies: what was never seen as
/// it should be is left to it so long.
const SETTLING: SignedDuration = SignedDuration::from_secs(15);

/// The shortest time between two looks, so that two who disagree do not fill the API server's day.
const PAUSE: Duration = Duration::from_millis(100);

/// How many are restored at the same time.
const CONCURRENCY: usize = 8;

/// Guards the policies of `operator` until `shutdown`; what was restored is seen to then.
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
    /// Why nothing was restored when last something was to be.
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
                    // Once all that is told already was taken in.
                    again = Some(Instant::now());
                    continue;
                }
                () = sleep_until_opt(again) => {}
            }
            let next = self.look().await;
            tokio::time::sleep(PAUSE).await;
            again = next.map(|wait| Instant::now() + wait);
        }
    }

    /// Restores what is not as it should be; returns when to look again though nothing changes.
    async fn look(&mut self) -> Option<Duration> {
        let (broken, never_right) = self.live.broken(&self.wanted);
        if broken.is_empty() && never_right.is_empty() {
            return None;
        }
        let release = match Release::read(&self.client, &self.operator).await {
            Ok(Ok(release)) => release,
            Ok(Err(not_installed)) => return Some(self.pause(not_installed)),
            Err(error) => {
                warn!("the policies are not as they should be, and the release cannot be read: {error}");
                return Some(RETRY);
            }
        };
        self.paused_for = None;
        let settled = (release.written + SETTLING).duration_since(Timestamp::now());
        let settled =
            Duration::try_from(settled).ok().filter(|wait| !wait.is_zero() && !never_right.is_empty());
        let broken = if settled.is_some() { broken } else { [broken, never_right].concat() };
        // A binding may be created only by who may read the parameters of its policy, which must be there.
        let (bindings, policies): (Vec<_>, Vec<_>) =
            broken.into_iter().partition(|key| key.kind.ends_with("Binding"));
        let all = self.restore(&policies, &release).await & self.restore(&bindings, &release).await;
        if all { settled } else { Some(RETRY) }
    }

    /// Restores policies; returns whether all of them were.
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
                Ok(restored) => self.alarm(key, found.as_ref(), restored, release),
                // Its policy was deleted too, and the watch of policies is yet to say so: they go in turn.
                Err(error) if error.to_string().contains("unable to get policy") => all = false,
                Err(error) => {
                    warn!(policy = %key, "not as it should be, and not restored: {error}; trying again");
                    all = false;
                }
            }
        }
        all
    }

    fn alarm(&mut self, key: &Key, found: Option<&PolicyObject>, restored: PolicyObject, release: &Release) {
        let by = found.and_then(PolicyObject::last_manager);
        let what = match (found, by) {
            (None, _) => "was missing, restored".to_owned(),
            (Some(_), None) => "was changed, restored".to_owned(),
            (Some(_), Some(by)) => format!("was changed by {by}, restored"),
        };
        warn!(policy = %key, "{what}");
        self.metrics.policies_restored.get_or_create(&PolicyLabels { policy: key.to_string() }).inc();
        self.live.set(key.clone(), restored.clone());
        // Who sees to it is gone only when this is.
        let _ = self.restored.send(Restored { policy: restored, what, applier: release.applier.clone() });
    }

    fn pause(&mut self, not_installed: NotInstalled) -> Duration {
        if self.paused_for.as_ref() != Some(&not_installed) {
            match &not_installed {
                NotInstalled::Gone => warn!(
                    "the release was uninstalled: its policies stay away. No longer enforced: every pod starts, \
                     approved or not; nothing is stopped; decisions can be changed and deleted. Held pods stay \
                     held until their gate assent.dev/clearance is removed"
                ),
                NotInstalled::Other(version) => info!(
                    version,
                    "the release's policies are of another version or other values than this operator's: they are left alone"
                ),
            }
        }
        self.paused_for = Some(not_installed);
        RETRY
    }
}
