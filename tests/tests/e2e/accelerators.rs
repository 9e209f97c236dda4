//! The scope `accelerated`. The API server, the operator and the plugin decide alike whether a pod uses an accelerator.
//! Chart values can add more accelerators.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent::api::Scope;
use assent::policy::{Accelerators, narrowest_scope};
use assent_tests::{Assent, ControlPlane, NAMESPACE, Person, SOON, Scenario, container, root, until};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use Person::{Admin, Dev};

use crate::outage::stage;
use crate::refusals::says;

async fn accelerated<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    let labels = json!({ "assent.dev/mode": "enforce", "assent.dev/scope": "accelerated" });
    Scenario::governed_by(cluster, name, "high", &labels).await
}

fn with(resources: &Value) -> Value {
    json!({ "name": "c", "image": "c", "resources": resources })
}

fn gpu(name: &str) -> Value {
    with(&json!({ "limits": { name: "1" } }))
}

fn env(variable: &Value) -> Value {
    json!({ "name": "c", "image": "c", "env": [variable] })
}

/// Returns pods, each with `true` if the pod uses an accelerator.
fn cases() -> Vec<(Value, bool)> {
    let plain = with(&json!({ "limits": { "cpu": "1", "nvidia.com/gpu": "0", "example.com/nic": "1" } }));
    let mut init = gpu("google.com/tpu");
    init["name"] = json!("init");
    let claim = json!([{ "name": "gpu", "resourceClaimName": "gpu" }]);
    let visible = |value: &str| env(&json!({ "name": "NVIDIA_VISIBLE_DEVICES", "value": value }));
    let from = json!({ "name": "AMD_VISIBLE_DEVICES", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } });
    let specs = [
        (json!({ "containers": [plain] }), false),
        (json!({ "containers": [plain], "resources": { "limits": { "cpu": "2" } } }), false),
        (json!({ "containers": [plain], "initContainers": [init] }), true),
        (json!({ "containers": [plain], "resourceClaims": claim }), true),
        (json!({ "containers": [visible("all")] }), true),
        (json!({ "containers": [visible("void")] }), false),
        (json!({ "containers": [visible("none")] }), false),
        (json!({ "containers": [visible("")] }), false),
        (json!({ "containers": [env(&from)] }), true),
        (json!({ "containers": [env(&json!({ "name": "CUDA_VISIBLE_DEVICES", "value": "0" }))] }), false),
    ];
    let resources = [
        "nvidia.com/gpu",
        "nvidia.com/mig-1g.5gb",
        "amd.com/gpu",
        "huawei.com/Ascend910",
        "huawei.com/npu-core",
        "deviceclass.resource.kubernetes.io/gpu",
        "volcano.sh/vgpu-number",
        "volcano.sh/gpu-memory",
        "koordinator.sh/gpu-core",
        "aliyun.com/gpu-mem",
        "tencent.com/vcuda-core",
        "intel.com/gpu",
        "kunlunxin.com/xpu",
        "birentech.com/gpu",
        "tenstorrent.com/n300",
    ];
    let by_resource = resources.map(|name| (json!({ "containers": [gpu(name)] }), true));
    let of_spec = |(spec, uses): (Value, bool)| (json!({ "metadata": {}, "spec": spec }), uses);
    let annotated = |name: &str, uses| {
        (json!({ "metadata": { "annotations": { name: "0.5" } }, "spec": { "containers": [plain] } }), uses)
    };
    let annotations =
        [annotated("gpu-fraction", true), annotated("cdi.k8s.io/gpu", true), annotated("note", false)];
    specs.into_iter().chain(by_resource).map(of_spec).chain(annotations).collect()
}

async fn admitted(scene: &Scenario<'_>, pod: &Value) -> Result<Pod> {
    let mut pod = pod.clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["generateName"] = json!("pod-");
    pod["metadata"]["namespace"] = json!(scene.namespace);
    let create = ["create", "--dry-run=server", "-o=json", "-f", "-"];
    let output = scene.cluster.kubectl_stdin(Dev, &create, &pod.to_string()).await?.ok()?;
    Ok(serde_json::from_str(&output)?)
}

fn is_held(pod: &Pod) -> bool {
    pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("assent.dev/held"))
}

pub async fn scope_accelerated_governs_every_pod_with_an_accelerator(cluster: &ControlPlane) -> Result<()> {
    let scene = accelerated(cluster, "accelerated").await?;
    let known = Accelerators::default();
    for (pod, uses) in cases() {
        let admitted = admitted(&scene, &pod).await?;
        let spec = admitted.spec.clone().unwrap_or_default();
        let by_operator = narrowest_scope(&admitted.metadata, &spec, &known) == Scope::Accelerated;
        let held = is_held(&admitted);
        ensure!(
            held == uses && by_operator == uses,
            "held by the API server: {held}, accelerated for the operator: {by_operator}: {pod}"
        );
    }
    for class in ["nvidia", "plain"] {
        let manifest = json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
            "metadata": { "name": class }, "handler": class });
        scene.apply(Admin, &manifest).await?;
        let pod =
            json!({ "spec": { "containers": [{ "name": "c", "image": "c" }], "runtimeClassName": class } });
        let admitted = admitted(&scene, &pod).await?;
        ensure!(is_held(&admitted) == (class == "nvidia"), "{admitted:?}");
    }
    let mut pod = scene.pod("plain", &with(&json!({})));
    pod["metadata"]["labels"] = json!({ "app": "plain" });
    scene.apply(Dev, &pod).await?;
    scene.running_pod("plain").await?;
    let said = scene.denied(Dev, &["label", "pod", "plain", "assent.dev/system=scorer"]).await?;
    says(&said, &["label assent.dev/system of a pod does not change"])?;
    let mut pod = scene.pod("gpu", &gpu("nvidia.com/gpu"));
    pod["metadata"]["labels"] = json!({ "app": "gpu" });
    scene.apply(Dev, &pod).await?;
    scene.held("gpu", 1).await?;
    says(&scene.event("Pod", "gpu", "Held").await?, &["it has no label assent.dev/system"])?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Dev, &scene.pod("cleared", &container("1"))).await?;
    scene.running_pod("cleared").await?;
    let said = scene.denied(Dev, &["label", "pod", "cleared", "assent.dev/system-"]).await?;
    says(&said, &["label assent.dev/system of a pod does not change"])
}

/// `helm upgrade` adds accelerators to the policies at once. An operator that still runs with the old values does not
/// revert the policies.
pub async fn chart_values_add_accelerators_for_policies_operator_and_plugin() -> Result<()> {
    let (cluster, old) = stage().await?;
    let scene = accelerated(&cluster, "more-accelerators").await?;
    let npu = json!({ "spec": { "containers": [gpu("example.com/npu-core")] } });
    let variable =
        json!({ "spec": { "containers": [env(&json!({ "name": "EXAMPLE_DEVICES", "value": "0" }))] } });
    ensure!(!is_held(&admitted(&scene, &npu).await?), "held without an accelerator");

    let chart = root().join("charts/assent").display().to_string();
    let values = cluster.directory().join("values.yaml").display().to_string();
    let upgrade = ["upgrade", "assent", &chart, "--namespace", NAMESPACE, "--values", &values];
    let wrong = ["--set", "accelerators.resources={a'b}"];
    says(&cluster.helm(&[&upgrade[..], &wrong].concat()).await?.denied()?, &["accelerators"])?;
    let more = ["--set", "accelerators.resources={example.com/npu},accelerators.variables={EXAMPLE_DEVICES}"];
    cluster.helm(&[&upgrade[..], &more].concat()).await?.ok()?;
    let both_held = async || {
        let held = is_held(&admitted(&scene, &npu).await?) && is_held(&admitted(&scene, &variable).await?);
        Ok(held.then_some(()))
    };
    until(SOON, "the API server to use the new accelerators", both_held).await?;
    // If the old operator reverted the policies, it would do so within three seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = old.operator().log_tail(500);
    ensure!(!log.contains("restored") && log.contains("the operator leaves them unchanged"), "{log}");
    old.operator().kill();
    let new = Assent::start(&cluster, "operator").await?;
    let policies = "validatingadmissionpolicies/assent-pod-create";
    until(Duration::from_secs(40), "a deleted policy to be restored with the new values", async || {
        let log = new.operator().log_tail(500);
        if !log.contains("was missing, restored") {
            cluster.kubectl(Admin, &["delete", policies, "--ignore-not-found"]).await?.ok()?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            return Ok(None);
        }
        let policy = cluster.kubectl(Admin, &["get", policies, "-o=yaml"]).await?.ok()?;
        ensure!(policy.contains("'example.com/npu'") && !log.contains("was changed"), "{log}");
        Ok(Some(()))
    })
    .await?;

    let mut pod = scene.pod("npu", &gpu("example.com/npu"));
    pod["metadata"]["labels"] = json!({ "app": "npu" });
    scene.apply(Dev, &pod).await?;
    says(&scene.event("Pod", "npu", "Held").await?, &["it has no label assent.dev/system"])?;
    says(&scene.assent(Dev, &["inventory", "--shadow"]).await?.ok()?, &["npu", "example.com/npu"])?;
    let said = scene.assent(Dev, &["explain", "pod/npu"]).await?;
    ensure!(!said.stdout.contains("does not include it"), "{}", said.stdout);
    Ok(())
}
