//! Pods that a webhook or another policy completes while they are created: what is approved is the completed pod.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, Scenario, Webhook, container, digest, pod_spec, until};
use serde_json::{Value, json};

use Person::{Admin, Dev};

use crate::outage::stage;

fn image() -> String {
    format!("registry.example/initializer@{}", digest('9'))
}

/// What `KServe` adds to a predictor: a container that fetches the model.
fn initializer() -> Value {
    json!({ "name": "storage-initializer", "image": image(), "args": ["s3://models/bot/1"] })
}

/// A scenario whose v1 is cleared with the initializer.
async fn with_initializer<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    let runtime = json!({ "containers": [container("1")], "initContainers": [initializer()] });
    scene.apply(Admin, &scene.version_of("v1", &runtime)).await?;
    scene.approve("v1").await?;
    Ok(scene)
}

/// A policy that adds the initializer in one namespace, as some injectors do.
async fn injecting_policy(scene: &Scenario<'_>) -> Result<()> {
    let value = format!(
        "[Object.spec.initContainers{{name: 'storage-initializer', image: '{}', args: ['s3://models/bot/1']}}]",
        image()
    );
    let name = &scene.namespace;
    let policy = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": name },
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
                "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
            },
            "matchConditions": [{ "name": "once", "expression": "!has(object.spec.initContainers)" }],
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": {
                "expression": format!("[JSONPatch{{op: 'add', path: '/spec/initContainers', value: {value}}}]") } }],
        } });
    let binding = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": name }, "spec": { "policyName": name } });
    scene.apply(Admin, &policy).await?;
    scene.apply(Admin, &binding).await?;
    // Once the API server knows it, a pod shows it.
    let pod = scene.pod("probe", &container("other")).to_string();
    until(Duration::from_secs(20), "the injector", async || {
        let dry = ["create", "--dry-run=server", "-o=json", "-f", "-"];
        let made = scene.cluster.kubectl_stdin(Dev, &dry, &pod).await?.ok()?;
        Ok(made.contains("storage-initializer").then_some(()))
    })
    .await
}

pub async fn i5_an_approved_pod_that_is_completed_while_it_is_created_needs_no_operator() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let by_webhook = with_initializer(&cluster, "by-webhook").await?;
    let _webhook = Webhook::start(&cluster, &by_webhook.namespace, |pod| {
        if pod["spec"]["initContainers"].is_null() {
            json!([{ "op": "add", "path": "/spec/initContainers", "value": [initializer()] }])
        } else {
            json!([])
        }
    })
    .await?;
    let by_policy = with_initializer(&cluster, "by-policy").await?;
    injecting_policy(&by_policy).await?;
    assent.operator().kill();
    for scene in [&by_webhook, &by_policy] {
        // Several policies run in random order, so many pods are tried.
        let mut many = scene.workload("apps/v1", "Deployment", "scorer", &pod_spec(&container("1")));
        many["spec"]["replicas"] = json!(12);
        scene.apply(Dev, &many).await?;
        scene.running("scorer", 12).await?;
        // A gate and a label that somebody else set hold nothing that is cleared.
        let mut preset = scene.pod("preset", &container("1"));
        preset["spec"]["schedulingGates"] =
            json!([{ "name": "assent.dev/clearance" }, { "name": "example.com/other" }]);
        scene.apply(Dev, &preset).await?;
        let made = scene.get("pod", "preset").await?;
        ensure!(made["spec"]["schedulingGates"] == json!([{ "name": "example.com/other" }]), "{made}");
        ensure!(made["metadata"]["labels"]["assent.dev/held"].is_null(), "{made}");
        scene.apply(Dev, &scene.pod("uncleared", &container("other"))).await?;
        let made = scene.get("pod", "uncleared").await?;
        ensure!(made["spec"]["initContainers"][0]["name"] == "storage-initializer", "{made}");
        ensure!(made["metadata"]["labels"]["assent.dev/held"] == "true", "{made}");
        ensure!(made["spec"]["schedulingGates"][0]["name"] == "assent.dev/clearance", "{made}");
    }
    Ok(())
}
