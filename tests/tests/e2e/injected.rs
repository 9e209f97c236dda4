//! A webhook, or a mutating policy that does not belong to Assent, changes a new pod. Assent then compares the changed
//! pod with the approved version.

use anyhow::{Result, ensure};
use assent_tests::{
    Assent, ControlPlane, Person, SOON, Scenario, Webhook, container, digest, pod_spec, until,
};
use serde_json::{Value, json};

use Person::{Admin, Dev};

fn image() -> String {
    format!("registry.example/initializer@{}", digest('9'))
}

/// The init container that `KServe` adds to a predictor to download the model.
fn initializer() -> Value {
    json!({ "name": "storage-initializer", "image": image(), "args": ["s3://models/bot/1"] })
}

async fn with_initializer<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    let runtime = json!({ "containers": [container("1")], "initContainers": [initializer()] });
    scene.apply(Admin, &scene.version_of("v1", &runtime)).await?;
    scene.approve("v1").await?;
    Ok(scene)
}

/// Creates a mutating policy that adds the [`initializer`] to each new pod of the namespace, as some injectors do.
/// Waits until the API server uses the policy.
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
    // The API server uses a new policy only after a short delay.
    let pod = scene.pod("probe", &container("other")).to_string();
    until(SOON, "the injecting policy", async || {
        let dry = ["create", "--dry-run=server", "-o=json", "-f", "-"];
        let output = scene.cluster.kubectl_stdin(Dev, &dry, &pod).await?.ok()?;
        Ok(output.contains("storage-initializer").then_some(()))
    })
    .await
}

pub async fn i5_an_approved_pod_with_an_injected_container_starts_without_an_operator(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let by_webhook = with_initializer(cluster, "by-webhook").await?;
    let _webhook = Webhook::start(cluster, &by_webhook.namespace, |pod| {
        if pod["spec"]["initContainers"].is_null() {
            json!([{ "op": "add", "path": "/spec/initContainers", "value": [initializer()] }])
        } else {
            json!([])
        }
    })
    .await?;
    let by_policy = with_initializer(cluster, "by-policy").await?;
    injecting_policy(&by_policy).await?;
    assent.operator().kill();
    for scene in [&by_webhook, &by_policy] {
        // The API server runs mutating policies in random order. So of many pods, the injecting policy changes some before
        // and some after Assent's policies.
        let mut many = scene.workload("apps/v1", "Deployment", "scorer", &pod_spec(&container("1")));
        many["spec"]["replicas"] = json!(12);
        scene.apply(Dev, &many).await?;
        scene.running("scorer", 12).await?;
        // Assent removes its own gate from a cleared pod, even if a user set this gate.
        let mut preset = scene.pod("preset", &container("1"));
        preset["spec"]["schedulingGates"] =
            json!([{ "name": "assent.dev/clearance" }, { "name": "example.com/other" }]);
        scene.apply(Dev, &preset).await?;
        let created = scene.get("pod", "preset").await?;
        ensure!(created["spec"]["schedulingGates"] == json!([{ "name": "example.com/other" }]), "{created}");
        ensure!(created["metadata"]["labels"]["assent.dev/held"].is_null(), "{created}");
        scene.apply(Dev, &scene.pod("uncleared", &container("other"))).await?;
        let created = scene.get("pod", "uncleared").await?;
        ensure!(created["spec"]["initContainers"][0]["name"] == "storage-initializer", "{created}");
        ensure!(created["metadata"]["labels"]["assent.dev/held"] == "true", "{created}");
        ensure!(created["spec"]["schedulingGates"][0]["name"] == "assent.dev/clearance", "{created}");
    }
    Ok(())
}
