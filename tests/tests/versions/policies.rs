//! Checks that the installed policies work on the tested version of Kubernetes. Each validating policy must refuse a
//! request or warn about it. The two constants below name the exceptions. The mutating policies, if the API server has
//! them, must change objects.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use assent_tests::{ControlPlane, NAMESPACE, Person, Scenario, container, until};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::Stage;

/// The name of a policy that no request triggers. The schema of ModelVersion refuses each edit before the API server
/// evaluates this policy.
const BEHIND_A_DEFINITION: &str = "assent-modelversions";

/// The names of two policies that refuse forged authors. If the API server has mutating policies, no request triggers
/// these two policies, because a mutating policy overwrites a forged author first.
const BEHIND_A_STAMP: [&str; 2] = ["assent-author", "assent-changed-by"];

async fn installed(cluster: &ControlPlane, kind: &str) -> Result<Vec<Value>> {
    let get = ["get", kind, "-l", "app.kubernetes.io/part-of=assent", "-o=json"];
    let list: Value = serde_json::from_str(&cluster.kubectl(Person::Admin, &get).await?.ok()?)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// The approved container with its image by tag.
fn by_tag() -> Value {
    let mut container = container("1");
    let image = container["image"].as_str().and_then(|image| image.split('@').next()).map(str::to_owned);
    container["image"] = json!(image);
    container
}

/// Triggers each validating policy at least once, except the policies in the two constants. The test fails if a policy
/// neither refused a request nor warned about it. So if you add a policy, also add a request that triggers it.
pub async fn each_policy_answers_once(stage: &Stage) -> Result<()> {
    let scene = Scenario::new(&stage.cluster, "attacked", "high").await?;
    scene.publish("v1", &container("1")).await?;
    for person in [Person::Alice, Person::Bob] {
        scene.assent(person, &["approve", "scorer", "--yes"]).await?.ok()?;
    }
    scene.is_cleared("v1").await?;
    let mut said = pods(stage, &scene).await?;
    said.extend(ends(stage, &scene).await?);
    said.extend(records(&scene).await?);
    if !stage.holds {
        said.extend(forged_authors(&scene).await?);
    }
    said.extend(warnings(stage, &scene).await?);
    said.push(preview(stage).await?);
    said.push(evidence(stage).await?);
    let answered: BTreeSet<_> = said.iter().flat_map(|said| policies_in(said)).collect();
    let installed = installed(&stage.cluster, "validatingadmissionpolicies").await?;
    let expected = installed.iter().map(name).filter(|name| name != BEHIND_A_DEFINITION);
    let expected = expected.filter(|name| !stage.holds || !BEHIND_A_STAMP.contains(&&**name));
    let silent: Vec<_> = expected.filter(|name| !answered.contains(name)).collect();
    ensure!(silent.is_empty(), "no request here triggers {silent:?}: {said:#?}");
    if stage.holds {
        changes(&scene).await?;
    }
    Ok(())
}

fn policies_in(said: &str) -> Vec<String> {
    let quoted = said.split("ValidatingAdmissionPolicy '").skip(1);
    quoted.filter_map(|rest| rest.split('\'').next()).map(str::to_owned).collect()
}

/// Creates a cleared and a held pod. Sends requests about pods that the policies must refuse. Returns the messages of
/// the refusals.
async fn pods(stage: &Stage, scene: &Scenario<'_>) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let mut bound = scene.pod("bound", &container("other"));
    bound["spec"]["nodeName"] = json!("node-0");
    said.push(scene.refused(Person::Dev, &bound).await?);
    let mut labelled = scene.pod("labelled", &container("1"));
    labelled["metadata"]["labels"]["assent.dev/held"] = json!("true");
    said.push(scene.refused(Person::Dev, &labelled).await?);

    if !stage.holds {
        let refused = scene.refused(Person::Dev, &scene.pod("by-tag", &by_tag())).await?;
        ensure!(
            refused.contains("names images by tag") && refused.contains("kubectl set image"),
            "{refused}"
        );
    }

    scene.apply(Person::Dev, &scene.pod("runs", &container("1"))).await?;
    let image = ["set", "image", "pod/runs", "server=registry.example/other:1"];
    said.push(scene.denied(Person::Dev, &image).await?);

    let mut held = scene.pod("held", &container("other"));
    held["spec"]["schedulingGates"] = json!([{ "name": "assent.dev/clearance" }]);
    held["metadata"]["labels"]["assent.dev/held"] = json!("true");
    scene.apply(Person::Dev, &held).await?;
    let operator = stage.cluster.service_account(NAMESPACE, "assent").await?.client()?;
    let pods: Api<Pod> = Api::namespaced(operator, &scene.namespace);
    let lift = json!({ "metadata": { "labels": { "assent.dev/held": null } },
        "spec": { "schedulingGates": [{ "$patch": "delete", "name": "assent.dev/clearance" }] } });
    let manager = PatchParams { field_manager: Some("assent-release".to_owned()), ..PatchParams::default() };
    match pods.patch("held", &manager, &Patch::Strategic(lift)).await {
        Err(kube::Error::Api(answer)) => said.push(answer.message),
        other => ensure!(false, "the gate of an uncleared pod was lifted: {other:?}"),
    }
    Ok(said)
}

/// Tries to bind a pod with another system label, and to evict and delete a pod with a long grace period. As the
/// operator, tries to scale a `ReplicaSet`. Returns the messages of the refusals.
async fn ends(stage: &Stage, scene: &Scenario<'_>) -> Result<Vec<String>> {
    let raw = async |subresource: &str, body: &Value| {
        let path = format!("/api/v1/namespaces/{}/pods/{subresource}", scene.namespace);
        let create = ["create", "--raw", &path, "-f", "-"];
        stage.cluster.kubectl_stdin(Person::Admin, &create, &body.to_string()).await?.denied()
    };
    let binding = json!({ "apiVersion": "v1", "kind": "Binding",
        "metadata": { "name": "held", "labels": { "assent.dev/system": "other" } },
        "target": { "kind": "Node", "name": "node-0" } });
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "runs" },
        "deleteOptions": { "gracePeriodSeconds": 100_000 } });
    let delete = ["delete", "pod", "runs", "--grace-period=100000", "--wait=false"];
    scene.apply(Person::Dev, &scene.deployment("edited", &container("1"))).await?;
    scene.running("edited", 2).await?;
    let set = scene.list("replicasets").await?.first().map(name).context("a ReplicaSet")?;
    let operator = stage.cluster.service_account(NAMESPACE, "assent").await?;
    let edit = [
        "patch",
        "replicaset",
        &set,
        "-n",
        &scene.namespace,
        "--type=merge",
        "-p",
        r#"{"spec":{"replicas":0}}"#,
    ];
    Ok(vec![
        raw("held/binding", &binding).await?,
        raw("runs/eviction", &eviction).await?,
        scene.denied(Person::Dev, &delete).await?,
        stage.cluster.run(&operator, "kubectl", &edit, None).await?.denied()?,
    ])
}

async fn warnings(stage: &Stage, scene: &Scenario<'_>) -> Result<Vec<String>> {
    until(Duration::from_secs(30), "the system to count its pods", async || {
        let system = scene.get("aisystem", "scorer").await?;
        Ok((system["status"]["pods"]["running"].as_u64() > Some(0)).then_some(()))
    })
    .await?;
    let sidecar = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "TrustedSidecar",
        "metadata": { "name": "attacked" }, "spec": { "env": [{ "name": "ADDED", "value": "1" }] } });
    let role = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "ApproverRole", "metadata": { "name": "attacked" },
        "spec": { "keys": [{ "approver": { "user": "erin" }, "publicKey":
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEg5ZUbLxMJcZFGPYrVvcdS6DmDDfPuWFtwCTtOlsYvS" }] } });
    for object in [&sidecar, &role] {
        scene.apply(Person::Admin, object).await?;
    }
    let mut said = Vec::new();
    for change in [
        &["patch", "aisystem/scorer", "--type=merge", "-p", r#"{"spec":{"intendedPurpose":"Other."}}"#][..],
        &["patch", "risklevel/high", "--type=merge", "-p", r#"{"spec":{"validity":"1h"}}"#],
        &["delete", "modelversion/v1"],
        &["delete", "approverrole/attacked"],
        &["delete", "trustedsidecar/attacked"],
    ] {
        let change = [change, &["-n", &scene.namespace, "--dry-run=server"]].concat();
        said.push(stage.cluster.kubectl(Person::Admin, &change).await?.stderr);
    }
    for object in ["approverrole/attacked", "trustedsidecar/attacked"] {
        stage.cluster.kubectl(Person::Admin, &["delete", object]).await?.ok()?;
    }
    Ok(said)
}

/// Creates two monitors. Sends requests that the policies must refuse, about decisions and about objects on which
/// decisions depend. Returns the messages of the refusals.
async fn records(scene: &Scenario<'_>) -> Result<Vec<String>> {
    let digest = scene.digest_of("v1").await?;
    let approval = scene.decision("Approve", "v1", &digest, "risk-officer");
    let ahead = scene.assessment("ahead", &digest, "0.01", "2999-01-01T00:00:00Z");
    let eve = json!({ "user": "eve" });
    let incident = scene.incident("forged", &json!({ "openedBy": eve }));
    let mut note = scene.note("forged", "forged");
    note["spec"]["by"] = eve.clone();
    let mut asked = scene.override_("v1", "forged", &digest);
    asked["spec"]["requestedBy"] = eve;
    // A monitor cannot move to another system.
    let mut monitor = scene.monitor("moved", &json!({ "onBreach": "Warn" }));
    scene.apply(Person::Dev, &monitor).await?;
    monitor["spec"]["system"] = json!("other");
    // mallory has the role `admin`, which does not contain the verb `hold`. So mallory may not loosen or delete a monitor
    // that holds.
    scene.apply(Person::Admin, &scene.monitor("guard", &json!({}))).await?;
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "mallory", "namespace": scene.namespace },
        "roleRef": { "kind": "ClusterRole", "name": "admin", "apiGroup": "rbac.authorization.k8s.io" },
        "subjects": [{ "kind": "User", "name": "mallory" }] });
    scene.apply(Person::Admin, &role).await?;
    let warn = r#"{"spec":{"onBreach":"Warn"}}"#;
    let loosen = ["patch", "monitor", "guard", "--type=merge", "-p", warn, "--as=mallory"];
    let edit = r#"{"spec":{"mode":"audit"}}"#;
    let label = format!("namespace/{}", scene.namespace);
    Ok(vec![
        scene.undecided(Person::Dev, &approval).await?,
        scene.refused(Person::Dev, &ahead).await?,
        scene.refused(Person::Dev, &incident).await?,
        scene.refused(Person::Dev, &note).await?,
        scene.refused(Person::Dev, &asked).await?,
        scene.refused(Person::Dev, &monitor).await?,
        scene.denied(Person::Admin, &loosen).await?,
        scene.denied(Person::Admin, &["delete", "monitor", "guard", "--as=mallory"]).await?,
        scene.refused(Person::Dev, &scene.system("minimal")).await?,
        scene.denied(Person::Admin, &["delete", "risklevel", "high"]).await?,
        scene.denied(Person::Admin, &["label", "--overwrite", &label, "assent.dev/mode=other"]).await?,
        scene.denied(Person::Admin, &["delete", "decisionsubjects", "--all"]).await?,
        scene.denied(Person::Admin, &["patch", "clearance", "clearance", "--type=merge", "-p", edit]).await?,
    ])
}

async fn forged_authors(scene: &Scenario<'_>) -> Result<Vec<String>> {
    let mut version = scene.version("forged", &container("forged"));
    version["metadata"]["annotations"] = json!({ "assent.dev/author": "alice" });
    let forged = r#"{"metadata":{"annotations":{"assent.dev/changed-by":"alice"}}}"#;
    Ok(vec![
        scene.refused(Person::Dev, &version).await?,
        scene.denied(Person::Admin, &["patch", "risklevel", "high", "--type=merge", "-p", forged]).await?,
    ])
}

/// Tries to delete a system with an open incident. The API server must refuse this, because the system is evidence.
/// Returns the message of the refusal.
async fn evidence(stage: &Stage) -> Result<String> {
    let scene = Scenario::new(&stage.cluster, "evidence", "limited").await?;
    let open = ["incident", "open", "scorer", "--name=kept", "--reason=for the test"];
    scene.assent(Person::Dev, &open).await?.ok()?;
    scene.condition("aisystem", "scorer", "IncidentOpen", "True", "IncidentOpen").await?;
    scene.denied(Person::Dev, &["delete", "aisystem", "scorer"]).await
}

async fn preview(stage: &Stage) -> Result<String> {
    let labels = json!({ "assent.dev/mode": "warn" });
    let scene = Scenario::governed_by(&stage.cluster, "warned", "high", &labels).await?;
    let deployment = scene.deployment("scorer", &container("1")).to_string();
    let said = stage.cluster.kubectl_stdin(Person::Dev, &["apply", "-f", "-"], &deployment).await?;
    let warnings = said.stderr.clone();
    said.ok()?;
    Ok(warnings)
}

async fn changes(scene: &Scenario<'_>) -> Result<()> {
    for (api, kind) in [("batch/v1", "Job"), ("batch/v1", "CronJob")] {
        let spec = assent_tests::pod_spec(&container("other"));
        let name = kind.to_lowercase();
        scene.apply(Person::Dev, &scene.workload(api, kind, &name, &spec)).await?;
        ensure!(scene.get(&name, &name).await?["spec"]["suspend"] == true, "{kind} is not suspended");
    }
    scene.apply(Person::Dev, &scene.pod("gated", &container("other"))).await?;
    scene.held_pods("app=gated", 1).await?;
    scene.apply(Person::Dev, &scene.pod("by-tag", &by_tag())).await?;
    let image = scene.get("pod", "by-tag").await?["spec"]["containers"][0]["image"].take();
    ensure!(image == container("1")["image"], "the image is {image}");
    let approvals = scene.list("approvals").await?;
    let approval = approvals.first().context("an approval")?;
    ensure!(approval["spec"]["approver"]["user"].is_string(), "the approver is missing in {approval}");
    for (kind, name, stamp) in [("modelversion", "v1", "author"), ("aisystem", "scorer", "changed-by")] {
        let object = scene.get(kind, name).await?;
        let stamp = &object["metadata"]["annotations"][format!("assent.dev/{stamp}")];
        ensure!(stamp.is_string(), "the author is missing in {kind}/{name}");
    }
    Ok(())
}
