//! Every policy that is installed works on this version: it refuses, warns or changes something.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use assent_tests::{ControlPlane, NAMESPACE, Person, Scenario, container};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::Stage;

/// The objects of a kind that are part of Assent.
async fn ours(cluster: &ControlPlane, kind: &str) -> Result<Vec<Value>> {
    let get = ["get", kind, "-l", "app.kubernetes.io/part-of=assent", "-o=json"];
    let list: Value = serde_json::from_str(&cluster.kubectl(Person::Admin, &get).await?.ok()?)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Attacks each policy once. A policy that nobody attacks fails the test, so that a new one gets its attack here.
pub async fn each_refuses_something(stage: &Stage) -> Result<()> {
    let scene = Scenario::new(&stage.cluster, "attacked", "high").await?;
    scene.publish("v1", &container("1")).await?;
    for person in [Person::Alice, Person::Bob] {
        scene.assent(person, &["approve", "scorer", "--yes"]).await?.ok()?;
    }
    scene.is_cleared("v1").await?;
    let mut said = pods(stage, &scene).await?;
    said.extend(records(&scene).await?);
    said.push(preview(stage).await?);
    let answered: BTreeSet<_> = said.iter().flat_map(|said| policies_in(said)).collect();
    let installed = ours(&stage.cluster, "validatingadmissionpolicies").await?;
    let silent: Vec<_> = installed.iter().map(name).filter(|name| !answered.contains(name)).collect();
    ensure!(silent.is_empty(), "nothing here makes {silent:?} answer: {said:#?}");
    if stage.holds {
        changes(&scene).await?;
    }
    Ok(())
}

/// The policies that an answer of the API server names.
fn policies_in(said: &str) -> Vec<String> {
    let quoted = said.split("ValidatingAdmissionPolicy '").skip(1);
    quoted.filter_map(|rest| rest.split('\'').next()).map(str::to_owned).collect()
}

/// What is said to those who get around the policies on pods.
async fn pods(stage: &Stage, scene: &Scenario<'_>) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let mut bound = scene.pod("bound", &container("other"));
    bound["spec"]["nodeName"] = json!("node-0");
    said.push(scene.refused(Person::Dev, &bound).await?);
    let mut labelled = scene.pod("labelled", &container("1"));
    labelled["metadata"]["labels"]["assent.dev/held"] = json!("true");
    said.push(scene.refused(Person::Dev, &labelled).await?);

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
        other => ensure!(false, "the gate of a pod that is not cleared was lifted: {other:?}"),
    }
    Ok(said)
}

/// What is said to those who change what the record depends on.
async fn records(scene: &Scenario<'_>) -> Result<Vec<String>> {
    let digest = scene.digest_of("v1").await?;
    let approval = scene.decision("Approve", "v1", &digest, "risk-officer");
    let edit = r#"{"spec":{"mode":"audit"}}"#;
    let label = format!("namespace/{}", scene.namespace);
    Ok(vec![
        scene.undecided(Person::Dev, &approval).await?,
        scene.refused(Person::Dev, &scene.system("minimal")).await?,
        scene.denied(Person::Admin, &["delete", "risklevel", "high"]).await?,
        scene.denied(Person::Admin, &["label", "--overwrite", &label, "assent.dev/mode=other"]).await?,
        scene.denied(Person::Admin, &["patch", "clearance", "clearance", "--type=merge", "-p", edit]).await?,
    ])
}

/// What is said in a namespace that only warns.
async fn preview(stage: &Stage) -> Result<String> {
    let labels = json!({ "assent.dev/mode": "warn" });
    let scene = Scenario::governed_by(&stage.cluster, "warned", "high", &labels).await?;
    let deployment = scene.deployment("scorer", &container("1")).to_string();
    let said = stage.cluster.kubectl_stdin(Person::Dev, &["apply", "-f", "-"], &deployment).await?;
    let warnings = said.stderr.clone();
    said.ok()?;
    Ok(warnings)
}

/// What the policies that mutate have changed.
async fn changes(scene: &Scenario<'_>) -> Result<()> {
    for (api, kind) in [("batch/v1", "Job"), ("batch/v1", "CronJob")] {
        let spec = assent_tests::pod_spec(&container("other"));
        let name = kind.to_lowercase();
        scene.apply(Person::Dev, &scene.workload(api, kind, &name, &spec)).await?;
        ensure!(scene.get(&name, &name).await?["spec"]["suspend"] == true, "{kind} is not suspended");
    }
    scene.apply(Person::Dev, &scene.pod("gated", &container("other"))).await?;
    scene.held_pods("app=gated", 1).await?;
    let approvals = scene.list("approvals").await?;
    let approval = approvals.first().context("an approval")?;
    ensure!(approval["spec"]["approver"]["user"].is_string(), "nobody stamped {approval}");
    Ok(())
}
