//! Hostile objects. The API server stores these objects, but most clients cannot parse them. A test creates a
//! [`Specimen`] of most kinds that the operator watches, and applies hostile patches to the specimen.

use anyhow::{Context, Result};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::{Value, json};

use crate::{ControlPlane, Person, Scenario, container, digest, pod_spec};

/// The value of a variable in the hostile objects. No log may contain this value.
pub const SECRET: &str = "hunter2-of-the-test";

/// A time that the API server stores, but most clients cannot represent.
pub const FAR: &str = "9999-12-31T23:59:59Z";

/// A time with more fractional digits than most clients can read.
pub const FINE: &str = "2030-01-01T00:00:00.123456789123Z";

/// The latest time that `notAfter` of an Approval may have.
const LAST: &str = "8999-12-31T23:59:59Z";

/// The label of cluster-scoped hostile objects.
pub const HOSTILE: &str = "assent.test/hostile";

/// A hostile object of a kind that the operator watches or lists.
pub struct Specimen {
    /// The kind of the object.
    pub kind: &'static str,
    /// The API path of the kind.
    path: String,
    who: Person,
    object: Value,
}

impl Specimen {
    /// The number of specimens that [`Specimen::all`] returns.
    pub const COUNT: usize = 18;

    /// One specimen of each kind that a hostile user can create. A cluster-scoped specimen has the namespace of the scenario in its name.
    pub fn all(scene: &Scenario<'_>) -> Result<Vec<Self>> {
        Ok([facts(scene), workloads(scene)?, of_the_cluster(scene)].into_iter().flatten().collect())
    }

    /// Whether the object is in the namespace of the scenario.
    pub fn is_namespaced(&self) -> bool {
        self.object["metadata"]["namespace"].is_string()
    }

    /// Creates the object.
    pub async fn create(&self, cluster: &ControlPlane) -> Result<()> {
        let body = serde_json::to_vec(&self.object)?;
        let create = Request::new(&self.path).create(&PostParams::default(), body)?;
        let created = cluster.client(self.who)?.request_text(create).await;
        created.map(drop).with_context(|| format!("creating the {}", self.kind))
    }

    /// Applies each hostile patch to the object. Returns a description and the result of each patch.
    pub async fn make_odd(&self, cluster: &ControlPlane) -> Result<Vec<(&'static str, Result<()>)>> {
        // The roles of the chart do not permit updates of Approvals, so an administrator makes the update.
        let who = if self.kind == "Approval" { Person::Admin } else { self.who };
        let client = cluster.client(who)?;
        let mut answers = Vec::new();
        for (what, subresource, patch) in mutations(&self.object["apiVersion"]) {
            answers.push((what, self.patch(&client, subresource, &patch).await));
        }
        Ok(answers)
    }

    /// Deletes the object as an administrator.
    pub async fn delete(&self, cluster: &ControlPlane) -> Result<()> {
        let delete = Request::new(&self.path).delete(self.name(), &DeleteParams::default())?;
        Ok(cluster.client(Person::Admin)?.request_text(delete).await.map(drop)?)
    }

    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    async fn patch(&self, client: &Client, subresource: Option<&str>, patch: &Value) -> Result<()> {
        let (request, params, patch) =
            (Request::new(&self.path), PatchParams::default(), Patch::Merge(patch));
        let request = match subresource {
            Some(subresource) => request.patch_subresource(subresource, self.name(), &params, &patch)?,
            None => request.patch(self.name(), &params, &patch)?,
        };
        Ok(client.request_text(request).await.map(drop)?)
    }
}

fn odd_container() -> Value {
    let mut container = container("odd");
    container["env"] = json!([{ "name": "TOKEN", "value": SECRET }]);
    container
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({ "f:a": inner }))
}

fn namespaced(
    scene: &Scenario<'_>,
    kind: &'static str,
    prefix: &str,
    plural: &str,
    object: Value,
) -> Specimen {
    let path = format!("{prefix}/namespaces/{}/{plural}", scene.namespace);
    Specimen { kind, path, who: Person::Dev, object }
}

/// An object of each namespaced kind that people create.
fn facts(scene: &Scenario<'_>) -> Vec<Specimen> {
    let custom = |kind, plural, object| namespaced(scene, kind, "/apis/assent.dev/v1alpha1", plural, object);
    let mut ended = scene.system("limited");
    ended["metadata"]["name"] = json!("odd");
    ended["spec"]["decommission"] = json!({ "date": FINE, "reason": "over" });
    // The spec of an Approval is immutable, so the manifest of the Approval already has the hostile values.
    let approval = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
        "metadata": { "name": "odd", "namespace": scene.namespace,
            "managedFields": field_set(FAR, &json!("assent.dev/v1alpha1"), &json!({ "f:spec": {} })) },
        "spec": { "system": "odd", "modelVersion": "odd", "role": "risk-officer", "decision": "Approve",
            "subjectDigest": digest('0'), "notAfter": LAST } });
    let mut assessment =
        scene.assessment("odd", &digest('0').parse().expect("a digest"), "0.5", "2026-01-01T00:00:00Z");
    assessment["metadata"]["managedFields"] = approval["metadata"]["managedFields"].clone();
    vec![
        custom("Assessment", "assessments", assessment),
        custom("AISystem", "aisystems", ended),
        custom("ModelVersion", "modelversions", scene.version("odd", &odd_container())),
        custom("Incident", "incidents", scene.incident("odd", &json!({}))),
        custom("IncidentNote", "incidentnotes", scene.note("odd", "odd")),
        custom(
            "Override",
            "overrides",
            scene.override_("odd", "odd", &digest('0').parse().expect("a digest")),
        ),
        custom("Monitor", "monitors", scene.monitor("odd", &json!({ "onBreach": "Warn" }))),
        Specimen { who: Person::Alice, ..custom("Approval", "approvals", approval) },
    ]
}

/// A pod, controllers of pods with [`FAR`] in their pod templates, and a `ControllerRevision` with deeply nested data.
/// The operator reads the `ControllerRevision`, because it has a label of the operator.
fn workloads(scene: &Scenario<'_>) -> Result<Vec<Specimen>> {
    let spec = pod_spec(&odd_container());
    let made =
        |api_version: &str, kind: &'static str, plural: &str, field: &str, value: Value, template: &str| {
            let mut object = scene.workload(api_version, kind, "odd", &spec);
            object["spec"][field] = value;
            object.pointer_mut(template).context("a template")?["creationTimestamp"] = json!(FAR);
            anyhow::Ok(namespaced(scene, kind, &format!("/apis/{api_version}"), plural, object))
        };
    let template = "/spec/template/metadata";
    let mut revision = json!({ "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "metadata": { "name": "odd", "namespace": scene.namespace, "labels": { "assent.dev/stopped-for": "odd" } } });
    revision["data"] = nested(300);
    let mut pod = scene.pod("odd", &odd_container());
    pod["spec"]["nodeSelector"] = json!({ "nowhere": "true" });
    Ok(vec![
        namespaced(scene, "Pod", "/api/v1", "pods", pod),
        made("batch/v1", "Job", "jobs", "suspend", json!(true), template)?,
        made(
            "batch/v1",
            "CronJob",
            "cronjobs",
            "suspend",
            json!(true),
            "/spec/jobTemplate/spec/template/metadata",
        )?,
        made("apps/v1", "StatefulSet", "statefulsets", "replicas", json!(0), template)?,
        made("apps/v1", "Deployment", "deployments", "replicas", json!(0), template)?,
        namespaced(scene, "ControllerRevision", "/apis/apps/v1", "controllerrevisions", revision),
    ])
}

/// Cluster-scoped objects, some of them empty, as an administrator may write them by mistake.
fn of_the_cluster(scene: &Scenario<'_>) -> Vec<Specimen> {
    let metadata = json!({ "name": format!("{}-odd", scene.namespace), "labels": { HOSTILE: "true" } });
    let object = |kind: &'static str, api_version: &str, path: &str| Specimen {
        kind,
        path: path.to_owned(),
        who: Person::Admin,
        object: json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata }),
    };
    let custom = |kind: &'static str, plural: &str, spec: Value| {
        let path = format!("/apis/assent.dev/v1alpha1/{plural}");
        let mut specimen = object(kind, "assent.dev/v1alpha1", &path);
        specimen.object["spec"] = spec;
        specimen
    };
    let image = format!("odd.example/odd@{}", digest('0'));
    vec![
        custom("RiskLevel", "risklevels", json!({})),
        custom(
            "TrustedSidecar",
            "trustedsidecars",
            json!({ "containers": [{ "name": "odd", "image": image }] }),
        ),
        custom("ApproverRole", "approverroles", json!({ "keys": [] })),
        object("Namespace", "v1", "/api/v1/namespaces"),
    ]
}

fn field_set(time: &str, api_version: &Value, fields: &Value) -> Value {
    json!([{ "manager": "odd", "operation": "Update", "time": time, "apiVersion": api_version,
        "fieldsType": "FieldsV1", "fieldsV1": fields }])
}

/// The description, the subresource and the content of each hostile patch.
fn mutations(api_version: &Value) -> Vec<(&'static str, Option<&'static str>, Value)> {
    let fields = |time: &str, fields: &Value| json!({ "metadata": { "managedFields": field_set(time, api_version, fields) } });
    let condition =
        json!({ "type": "Odd", "status": "True", "reason": "Odd", "message": "", "lastTransitionTime": FAR });
    let many: serde_json::Map<_, _> =
        (0..2000).map(|n| (format!("odd/{n}"), json!("\u{1b}[31m\u{0}\u{2028}"))).collect();
    let numbers = json!({ "status": { "pods": { "running": i64::MAX, "held": i64::MAX } } });
    vec![
        ("a status from the year 9999", Some("status"), json!({ "status": { "conditions": [condition] } })),
        ("numbers of 63 bits in its status", Some("status"), numbers),
        ("2000 annotations with control characters", None, json!({ "metadata": { "annotations": many } })),
        ("a deep field set", None, fields("2020-01-01T00:00:00Z", &nested(300))),
        ("a field set from the year 9999", None, fields(FAR, &json!({ "f:metadata": {} }))),
    ]
}
