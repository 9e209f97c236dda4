//! Objects that the API server stores and that hardly anybody can parse: whoever writes them harms nobody else.
//!
//! ```text
//!  each watched kind × each mutation ─► stored ─► live, after a restart, after a relist: others are approved and
//!                                                 revoked within seconds
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use assent_tests::{Assent, Component, ControlPlane, Person, Scenario, container, pod_spec, until};
use kube::{
    Client,
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::{Value, json};

use crate::outage::stage;

/// How long a decision may take that takes effect at once, on a loaded machine.
const SECONDS: Duration = Duration::from_secs(10);

/// A value of an environment variable, which no log may contain.
const SECRET: &str = "hunter2-of-the-test";

/// The `ClusterRole` of the operator.
const ROLE: &str = "assent-operator";

/// A time that the API server stores, beyond what most clients can represent.
const FAR: &str = "9999-12-31T23:59:59Z";

/// A time with more digits than most clients read.
const FINE: &str = "2030-01-01T00:00:00.123456789123Z";

/// An object of each kind that the operator watches or lists, and where it is.
struct Specimen {
    kind: &'static str,
    /// The path of its kind.
    path: String,
    who: Person,
    object: Value,
}

impl Specimen {
    fn namespaced(
        scene: &Scenario<'_>,
        kind: &'static str,
        prefix: &str,
        plural: &str,
        object: Value,
    ) -> Self {
        let path = format!("{prefix}/namespaces/{}/{plural}", scene.namespace);
        Self { kind, path, who: Person::Dev, object }
    }

    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

fn odd_container() -> Value {
    let mut container = container("odd");
    container["env"] = json!([{ "name": "TOKEN", "value": SECRET }]);
    container
}

/// A template of pods whose metadata no client with ordinary times can read.
fn odd_template(mut workload: Value, pointer: &str) -> Result<Value> {
    let metadata = workload.pointer_mut(pointer).context("a template")?;
    metadata["creationTimestamp"] = json!(FAR);
    Ok(workload)
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({ "f:a": inner }))
}

/// What is in the namespace of the scene.
fn specimens(scene: &Scenario<'_>) -> Result<Vec<Specimen>> {
    let spec = pod_spec(&odd_container());
    let custom =
        |kind, plural, object| Specimen::namespaced(scene, kind, "/apis/assent.dev/v1alpha1", plural, object);
    let mut ended = scene.system("limited");
    ended["metadata"]["name"] = json!("odd");
    ended["spec"]["decommission"] = json!({ "date": FINE, "reason": "over" });
    let mut job = scene.workload("batch/v1", "Job", "odd", &spec);
    job["spec"]["suspend"] = json!(true);
    let mut cron = scene.workload("batch/v1", "CronJob", "odd", &spec);
    cron["spec"]["suspend"] = json!(true);
    let mut set = scene.workload("apps/v1", "StatefulSet", "odd", &spec);
    set["spec"]["replicas"] = json!(0);
    let mut revision = json!({ "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "metadata": { "name": "odd", "namespace": scene.namespace, "labels": { "assent.dev/stopped-for": "odd" } } });
    revision["data"] = nested(300);
    let mut pod = scene.pod("odd", &odd_container());
    pod["spec"]["nodeSelector"] = json!({ "nowhere": "true" });
    Ok(vec![
        custom("AISystem", "aisystems", ended),
        custom("ModelVersion", "modelversions", scene.version("odd", &odd_container())),
        Specimen::namespaced(scene, "Pod", "/api/v1", "pods", pod),
        Specimen::namespaced(
            scene,
            "Job",
            "/apis/batch/v1",
            "jobs",
            odd_template(job, "/spec/template/metadata")?,
        ),
        Specimen::namespaced(
            scene,
            "CronJob",
            "/apis/batch/v1",
            "cronjobs",
            odd_template(cron, "/spec/jobTemplate/spec/template/metadata")?,
        ),
        Specimen::namespaced(
            scene,
            "StatefulSet",
            "/apis/apps/v1",
            "statefulsets",
            odd_template(set, "/spec/template/metadata")?,
        ),
        Specimen::namespaced(scene, "ControllerRevision", "/apis/apps/v1", "controllerrevisions", revision),
    ])
}

/// What governance writes, by mistake.
fn specimens_of_the_cluster(scene: &Scenario<'_>) -> Vec<Specimen> {
    let custom = |kind: &'static str, plural: &str, spec: Value| Specimen {
        kind,
        path: format!("/apis/assent.dev/v1alpha1/{plural}"),
        who: Person::Admin,
        object: json!({ "apiVersion": "assent.dev/v1alpha1", "kind": kind, "metadata": { "name": "odd" }, "spec": spec }),
    };
    let approval = json!({ "system": "odd", "modelVersion": "odd", "role": "risk-officer", "decision": "Approve",
        "subjectDigest": assent_tests::digest('0') });
    vec![
        custom("RiskLevel", "risklevels", json!({})),
        custom(
            "TrustedSidecar",
            "trustedsidecars",
            json!({ "containers": [{ "name": "odd", "image": format!("odd.example/odd@{}", assent_tests::digest('0')) }] }),
        ),
        custom("ApproverRole", "approverroles", json!({ "keys": [] })),
        Specimen {
            kind: "Namespace",
            path: "/api/v1/namespaces".to_owned(),
            who: Person::Admin,
            object: json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": format!("{}-odd", scene.namespace) } }),
        },
        Specimen {
            kind: "Approval",
            path: format!("/apis/assent.dev/v1alpha1/namespaces/{}/approvals", scene.namespace),
            who: Person::Alice,
            object: json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval", "spec": approval,
                "metadata": { "name": "odd", "namespace": scene.namespace } }),
        },
    ]
}

/// Patches that make an object odd; each of another part of it.
fn mutations(api_version: &Value) -> Vec<(&'static str, Option<&'static str>, Value)> {
    let entry = |time: &str, fields: Value| {
        json!({ "metadata": { "managedFields": [{ "manager": "odd", "operation": "Update", "time": time,
            "apiVersion": api_version, "fieldsType": "FieldsV1", "fieldsV1": fields }] } })
    };
    let condition =
        json!({ "type": "Odd", "status": "True", "reason": "Odd", "message": "", "lastTransitionTime": FAR });
    let many: serde_json::Map<_, _> =
        (0..2000).map(|n| (format!("odd/{n}"), json!("\u{1b}[31m\u{0}\u{2028}"))).collect();
    vec![
        ("a status from the year 9999", Some("status"), json!({ "status": { "conditions": [condition] } })),
        ("2000 annotations with control characters", None, json!({ "metadata": { "annotations": many } })),
        ("a deep field set", None, entry("2020-01-01T00:00:00Z", nested(300))),
        ("a field set from the year 9999", None, entry(FAR, json!({ "f:metadata": {} }))),
    ]
}

/// Creates a specimen and makes it odd in every way that the API server stores; how many those were.
async fn make_odd(cluster: &ControlPlane, specimen: &Specimen) -> Result<usize> {
    let client = cluster.client(specimen.who)?;
    let body = serde_json::to_vec(&specimen.object)?;
    let create = Request::new(&specimen.path).create(&PostParams::default(), body)?;
    client.request_text(create).await.with_context(|| format!("creating the {}", specimen.kind))?;
    let mut stored = 0;
    for (what, subresource, patch) in mutations(&specimen.object["apiVersion"]) {
        match patched(&client, specimen, subresource, &patch).await {
            Ok(()) => stored += 1,
            Err(error) => {
                eprintln!("{} does not take {what}: {}", specimen.kind, shortened(&error.to_string()));
            }
        }
    }
    Ok(stored)
}

fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}

async fn patched(
    client: &Client,
    specimen: &Specimen,
    subresource: Option<&str>,
    patch: &Value,
) -> Result<()> {
    let (request, params, patch) =
        (Request::new(&specimen.path), PatchParams::default(), Patch::Merge(patch));
    let request = match subresource {
        Some(subresource) => request.patch_subresource(subresource, specimen.name(), &params, &patch)?,
        None => request.patch(specimen.name(), &params, &patch)?,
    };
    Ok(client.request_text(request).await.map(drop)?)
}

/// That one version is approved and another revoked within seconds.
async fn is_alive(scene: &Scenario<'_>, when: &str, revision: &str) -> Result<()> {
    let digest = scene.publish(revision, &container(revision)).await?;
    let begun = Instant::now();
    scene.decide(Person::Alice, &scene.decision("Approve", revision, &digest, "risk-officer")).await?;
    scene.is_cleared(revision).await?;
    let approved = begun.elapsed();
    let begun = Instant::now();
    scene.decide(Person::Alice, &scene.decision("Revoke", revision, &digest, "risk-officer")).await?;
    scene.condition("modelversion", revision, "Cleared", "False", "Revoked").await?;
    let revoked = begun.elapsed();
    eprintln!("{when}: approved within {approved:.1?}, revoked within {revoked:.1?}");
    ensure!(approved < SECONDS && revoked < SECONDS, "{when}: it took {approved:?} and {revoked:?}");
    Ok(())
}

/// That nobody is told a secret, and that somebody is told what is unreadable.
async fn is_told(assent: &Assent, scene: &Scenario<'_>) -> Result<()> {
    let log = std::fs::read_to_string(assent.operator().log())?;
    ensure!(!log.contains(SECRET), "the log has the environment of a container");
    ensure!(log.len() < 1 << 20, "the log has {} bytes", log.len());
    let note = scene.event("Job", "odd", "UnreadableObject").await?;
    ensure!(note.contains("spec.template.metadata.creationTimestamp"), "{note}");
    ensure!(note.contains(&format!("kubectl edit job odd -n {}", scene.namespace)), "{note}");
    let message = scene.condition("aisystem", "odd", "Ready", "False", "UnreadableObject").await?;
    ensure!(message.contains("spec.decommission.date"), "{message}");
    let metrics = assent.get("/metrics").await?;
    for kind in ["Job", "CronJob", "StatefulSet", "AISystem"] {
        let line = format!("assent_invalid_objects{{kind=\"{kind}\"}} ");
        let value = metrics.lines().find_map(|l| l.strip_prefix(line.as_str())).unwrap_or("missing");
        ensure!(value.parse::<u32>().is_ok_and(|n| n > 0), "{line}{value}");
    }
    let ready = assent.get("/readyz").await?;
    ensure!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ok"), "{ready}");
    Ok(())
}

pub async fn unreadable_objects_of_any_kind_affect_only_themselves() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let victim = Scenario::new(&cluster, "victim", "limited").await?;
    let digest = victim.publish("v1", &container("1")).await?;
    victim.decide(Person::Alice, &victim.decision("Approve", "v1", &digest, "risk-officer")).await?;
    victim.apply(Person::Dev, &victim.deployment("scorer", &container("1"))).await?;
    victim.running("scorer", 2).await?;

    for (namespace, labels) in
        [("hostile", json!({})), ("hostile-governed", json!({ "assent.dev/mode": "enforce" }))]
    {
        let hostile = Scenario::governed_by(&cluster, namespace, "limited", &labels).await?;
        let mut all = specimens(&hostile)?;
        if namespace == "hostile" {
            all.extend(specimens_of_the_cluster(&hostile));
        }
        for specimen in &all {
            let stored = make_odd(&cluster, specimen).await?;
            ensure!(
                stored > 0 || specimen.kind == "Approval",
                "nothing odd was stored in a {}",
                specimen.kind
            );
        }
        is_alive(&victim, &format!("{namespace}, live"), &format!("{namespace}-live")).await?;
    }
    let hostile = Scenario { cluster: &cluster, namespace: "hostile".to_owned() };
    is_told(&assent, &hostile).await?;

    assent.operator().kill();
    assent.operator().restart()?;
    is_alive(&victim, "after a restart", "restarted").await?;
    victim.running("scorer", 2).await?;
    victim.decide(Person::Alice, &victim.decision("Revoke", "v1", &digest, "risk-officer")).await?;
    victim.held("scorer", 2).await?;

    cluster.restart(Component::ApiServer).await?;
    is_alive(&victim, "after a relist", "relisted").await?;
    is_told(&assent, &hostile).await
}

/// Twelve at once took 70 s once: each broke the watch of its kind.
pub async fn many_unreadable_objects_delay_nobody(cluster: &ControlPlane) -> Result<()> {
    let victim = Scenario::new(cluster, "undelayed", "limited").await?;
    let hostile = Scenario::governed_by(cluster, "delaying", "limited", &json!({})).await?;
    let digest = victim.publish("v1", &container("1")).await?;
    victim.decide(Person::Alice, &victim.decision("Approve", "v1", &digest, "risk-officer")).await?;
    victim.is_cleared("v1").await?;
    let client = cluster.client(Person::Dev)?;
    for number in 0..12 {
        let mut system = hostile.system("limited");
        system["metadata"]["name"] = json!(format!("odd-{number}"));
        system["metadata"]["managedFields"] = json!([{ "manager": "odd", "operation": "Update", "time": FAR,
            "apiVersion": "assent.dev/v1alpha1", "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": {} } }]);
        system["spec"]["decommission"] = json!({ "date": FINE, "reason": "over" });
        let path = "/apis/assent.dev/v1alpha1/namespaces/delaying/aisystems";
        let create = Request::new(path).create(&PostParams::default(), serde_json::to_vec(&system)?)?;
        client.request_text(create).await?;
    }
    let revocation = victim.decision("Revoke", "v1", &digest, "risk-officer");
    victim.decide(Person::Alice, &revocation).await?;
    let begun = Instant::now();
    victim.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    ensure!(begun.elapsed() < Duration::from_secs(2), "the revocation took {:?}", begun.elapsed());
    Ok(())
}

/// The leader may not list approvals: it compiles nothing, and says so where a probe and an alert see it.
pub async fn a_leader_that_cannot_see_is_not_ready_and_says_what_it_cannot_see() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let mut role: Value = serde_json::from_str(
        &cluster.kubectl(Person::Admin, &["get", "clusterrole", ROLE, "-o=json"]).await?.ok()?,
    )?;
    let rules = role["rules"].as_array_mut().context("rules")?;
    for rule in rules {
        if let Some(resources) = rule["resources"].as_array_mut() {
            resources.retain(|resource| resource != "approvals");
        }
    }
    let replaced = cluster.kubectl_stdin(Person::Admin, &["replace", "-f", "-"], &role.to_string()).await?;
    replaced.ok()?;
    assent.operator().kill();
    assent.operator().restart()?;
    let answer = until(Duration::from_mins(1), "the operator not to be ready", async || {
        let answer = assent.get("/readyz").await?;
        Ok(answer.starts_with("HTTP/1.1 503").then_some(answer))
    })
    .await?;
    let words = "cannot list: the API server answers 403 Forbidden";
    let Some(line) = answer.lines().find(|line| line.contains("the watch of Approval is broken for")) else {
        bail!("it does not say which watch: {answer}")
    };
    ensure!(line.contains(words), "it does not say why: {line}");
    let metrics = assent.get("/metrics").await?;
    ensure!(metrics.contains("assent_watch_up{kind=\"Approval\"} 0"), "no alert would fire: {metrics}");
    ensure!(metrics.contains("assent_watch_up{kind=\"AISystem\"} 1"), "the others are up: {metrics}");
    let standby = Assent::start(&cluster, "standby").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(standby.get("/readyz").await?.starts_with("HTTP/1.1 200"), "a standby decides nothing");
    Ok(())
}
