//! Where a risk level says `ScaleDown` or `Suspend`, the workload at the root of a pod's controllers is stopped
//! as a whole, and started again as it was.
//!
//! ```text
//!  Enforcer ─ Lost ──────► root ─► written down ─► scaled to zero, or suspended
//!     ▲       Clearance ─► what it would run is cleared, and nobody changed it since ─► as it was
//!     └────── Unable: its pods are evicted instead
//! ```
//!
//! What it was is written down ([`Stopped`]) before anything is changed, so that a restart forgets
//! nothing. Whether somebody changed it since is asked of the API server, which notes who set a field last
//! (`managedFields`). Somebody who puts it back is not fought for
//! ever: after the third time the pods are held, one by one, and an Event says `Contested`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, GroupVersionKind, Patch, PatchParams},
    discovery::pinned_kind,
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::warn;

use super::{
    Told,
    owner::{OwnerRef, root_of},
    say::{Subject, Voice},
    stopped::{Stopped, Was, forget, read_all, template_is_cleared, write_down},
};
use crate::{
    api::{ClearanceSpec, Mode, OnLossMode, SharedRuntime},
    metrics::{Enforcement, EnforcementLabels, Metrics},
    policy::is_queued,
    watch::{Lenient, RETRY, jittered},
};

/// Workloads of a kind that is known only while the program runs.
type Roots = Api<Lenient<DynamicObject>>;

/// The field manager of what is stopped as a whole, and of nothing else.
const MANAGER: &str = "assent-stop";

/// The manager that server-side apply notes for fields that nobody is known to have set.
const UNKNOWN_MANAGER: &str = "before-first-apply";

/// How often a workload that somebody else starts again is stopped again.
const PATIENCE: u32 = 3;

/// How often stopped workloads are read again: the operator does not watch them, and their users may change
/// what they would run.
const RECHECK: Duration = Duration::from_secs(10);

/// Pods of a controller lost their clearance, or are held again after that.
#[derive(Clone, Debug)]
pub struct Lost {
    pub namespace: Arc<str>,
    pub owner: Arc<OwnerRef>,
    pub system: Arc<str>,
    pub mode: OnLossMode,
    /// The runtime of the pod, if it can be compared with a version.
    pub runtime: Option<SharedRuntime>,
}

/// The pods of a controller are to be stopped one by one.
#[derive(Debug)]
pub struct Unable {
    pub namespace: Arc<str>,
    pub owner: Arc<OwnerRef>,
}

/// What came of a request.
enum Done {
    Stopped(Lost, Stopped),
    /// It was stopped already.
    Nothing(Lost),
    /// It cannot be stopped as a whole; of which root, and why, if that is worth saying.
    Unable(Lost, Option<(OwnerRef, &'static str)>),
    Started(Arc<str>, Stopped),
    /// What it would run was not cleared by this clearance.
    NotCleared(Arc<str>, Stopped, Option<Arc<ClearanceSpec>>),
    /// Somebody else changed it, or it is gone.
    Left(Arc<str>, Stopped),
    StopFailed(Lost),
    StartFailed(Arc<str>, Stopped),
}

/// Stops and starts until `told` ends.
pub async fn run(
    client: Client,
    metrics: Arc<Metrics>,
    voice: Voice,
    mut told: mpsc::UnboundedReceiver<Told>,
    mut lost: mpsc::UnboundedReceiver<Lost>,
    unable: mpsc::UnboundedSender<Unable>,
) {
    // Told nothing before this operator leads: until then, what is written down is another's to change.
    let Some(first) = told.recv().await else { return };
    let stopped = known_before(&client).await;
    let mut recheck = interval(RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut whole = Whole {
        client,
        metrics,
        voice,
        unable,
        stopped,
        clearances: HashMap::new(),
        busy: HashSet::new(),
        under_way: FuturesUnordered::new(),
    };
    whole.told(first);
    loop {
        tokio::select! {
            // Clearances first: a loss was decided by the newest that was told.
            biased;
            told = told.recv() => match told {
                Some(told) => whole.told(told),
                None => break,
            },
            Some(lost) = lost.recv() => whole.stop(lost),
            Some(done) = whole.under_way.next() => whole.done(done),
            _ = recheck.tick() => whole.start_all(),
        }
    }
    while whole.under_way.next().await.is_some() {}
}

/// What was written down before, by namespace and uid of the root.
async fn known_before(client: &Client) -> HashMap<Arc<str>, BTreeMap<String, Stopped>> {
    loop {
        match read_all(client).await {
            Ok(stopped) => return stopped,
            Err(error) => {
                warn!("what is stopped as a whole is not known: {error}; trying again");
                sleep(jittered(RETRY)).await;
            }
        }
    }
}

struct Whole {
    client: Client,
    metrics: Arc<Metrics>,
    voice: Voice,
    unable: mpsc::UnboundedSender<Unable>,
    stopped: HashMap<Arc<str>, BTreeMap<String, Stopped>>,
    clearances: HashMap<Arc<str>, Arc<ClearanceSpec>>,
    /// The uids of controllers and roots about which something is asked.
    busy: HashSet<String>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Whole {
    fn told(&mut self, told: Told) {
        if let Told::Clearance(namespace, clearance) = told {
            self.clearance(&namespace, clearance);
        }
    }

    fn stop(&mut self, lost: Lost) {
        if self.busy.insert(lost.owner.uid.clone()) {
            let before = self.stopped.get(&lost.namespace).cloned().unwrap_or_default();
            let clearance = self.clearances.get(&lost.namespace).cloned();
            self.under_way.push(stop(self.client.clone(), lost, clearance, before).boxed());
        }
    }

    fn clearance(&mut self, namespace: &Arc<str>, clearance: Option<Arc<ClearanceSpec>>) {
        match clearance {
            Some(clearance) => drop(self.clearances.insert(Arc::clone(namespace), clearance)),
            None => drop(self.clearances.remove(namespace)),
        }
        self.start_all_of(namespace);
    }

    /// Where no clearance is known, none may have been told yet.
    fn start_all(&mut self) {
        for namespace in self.clearances.keys().cloned().collect::<Vec<_>>() {
            self.start_all_of(&namespace);
        }
    }

    fn start_all_of(&mut self, namespace: &Arc<str>) {
        let stopped: Vec<_> =
            self.stopped.get(namespace).into_iter().flat_map(BTreeMap::values).cloned().collect();
        for stopped in stopped {
            self.start(namespace, stopped);
        }
    }

    /// Starts it if what it would run is cleared. Where nothing is, nobody has to ask what that is.
    fn start(&mut self, namespace: &Arc<str>, stopped: Stopped) {
        let clearance = self.clearances.get(namespace).filter(|c| c.mode == Some(Mode::Enforce)).cloned();
        let now = Timestamp::now();
        let clears_any = |clearance: &Arc<ClearanceSpec>| {
            let versions = clearance.systems.values().flat_map(|system| &system.cleared);
            versions.into_iter().any(|version| now < version.not_after.0)
        };
        if clearance.as_ref().is_none_or(clears_any) && self.busy.insert(stopped.root.uid.clone()) {
            let work = start(self.client.clone(), Arc::clone(namespace), stopped, clearance);
            self.under_way.push(work.boxed());
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Stopped(lost, stopped) => {
                self.busy.remove(&lost.owner.uid);
                self.count(Enforcement::of(stopped.was), true);
                self.say(&lost.namespace, &stopped, Said::Stopped);
                let known = self.stopped.entry(Arc::clone(&lost.namespace)).or_default();
                known.insert(stopped.root.uid.clone(), stopped.clone());
                // It may have come back in the meantime.
                self.start(&lost.namespace, stopped);
            }
            Done::Nothing(lost) => drop(self.busy.remove(&lost.owner.uid)),
            Done::Unable(lost, why) => {
                self.busy.remove(&lost.owner.uid);
                if let Some((root, why)) = why {
                    let (system, was) = (lost.system.to_string(), Was::Suspend(None));
                    let stopped =
                        Stopped { root, system, was, put_back: PATIENCE, runtime: None, generation: None };
                    self.say(&lost.namespace, &stopped, Said::Contested(why));
                }
                // The Enforcer ends after this.
                let _ = self.unable.send(Unable { namespace: lost.namespace, owner: lost.owner });
            }
            Done::Started(namespace, stopped) => {
                self.count(Enforcement::Resume, true);
                self.say(&namespace, &stopped, Said::Started);
                self.forget(&namespace, &stopped);
            }
            Done::NotCleared(namespace, stopped, by) => {
                self.busy.remove(&stopped.root.uid);
                let now = self.clearances.get(&namespace).filter(|c| c.mode == Some(Mode::Enforce));
                if now.map(Arc::as_ptr) != by.as_ref().map(Arc::as_ptr) {
                    self.start(&namespace, stopped);
                }
            }
            Done::Left(namespace, stopped) => self.forget(&namespace, &stopped),
            Done::StopFailed(lost) => {
                self.count(Enforcement::Suspend, false);
                self.busy.remove(&lost.owner.uid);
                self.stop(lost);
            }
            Done::StartFailed(namespace, stopped) => {
                self.count(Enforcement::Resume, false);
                self.busy.remove(&stopped.root.uid);
                self.start(&namespace, stopped);
            }
        }
    }

    fn forget(&mut self, namespace: &Arc<str>, stopped: &Stopped) {
        self.busy.remove(&stopped.root.uid);
        if let Some(known) = self.stopped.get_mut(namespace) {
            known.remove(&stopped.root.uid);
        }
    }

    fn count(&self, action: Enforcement, done: bool) {
        self.metrics.enforcements.get_or_create(&EnforcementLabels { action, done }).inc();
    }

    fn say(&self, namespace: &str, stopped: &Stopped, said: Said) {
        let subject = Subject {
            api_version: &stopped.root.api_version,
            kind: &stopped.root.kind,
            namespace,
            name: &stopped.root.name,
            uid: stopped.root.uid.as_str().into(),
            owner: None,
            system: &stopped.system.as_str().into(),
            runtime: &Ok(SharedRuntime::default()),
        };
        let clearance = self.clearances.get(namespace).map(|c| &**c);
        match (said, stopped.was) {
            (Said::Stopped, Was::Replicas(_)) => self.voice.stopped(&subject, clearance, "ScaleDown"),
            (Said::Stopped, Was::Suspend(_)) => self.voice.stopped(&subject, clearance, "Suspend"),
            (Said::Started, Was::Replicas(n)) => {
                self.voice.released(
                    &subject,
                    clearance,
                    Some(&format!("{} (scaled back to {n})", stopped.system)),
                );
            }
            (Said::Started, Was::Suspend(_)) => {
                self.voice.released(&subject, clearance, Some(&stopped.system));
            }
            (Said::Contested(why), _) => self.voice.contested(&subject, clearance, why),
        }
    }
}

enum Said {
    Stopped,
    Started,
    Contested(&'static str),
}

impl Enforcement {
    const fn of(was: Was) -> Self {
        match was {
            Was::Replicas(_) => Self::ScaleDown,
            Was::Suspend(_) => Self::Suspend,
        }
    }
}

async fn stop(
    client: Client,
    lost: Lost,
    clearance: Option<Arc<ClearanceSpec>>,
    before: BTreeMap<String, Stopped>,
) -> Done {
    let root = root_of(&client, &lost.namespace, &lost.owner).await;
    match try_stop(&client, &lost, &root, clearance.as_deref(), before.get(&root.uid)).await {
        Ok(Attempt::Stopped(stopped)) => Done::Stopped(lost, stopped),
        Ok(Attempt::Nothing) => Done::Nothing(lost),
        Ok(Attempt::Contested) => Done::Unable(
            lost,
            Some((root, "somebody else keeps starting it again; its pods are held instead")),
        ),
        Ok(Attempt::Impossible) => Done::Unable(lost, None),
        // It has nothing to stop it by, or the operator was not given it: values.workloads of the chart.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 403..=405) => Done::Unable(lost, None),
        Err(error) => {
            warn!(
                namespace = &*lost.namespace,
                kind = root.kind,
                name = root.name,
                "not stopped yet: {error}"
            );
            sleep(jittered(RETRY)).await;
            Done::StopFailed(lost)
        }
    }
}

enum Attempt {
    Stopped(Stopped),
    Nothing,
    Contested,
    Impossible,
}

async fn try_stop(
    client: &Client,
    lost: &Lost,
    root: &OwnerRef,
    clearance: Option<&ClearanceSpec>,
    before: Option<&Stopped>,
) -> Result<Attempt, kube::Error> {
    let api = api_of(client, &lost.namespace, root).await?;
    let object = api.get(&root.name).await?.readable()?;
    // In the middle of a rollout only the pods of the old revision lose their clearance. A queue that
    // admitted a workload would set `suspend` back at once.
    let is_rolling_out = clearance.is_some_and(|c| template_is_cleared(root, &object, c));
    if is_rolling_out || lost.mode == OnLossMode::Suspend && is_queued(object.labels()) {
        return Ok(Attempt::Impossible);
    }
    let (was, resource_version) = read(&api, root, lost.mode).await?;
    if is_stopped(was) {
        return Ok(Attempt::Nothing);
    }
    let put_back = before.map_or(0, |before| before.put_back + 1);
    if put_back >= PATIENCE {
        return Ok(Attempt::Contested);
    }
    let stopped = Stopped {
        root: root.clone(),
        system: lost.system.to_string(),
        was,
        put_back,
        runtime: lost.runtime.clone(),
        generation: object.metadata.generation,
    };
    write_down(client, &lost.namespace, &stopped).await?;
    let to = match was {
        Was::Replicas(_) => Was::Replicas(0),
        Was::Suspend(_) => Was::Suspend(Some(true)),
    };
    let done = write(&api, root, to, resource_version).await?;
    Ok(if done { Attempt::Stopped(stopped) } else { Attempt::Impossible })
}

async fn start(
    client: Client,
    namespace: Arc<str>,
    stopped: Stopped,
    clearance: Option<Arc<ClearanceSpec>>,
) -> Done {
    match try_start(&client, &namespace, &stopped, clearance.as_deref()).await {
        Ok(Outcome::Started) => Done::Started(namespace, stopped),
        Ok(Outcome::NotCleared) => Done::NotCleared(namespace, stopped, clearance),
        Ok(Outcome::Left) => Done::Left(namespace, stopped),
        Err(error) => {
            let Stopped { root, .. } = &stopped;
            warn!(
                namespace = &*namespace,
                kind = root.kind,
                name = root.name,
                "not started again yet: {error}"
            );
            sleep(jittered(RETRY)).await;
            Done::StartFailed(namespace, stopped)
        }
    }
}

enum Outcome {
    Started,
    NotCleared,
    Left,
}

/// Starts it again if it is as it was left, and what it would run is cleared.
async fn try_start(
    client: &Client,
    namespace: &str,
    stopped: &Stopped,
    clearance: Option<&ClearanceSpec>,
) -> Result<Outcome, kube::Error> {
    let Stopped { root, was, .. } = stopped;
    let api = api_of(client, namespace, root).await?;
    let object = api
        .get_opt(&root.name)
        .await?
        .map(Lenient::readable)
        .transpose()?
        .filter(|object| object.uid().as_ref() == Some(&root.uid));
    let Some(object) = object else {
        forget(client, namespace, root).await?;
        return Ok(Outcome::Left);
    };
    // Before that, who put it back is counted.
    if clearance.is_some_and(|clearance| !stopped.may_start(&object, clearance, Timestamp::now())) {
        return Ok(Outcome::NotCleared);
    }
    let is_as_left = is_nobody_elses(&object, *was) && is_stopped(read(&api, root, (*was).into()).await?.0);
    if !is_as_left {
        forget(client, namespace, root).await?;
        return Ok(Outcome::Left);
    }
    write(&api, root, *was, object.resource_version()).await?;
    forget(client, namespace, root).await?;
    Ok(Outcome::Started)
}

const fn is_stopped(is: Was) -> bool {
    matches!(is, Was::Replicas(0) | Was::Suspend(Some(true)))
}

/// Whether nobody else is known to have set the field that stopping set. The API server notes nobody for a
/// scale of zero, which the `Scale` leaves out.
fn is_nobody_elses(object: &DynamicObject, was: Was) -> bool {
    let field = match was {
        Was::Replicas(_) => "f:replicas",
        Was::Suspend(_) => "f:suspend",
    };
    let is_other = |manager: Option<&str>| !matches!(manager, Some(MANAGER | UNKNOWN_MANAGER));
    let others = object.managed_fields().iter().filter(|entry| is_other(entry.manager.as_deref()));
    others.filter_map(|entry| entry.fields_v1.as_ref()).all(|fields| fields.0["f:spec"][field].is_null())
}

async fn api_of(client: &Client, namespace: &str, root: &OwnerRef) -> Result<Roots, kube::Error> {
    let (group, version) = root.api_version.split_once('/').unwrap_or(("", &root.api_version));
    let (resource, _) = pinned_kind(client, &GroupVersionKind::gvk(group, version, &root.kind)).await?;
    Ok(Api::namespaced_with(client.clone(), namespace, &resource))
}

/// What a workload is, in the terms of `mode`, and at which version.
async fn read(api: &Roots, root: &OwnerRef, mode: OnLossMode) -> Result<(Was, Option<String>), kube::Error> {
    if mode == OnLossMode::ScaleDown {
        let scale = api.get_scale(&root.name).await?;
        let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or_default();
        return Ok((Was::Replicas(replicas), scale.metadata.resource_version));
    }
    let object = api.get(&root.name).await?.readable()?;
    Ok((Was::Suspend(object.data["spec"]["suspend"].as_bool()), object.resource_version()))
}

/// Makes a workload what is wanted, if it still is at that version; whether it has such a field.
async fn write(
    api: &Roots,
    root: &OwnerRef,
    wanted: Was,
    resource_version: Option<String>,
) -> Result<bool, kube::Error> {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = |spec: Value| {
        Patch::Merge(
            json!({ "metadata": { "uid": root.uid, "resourceVersion": resource_version }, "spec": spec }),
        )
    };
    match wanted {
        Was::Replicas(replicas) => {
            api.patch_scale(&root.name, &params, &patch(json!({ "replicas": replicas }))).await.map(|_| true)
        }
        Was::Suspend(suspend) => {
            let object = api.patch(&root.name, &params, &patch(json!({ "suspend": suspend }))).await?;
            // One that cannot be read was patched all the same.
            Ok(object.0.map_or(true, |object| object.data["spec"]["suspend"].as_bool() == suspend))
        }
    }
}
