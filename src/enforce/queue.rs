//! From what was decided to what was done: what waits is decided about once more when its turn comes, and what
//! came of it is looked at.
//!
//! ```text
//!  wait ─► waiting ─► room in the Window? ─► still to be done? ─► act ─► under way ─► done ─► look again
//! ```

use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::{
    Enforcer, LAG,
    act::{Done, PATIENCE, act},
    action::{Action, Step},
    decide::decide,
    pod::{Pod, PodKey},
    say::Subject,
};
use crate::{
    api::ClearanceSpec,
    watch::{RETRY, jittered},
};

impl Enforcer {
    /// Puts a pod in the queue of those for which something is to be done.
    pub(super) fn wait(&mut self, key: &PodKey) {
        self.busy.insert(key.clone());
        self.waiting.push_back(key.clone());
    }

    /// Starts what waits, as far as there is room, if it is still to be done.
    pub(super) fn start(&mut self) {
        while self.window.has_room(self.under_way.len(), Instant::now()) {
            let Some(key) = self.waiting.pop_front() else { break };
            let Some((pod, action)) = self.action(&key) else {
                // It may be its turn no longer.
                self.busy.remove(&key);
                self.look_at(&key);
                continue;
            };
            if matches!(action, Action::Roll) {
                // Until it is answered, none of its siblings goes.
                self.note(&key, |notes| notes.quiet_until = Some(Timestamp::now() + PATIENCE));
            }
            let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
            let work = async move {
                let done = act(client, &key, &pod, action, &metrics).await;
                (key, pod, done)
            };
            self.under_way.push(work.boxed());
        }
        if self.under_way.is_empty() && self.waiting.is_empty() && self.window.opens_at().is_none() {
            self.window.rest();
        }
    }

    fn action(&self, key: &PodKey) -> Option<(Pod, Action)> {
        let action = decide(&self.cache, &self.one_by_one, key, Timestamp::now())?.into_action()?;
        let (pod, _) = self.cache.pod(key)?;
        Some((pod.clone(), action))
    }

    /// Takes in what came of an action on the pod as it was when it was `asked`.
    pub(super) fn done(&mut self, key: &PodKey, asked: &Pod, done: Done) {
        self.busy.remove(key);
        match done {
            Done::Ok(_) | Done::Gone | Done::NotNow(..) | Done::Unclear(..) => self.window.answered(),
            Done::Overloaded(..) => self.window.overloaded(Instant::now()),
        }
        let now = Timestamp::now();
        let clearance: Option<Arc<ClearanceSpec>> =
            self.cache.namespace(&key.namespace).and_then(|namespace| namespace.clearance.clone());
        let Some((pod, _)) = self.cache.pod_mut(key).filter(|(pod, _)| pod.uid == asked.uid) else {
            if let Done::Ok(action) | Done::Overloaded(action, _) | Done::Unclear(action, _) = done {
                self.voice.done(key, asked, clearance.as_deref(), &action);
            }
            return self.look_at(key);
        };
        let again = now + jittered(RETRY);
        // A busy API server is not told of by yet more requests.
        let is_busy = matches!(done, Done::Overloaded(..));
        let is_unclear = matches!(done, Done::Overloaded(..) | Done::Unclear(..));
        match done {
            Done::Gone => {}
            Done::Ok(action) => {
                // A stop may be told and still have to be asked for again, but not at once.
                let told = match &action {
                    Action::Release(_) => !pod.gated,
                    Action::Bound(seconds) => pod.life.seconds == Some(*seconds),
                    Action::Stop(_) | Action::Replace | Action::Roll => false,
                };
                pod.note(|notes| {
                    notes.quiet_until = (!told).then_some(again);
                    (notes.said, notes.refusals, notes.unanswered) = (None, 0, None);
                });
                self.voice.done(key, asked, clearance.as_deref(), &action);
            }
            Done::NotNow(action, answer)
            | Done::Overloaded(action, answer)
            | Done::Unclear(action, answer) => {
                warn!(namespace = &*key.namespace, pod = &*key.name, ?action, "not done yet: {answer}");
                let evicts = matches!(action, Action::Stop(Step::Evict { .. }));
                let delayed = pod.note(|notes| {
                    let until = match action {
                        Action::Stop(Step::Evict { until, .. }) if until > now => again.min(until),
                        Action::Stop(_) | Action::Replace | Action::Bound(_) | Action::Roll => again,
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
                    evicts && !is_busy && notes.say("EvictionDelayed")
                });
                if delayed {
                    self.voice.delayed(&Subject::pod(key, pod), clearance.as_deref(), &answer);
                }
            }
        }
        self.look_at(key);
    }
}
