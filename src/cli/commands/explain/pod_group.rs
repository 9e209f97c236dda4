//! Reads the pods of a target, or the pod template of a workload. From the template, the command can explain why the
//! workload has no pods.
//!
//! ```text
//!  pod, system or image ─► pods ──────────────────────┐
//!  workload ─► pods, and the template if necessary ───┴─► PodGroups
//! ```

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{ContainerStatus, Event, Pod, PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, ObjectMeta},
    core::Selector,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{GATE, ModelVersion, Runtime, SYSTEM_LABEL, Scope},
    cli::{
        connect::{
            session::Session,
            signs::accelerators,
            system_record::unless_installed,
            target::{Target, WorkloadKind, is_image},
        },
        error::{Error, Next, Result},
    },
    enforce::has_ended,
    policy::{Accelerators, narrowest_scope, runtime_of_pod},
    watch::request,
};

/// Either the pods with the same state, scope, system and runtime, or one pod template.
#[derive(Clone, Debug, PartialEq)]
pub struct PodGroup {
    /// The names of the pods. Empty for a template.
    pub pods: Vec<String>,
    pub state: State,
    pub system: Option<String>,
    /// The narrowest scope that includes the pods. A namespace governs the pods if it has this scope or a wider one.
    pub scope: Scope,
    /// The runtime of the pods, or the reason why no version can describe the pods.
    pub runtime: Result<Runtime, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The pod has the scheduling gate of Assent.
    Held,
    /// The pod does not have the gate of Assent, has not ended, and no user or controller has deleted the pod.
    Admitted,
    Stopping,
    Ended,
    NotCreated,
}

/// A refusal of the API server to create a pod of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    pub message: String,
    /// The time at which the condition `ReplicaFailure` became true, or the time of the latest Event `FailedCreate`.
    pub at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct PodGroups {
    pub groups: Vec<PodGroup>,
    pub refusals: Vec<Refusal>,
    /// The systems that the explanation shows even if they have no pods. For a target that is a system or a version,
    /// this is the system of the target. For an image, these are the systems that have a version with this image.
    pub asked: BTreeSet<String>,
}

impl PodGroups {
    pub fn systems(&self) -> BTreeSet<String> {
        self.groups.iter().filter_map(|s| s.system.clone()).chain(self.asked.clone()).collect()
    }

    pub fn of_pods(pods: Vec<Pod>, accelerators: &Accelerators) -> Self {
        let mut groups: Vec<PodGroup> = Vec::new();
        for pod in pods {
            let one = PodGroup::of_pod(&pod, accelerators);
            let alike = |s: &&mut PodGroup| {
                (s.state, s.scope, &s.system, &s.runtime) == (one.state, one.scope, &one.system, &one.runtime)
            };
            match groups.iter_mut().find(alike) {
                Some(alike) => alike.pods.extend(one.pods),
                None => groups.push(one),
            }
        }
        Self { groups, ..Self::default() }
    }
}

impl PodGroup {
    fn of_pod(pod: &Pod, accelerators: &Accelerators) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        Self {
            pods: vec![pod.name_any()],
            state: state(pod),
            ..Self::new(&pod.metadata, &spec, accelerators)
        }
    }

    pub fn of_template(template: &PodTemplateSpec, accelerators: &Accelerators) -> Self {
        let metadata = template.metadata.clone().unwrap_or_default();
        Self::new(&metadata, &template.spec.clone().unwrap_or_default(), accelerators)
    }

    fn new(metadata: &ObjectMeta, spec: &PodSpec, accelerators: &Accelerators) -> Self {
        let system = metadata.labels.as_ref().and_then(|labels| labels.get(SYSTEM_LABEL).cloned());
        Self {
            pods: Vec::new(),
            state: State::NotCreated,
            scope: narrowest_scope(metadata, spec, accelerators),
            system,
            runtime: runtime_of_pod(metadata.annotations.as_ref(), spec).map_err(|error| error.to_string()),
        }
    }
}

fn state(pod: &Pod) -> State {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    if has_ended(pod) {
        State::Ended
    } else if pod.metadata.deletion_timestamp.is_some() {
        State::Stopping
    } else if gates.into_iter().any(|gate| gate.name == GATE) {
        State::Held
    } else {
        State::Admitted
    }
}

pub async fn pod(session: &Session, name: &str) -> Result<PodGroups> {
    Ok(PodGroups::of_pods(vec![read_pod(session, name).await?], &accelerators(session).await))
}

pub async fn read_pod(session: &Session, name: &str) -> Result<Pod> {
    let api = Api::<Pod>::namespaced(session.client.clone(), &session.namespace);
    let doing = format!("read pod/{name} in namespace {}", session.namespace);
    request::get_opt(&api, name)
        .await
        .map_err(Error::api(doing))?
        .ok_or_else(|| not_found(session, "pod", name))
}

pub async fn system(session: &Session, name: &str) -> Result<PodGroups> {
    let selected = ListParams::default().labels(&format!("{SYSTEM_LABEL}={name}"));
    let found = PodGroups::of_pods(list_pods(session, &selected).await?, &accelerators(session).await);
    Ok(PodGroups { asked: BTreeSet::from([name.to_owned()]), ..found })
}

/// Returns the pods that have the image `wanted`, and the systems that have a version with this image.
pub async fn image(session: &Session, wanted: &str) -> Result<PodGroups> {
    let mut pods = list_pods(session, &ListParams::default()).await?;
    pods.retain(|pod| images(pod).any(|image| is_image(image, wanted)));
    let api = Api::<ModelVersion>::namespaced(session.client.clone(), &session.namespace);
    let versions = request::list(&api, &ListParams::default()).await;
    let versions = versions
        .map_err(unless_installed(format!("read the modelversions of namespace {}", session.namespace)))?;
    let target = Target::Image(wanted.to_owned());
    let of_it = versions.items.into_iter().filter(|version| target.concerns(version));
    let found = PodGroups::of_pods(pods, &accelerators(session).await);
    Ok(PodGroups { asked: of_it.map(|version| version.spec.system).collect(), ..found })
}

/// The images in the spec of a pod, and the image IDs that the node reported.
fn images(pod: &Pod) -> impl Iterator<Item = &str> {
    let containers =
        pod.spec.iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let written = containers.filter_map(|container| container.image.as_deref());
    let mounted = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
    written.chain(mounted).chain(statuses(pod).map(|status| &*status.image_id))
}

pub fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| s.container_statuses.iter().chain(&s.init_container_statuses).flatten())
}

/// Returns the pods of a workload. Adds the pod template if the workload has no pods, or if the API server refused a
/// pod. Does not add the template if the label and the runtime of a group of pods equal those of the template.
pub async fn workload(session: &Session, kind: &WorkloadKind, name: &str) -> Result<PodGroups> {
    let workload = read_workload(session, kind, name).await?;
    let accelerators = accelerators(session).await;
    let mut found = PodGroups::of_pods(workload.pods, &accelerators);
    found.refusals = refusals(session, &workload.object).await;
    if found.groups.is_empty() || !found.refusals.is_empty() {
        let template = PodGroup::of_template(&workload.template, &accelerators);
        if !found.groups.iter().any(|s| (&s.system, &s.runtime) == (&template.system, &template.runtime)) {
            found.groups.push(template);
        }
    }
    Ok(found)
}

pub struct WorkloadPods {
    object: DynamicObject,
    pub template: PodTemplateSpec,
    pub pods: Vec<Pod>,
}

pub async fn read_workload(session: &Session, kind: &WorkloadKind, name: &str) -> Result<WorkloadPods> {
    let api =
        Api::<DynamicObject>::namespaced_with(session.client.clone(), &session.namespace, &kind.resource());
    let what = kind.kind.to_lowercase();
    let doing = format!("read {what}/{name} in namespace {}", session.namespace);
    let Some(object) = request::get_opt(&api, name).await.map_err(Error::api(doing))? else {
        return Err(not_found(session, &what, name));
    };
    let pods = match selector(session, &object).await? {
        Some(selected) => list_pods(session, &selected).await?,
        None => Vec::new(),
    };
    let template = part(&object, kind.template).unwrap_or_default();
    Ok(WorkloadPods { object, template, pods })
}

fn not_found(session: &Session, kind: &str, name: &str) -> Error {
    let next = Next::new(
        format!("kubectl get {kind}s -n {}{}", session.namespace, session.flags),
        format!("list every {kind}"),
    );
    Error::NotFound {
        what: format!("{kind} {name}"),
        namespace: session.namespace.clone(),
        others: Vec::new(),
        next: vec![next],
    }
}

async fn list_pods(session: &Session, selected: &ListParams) -> Result<Vec<Pod>> {
    let api = Api::<Pod>::namespaced(session.client.clone(), &session.namespace);
    let list = request::list(&api, selected).await;
    Ok(list.map_err(Error::api(format!("read the pods of namespace {}", session.namespace)))?.items)
}

/// The selector of the pods of a workload. A `CronJob` has no selector, so the result selects the pods of the Jobs of the
/// `CronJob`. `None` if the `CronJob` has no Jobs, or if the selector is not valid.
async fn selector(session: &Session, object: &DynamicObject) -> Result<Option<ListParams>> {
    if let Some(selector) = part::<LabelSelector>(object, "/spec/selector") {
        return Ok(Selector::try_from(selector)
            .ok()
            .map(|selector| ListParams::default().labels_from(&selector)));
    }
    let api = Api::<Job>::namespaced(session.client.clone(), &session.namespace);
    let jobs = request::list_metadata(&api, &ListParams::default()).await;
    let jobs = jobs.map_err(Error::api(format!("read the jobs of namespace {}", session.namespace)))?;
    let owned = jobs.into_iter().filter(|job| {
        job.owner_references().iter().any(|owner| Some(&owner.uid) == object.metadata.uid.as_ref())
    });
    let names: Vec<_> = owned.map(|job| job.name_any()).collect();
    let selector = format!("batch.kubernetes.io/job-name in ({})", names.join(","));
    Ok((!names.is_empty()).then(|| ListParams::default().labels(&selector)))
}

/// Returns the refusals in the condition `ReplicaFailure` of a workload. If the condition is not true, returns the
/// refusal in the latest Event `FailedCreate` about the workload.
async fn refusals(session: &Session, object: &DynamicObject) -> Vec<Refusal> {
    let conditions = part::<Vec<Condition>>(object, "/status/conditions").unwrap_or_default();
    let failures = conditions.into_iter().filter(|c| c.type_ == "ReplicaFailure" && c.status == "True");
    let failures: Vec<_> =
        failures.map(|c| Refusal { message: c.message, at: Some(c.last_transition_time.0) }).collect();
    if !failures.is_empty() {
        return failures;
    }
    let api = Api::<Event>::namespaced(session.client.clone(), &session.namespace);
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let failed = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=FailedCreate"));
    let events = request::list(&api, &failed).await.map(|list| list.items).unwrap_or_default();
    let refusals = events.into_iter().filter_map(|event| {
        let at = event.last_timestamp.map(|t| t.0).or(event.event_time.map(|t| t.0));
        Some(Refusal { message: event.message?, at })
    });
    refusals.max_by_key(|refusal| refusal.at).into_iter().collect()
}

fn part<T: DeserializeOwned>(object: &DynamicObject, pointer: &str) -> Option<T> {
    serde_json::from_value(object.data.pointer(pointer)?.clone()).ok()
}
