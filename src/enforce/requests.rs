//! Starts the requests about pods, and handles their results.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::{
    act::{ActionResult, TIMEOUT, act},
    action::{Action, Step},
    decide::decide,
    enforcer::Enforcer,
    pod::{Pod, PodKey},
    subject::EventSubject,
};
use crate::watch::{RETRY, jittered};

/// The first delay after a failed release. The operator retries a release, because the policies of the API server can
/// read a new clearance late. Each further delay is twice as long, up to [`RETRY`].
const LAG: Duration = Duration::from_millis(5);

impl Enforcer {
    /// Starts queued requests, up to the limit of the pool. Before each request, the operator decides about the pod
    /// again.
    pub(super) fn start(&mut self) {
        while let Some(key) = self.pool.take() {
            let Some((pod, action)) = self.action(&key) else {
                self.pool.give_up(&key);
                self.look_at(&key);
                continue;
            };
            if matches!(action, Action::Roll) {
                // Until the response, the operator evicts no other pod of the owner.
                self.note(&key, |notes| notes.quiet_until = Some(Timestamp::now() + TIMEOUT));
            }
            let (client, metrics, target) = (self.client.clone(), Arc::clone(&self.metrics), key.clone());
            self.pool.start(key, async move {
                let done = act(client, &target, &pod, action, &metrics).await;
                (pod, done)
            });
        }
        self.pool.reset_if_empty();
    }

    fn action(&self, key: &PodKey) -> Option<(Pod, Action)> {
        let action = decide(&self.cache, &self.evict_individually, key, Timestamp::now())?.into_action()?;
        let (pod, _) = self.cache.pod(key)?;
        Some((pod.clone(), action))
    }

    /// Handles the result of a request. `asked` is the pod at the start of the request.
    pub(super) fn done(&mut self, key: &PodKey, asked: &Pod, done: ActionResult) {
        match done {
            ActionResult::Ok(_)
            | ActionResult::Gone
            | ActionResult::NotNow(..)
            | ActionResult::Unclear(..) => self.pool.answered(),
            ActionResult::Overloaded(..) => self.pool.overloaded(),
        }
        let is_same = self.cache.pod(key).is_some_and(|(pod, _)| pod.uid == asked.uid);
        if !is_same {
            let clearance = self.cache.namespace(&key.namespace).and_then(|n| n.clearance.as_deref());
            if let ActionResult::Ok(action)
            | ActionResult::Overloaded(action, _)
            | ActionResult::Unclear(action, _) = done
            {
                self.events.done(key, asked, clearance, &action);
            }
            return self.look_at(key);
        }
        match done {
            ActionResult::Gone => {}
            ActionResult::Ok(action) => self.succeeded(key, asked, &action),
            ActionResult::NotNow(action, answer) => self.failed(key, action, &answer, (true, false)),
            ActionResult::Unclear(action, answer) => self.failed(key, action, &answer, (true, true)),
            ActionResult::Overloaded(action, answer) => self.failed(key, action, &answer, (false, true)),
        }
        self.look_at(key);
    }

    fn succeeded(&mut self, key: &PodKey, asked: &Pod, action: &Action) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        // Whether the watch already shows the change. It is always `false` for an action that deletes or evicts the
        // pod, so that the operator waits before a further request.
        let is_visible = match action {
            Action::Release(_) => !pod.gated,
            Action::Bound(seconds) => pod.life.seconds == Some(*seconds),
            Action::Stop(_) | Action::Replace(_) | Action::Roll => false,
        };
        pod.note(|notes| {
            notes.quiet_until = (!is_visible).then(|| Timestamp::now() + jittered(RETRY));
            (notes.last_event, notes.refusals, notes.unanswered) = (None, 0, None);
        });
        self.events.done(key, asked, clearance.map(|c| &**c), action);
    }

    /// Schedules the retry of a request. An overload of the API server causes no Event. If the result is unclear, the
    /// operator remembers the request, because the API server may have carried it out.
    fn failed(
        &mut self,
        key: &PodKey,
        action: Action,
        answer: &str,
        (wants_event, is_unclear): (bool, bool),
    ) {
        warn!(
            namespace = &*key.namespace,
            pod = &*key.name,
            ?action,
            "the action failed: {answer}; retrying within 2 s"
        );
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        let now = Timestamp::now();
        let again = now + jittered(RETRY);
        let evicts = matches!(action, Action::Stop(Step::Evict { .. }));
        let is_delayed = pod.note(|notes| {
            let until = match action {
                Action::Stop(Step::Evict { until, .. }) if until > now => again.min(until),
                Action::Stop(_) | Action::Replace(_) | Action::Bound(_) | Action::Roll => again,
                Action::Release(_) => {
                    let lag = LAG.saturating_mul(2_u32.saturating_pow(notes.refusals));
                    notes.refusals += 1;
                    now + jittered(RETRY.min(lag))
                }
            };
            notes.quiet_until = Some(until);
            if is_unclear {
                notes.unanswered = Some((action, Instant::now()));
            }
            evicts && wants_event && notes.say("EvictionDelayed")
        });
        if is_delayed {
            self.events.delayed(&EventSubject::pod(key, pod), clearance.map(|c| &**c), answer);
        }
    }
}
