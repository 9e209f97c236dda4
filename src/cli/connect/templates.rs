//! Reads the pod templates of workloads. A workload without pods, such as a `CronJob` between two runs, has no other
//! content to check.
//!
//! ```text
//!  Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob ── unless a controller owns it ──► template as a Pod
//! ```

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};

use crate::{
    cli::{
        connect::{
            pods::{PAGE, Workload},
            session::Session,
            target::{WORKLOADS, WorkloadKind},
        },
        error::{Error, Result},
    },
    watch::request,
};

/// The pod template of a workload.
#[derive(Clone, Debug)]
pub struct Template {
    pub namespace: String,
    pub workload: Workload,
    /// A pod with the content of the template and the name of the workload.
    pub pod: Pod,
}

/// Calls `take` with each template, except those whose namespace and workload are in `known`.
pub async fn each_template(
    session: &Session,
    everywhere: bool,
    known: &BTreeSet<(String, Workload)>,
    mut take: impl FnMut(Template),
) -> Result<()> {
    for kind in WORKLOADS {
        let resource = kind.resource();
        let api = if everywhere {
            Api::<DynamicObject>::all_with(session.client.clone(), &resource)
        } else {
            Api::namespaced_with(session.client.clone(), &session.namespace, &resource)
        };
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = match request::list(&api, &page).await {
                Ok(list) => list,
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    anstream::eprintln!(
                        "You may not list {}, so only their pods are checked.",
                        resource.plural
                    );
                    break;
                }
                Err(error) => return Err(Error::api(format!("read the {}", resource.plural))(error)),
            };
            let more = list.metadata.continue_.filter(|token| !token.is_empty());
            let templates = list.items.iter().filter_map(|object| Template::of(object, &kind));
            let unknown = |t: &Template| !known.contains(&(t.namespace.clone(), t.workload.clone()));
            templates.filter(unknown).for_each(&mut take);
            let Some(token) = more else { break };
            page = page.continue_token(&token);
        }
    }
    Ok(())
}

impl Template {
    /// Reads the template of a workload. Returns `None` if a controller owns the workload, if the workload is being
    /// deleted, or if it is a Job that has ended. Also returns `None` if the template cannot be parsed.
    fn of(object: &DynamicObject, kind: &WorkloadKind) -> Option<Self> {
        let is_made = object.owner_references().iter().any(|owner| owner.controller == Some(true));
        if is_made || object.metadata.deletion_timestamp.is_some() || has_ended(object) {
            return None;
        }
        let template: PodTemplateSpec =
            serde_json::from_value(object.data.pointer(kind.template)?.clone()).ok()?;
        let namespace = object.namespace().unwrap_or_default();
        let mut metadata = template.metadata.unwrap_or_default();
        metadata.name = Some(object.name_any());
        metadata.namespace = Some(namespace.clone());
        let api_version = kind.resource().api_version;
        let workload = Workload { api_version, kind: kind.kind.to_owned(), name: object.name_any() };
        Some(Self { namespace, workload, pod: Pod { metadata, spec: template.spec, status: None } })
    }
}

fn has_ended(object: &DynamicObject) -> bool {
    let conditions = object.data.pointer("/status/conditions").and_then(|conditions| conditions.as_array());
    conditions.into_iter().flatten().any(|condition| {
        condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template(kind: &str, more: &Value) -> Option<Template> {
        let pod =
            json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c" }] } });
        let spec = if kind == "CronJob" {
            json!({ "jobTemplate": { "spec": { "template": pod } } })
        } else {
            json!({ "template": pod })
        };
        let mut object = json!({ "metadata": { "name": "w", "namespace": "n" }, "spec": spec });
        object.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let kind = WORKLOADS.into_iter().find(|known| known.kind == kind).expect("a kind");
        Template::of(&serde_json::from_value(object).expect("an object"), &kind)
    }

    #[test]
    fn template_is_a_pod_with_the_name_of_its_workload() {
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"] {
            let found = template(kind, &json!({})).expect(kind);
            let words = (found.workload.in_words(), found.pod.name_any());
            assert_eq!(words, (format!("{}/w", kind.to_lowercase()), "w".to_owned()));
            assert!(found.pod.labels().contains_key("a"), "{kind}");
        }
    }

    #[test]
    fn workloads_with_a_controller_and_ended_jobs_have_no_template() {
        let owner = json!([{ "apiVersion": "v1", "kind": "X", "name": "d", "uid": "u", "controller": true }]);
        let made = json!({ "metadata": { "name": "w", "namespace": "n", "ownerReferences": owner } });
        assert!(template("ReplicaSet", &made).is_none());
        let ended = json!({ "status": { "conditions": [{ "type": "Complete", "status": "True" }] } });
        assert!(template("Job", &ended).is_none());
    }
}
