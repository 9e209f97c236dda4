//! Sidecars that the cluster injects. In two tests, a real mutating webhook injects the parts of a service mesh. In
//! another test, a developer modifies the injected parts.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, Webhook, container, digest, root, until};
use serde_json::{Value, json};

use Person::{Admin, Dev};

type Change = fn(&mut Value);

fn proxy() -> Value {
    json!({
        "name": "mesh-proxy", "image": format!("mesh/proxy@{}", digest('7')), "args": ["proxy", "sidecar"],
        "env": [
            { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "MESH_META_WORKLOAD", "value": "scorer" },
        ],
        "lifecycle": { "preStop": { "exec": { "command": ["drain"] } } },
        "volumeMounts": [
            { "name": "mesh-config", "mountPath": "/etc/mesh" },
            { "name": "mesh-token", "mountPath": "/var/run/secrets/tokens" },
        ],
    })
}

fn setup() -> Value {
    json!({ "name": "mesh-init", "image": format!("mesh/proxy@{}", digest('7')), "args": ["iptables"] })
}

fn volumes() -> Value {
    json!([
        { "name": "mesh-config", "emptyDir": { "medium": "Memory" } },
        { "name": "mesh-labels", "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
        { "name": "mesh-token", "projected": { "sources": [{ "serviceAccountToken": { "path": "token", "audience": "mesh" } }] } },
    ])
}

/// The mount that the mesh adds to the application containers.
fn mount() -> Value {
    json!({ "name": "mesh-config", "mountPath": "/mesh", "readOnly": true })
}

fn mesh() -> Value {
    let mut trusted = proxy();
    trusted["envPrefixes"] = json!(["MESH_META_"]);
    trusted["env"].as_array_mut().map(Vec::pop);
    trusted["exec"] = json!({ "preStop": ["drain"] });
    trusted.as_object_mut().map(|fields| fields.remove("lifecycle"));
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "TrustedSidecar", "metadata": { "name": "mesh" },
        "spec": {
            "containers": [trusted], "initContainers": [setup()],
            "volumes": [
                { "name": "mesh-config", "emptyDir": {} },
                { "name": "mesh-labels", "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
                { "name": "mesh-token", "projected": { "sources": [{ "serviceAccountToken": {} }] } },
            ],
            "volumeMounts": [mount()], "env": [{ "name": "MESH", "value": "on" }],
        } })
}

/// Returns the patch of the webhook for a pod. The patch adds a mount and a variable to each container of the pod. It
/// adds `sidecar` at the end of the containers, and init containers and volumes at the start of their lists.
fn inject(pod: &Value, sidecar: &Value) -> Value {
    let spec = &pod["spec"];
    let before = |list: &str| spec[list].as_array().cloned().unwrap_or_default();
    let replace = |list: &str, value: Vec<Value>| json!({ "op": "add", "path": format!("/spec/{list}"), "value": value });
    let mut containers = before("containers");
    for container in &mut containers {
        push(&mut container["volumeMounts"], mount());
        push(&mut container["env"], json!({ "name": "MESH", "value": "on" }));
    }
    containers.push(sidecar.clone());
    let init = [vec![setup()], before("initContainers")].concat();
    let volumes = [volumes().as_array().cloned().unwrap_or_default(), before("volumes")].concat();
    json!([replace("containers", containers), replace("initContainers", init), replace("volumes", volumes)])
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

fn injected(scene: &Scenario<'_>, name: &str) -> Value {
    let mut pod = scene.pod(name, &container("1"));
    let spec = &mut pod["spec"];
    spec["containers"] = json!([container("1"), proxy()]);
    push(&mut spec["containers"][0]["volumeMounts"], mount());
    push(&mut spec["containers"][0]["env"], json!({ "name": "MESH", "value": "on" }));
    spec["initContainers"] = json!([setup()]);
    spec["volumes"] = volumes();
    pod
}

async fn with_trusted_mesh<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    scene.apply(Admin, &mesh()).await?;
    scene.clear("v1", &container("1")).await?;
    trusts(&scene, |trusted| {
        trusted["containers"].as_array().is_some_and(|c| c.iter().any(|c| c["name"] == "mesh-proxy"))
    })
    .await?;
    Ok(scene)
}

async fn trusts(scene: &Scenario<'_>, is_expected: impl Fn(&Value) -> bool) -> Result<()> {
    until(SOON, "the Clearance to have the trusted sidecars", async || {
        Ok(is_expected(&scene.get("clearance", "clearance").await?["spec"]["trusted"]).then_some(()))
    })
    .await
}

async fn stays_held(scene: &Scenario<'_>, name: &str) -> Result<()> {
    scene.event("Pod", name, "Held").await?;
    let pod = scene.get("pod", name).await?;
    ensure!(pod["metadata"]["labels"]["assent.dev/held"] == "true", "{name} is not held: {pod}");
    ensure!(pod["spec"]["nodeName"].is_null(), "{name} is bound to a node: {pod}");
    Ok(())
}

pub async fn a_pod_with_a_trusted_injected_sidecar_runs(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "mesh-trusted", "high").await?;
    scene.apply(Admin, &mesh()).await?;
    let _webhook = Webhook::start(cluster, &scene.namespace, |pod| inject(pod, &proxy())).await?;
    // The pods are created before the approval. After the approval, the operator releases the pods with their injected
    // sidecar.
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    scene.clear("v1", &container("1")).await?;
    scene.running("scorer", 2).await?;
    // The policies set no gate on a pod that is created after the approval.
    let pod = scene.pod("approved", &container("1"));
    until(SOON, "the API server to see the clearance", async || {
        let dry = ["apply", "--dry-run=server", "-o=json", "-f", "-"];
        let pod = cluster.kubectl_stdin(Dev, &dry, &pod.to_string()).await?.ok()?;
        let pod: Value = serde_json::from_str(&pod)?;
        ensure!(
            pod["spec"]["containers"][1]["name"] == "mesh-proxy",
            "the webhook did not inject into {pod}"
        );
        ensure!(
            pod["spec"]["initContainers"][0]["name"] == "mesh-init",
            "the webhook did not inject into {pod}"
        );
        Ok(pod["spec"]["schedulingGates"].is_null().then_some(()))
    })
    .await?;
    scene.apply(Dev, &pod).await?;
    scene.running_pod("approved").await?;
    let said = scene.assent(Dev, &["explain", "pod/approved"]).await?.ok()?;
    ensure!(said.contains("it is v1 of scorer, which is cleared to run"), "{said}");
    scene.condition("trustedsidecar", "mesh", "Ready", "True", "InForce").await.map(drop)
}

pub async fn a_pod_with_an_untrusted_injected_sidecar_does_not_run(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "mesh-untrusted", "high").await?;
    scene.apply(Admin, &mesh()).await?;
    let mut other = proxy();
    other["image"] = json!(format!("mesh/proxy@{}", digest('8')));
    let injects = other.clone();
    let _webhook = Webhook::start(cluster, &scene.namespace, move |pod| inject(pod, &injects)).await?;
    // This pod is created before the approval. It stays held after the approval, because its sidecar is not trusted.
    scene.apply(Dev, &scene.pod("early", &container("1"))).await?;
    scene.clear("v1", &container("1")).await?;
    stays_held(&scene, "early").await?;
    // A new pod is cleared at first. After the webhook adds the untrusted sidecar, the API server refuses the pod.
    let late = scene.pod("late", &container("1"));
    until(SOON, "the API server to see the clearance", async || {
        let said =
            cluster.kubectl_stdin(Dev, &["create", "--dry-run=server", "-f", "-"], &late.to_string()).await?;
        Ok(said.denied().ok().filter(|said| said.contains("is not what was approved")))
    })
    .await
    .and_then(|said| {
        ensure!(said.contains("kubectl get trustedsidecars"), "the message has no next command: {said}");
        Ok(())
    })?;
    let early = scene.get("pod", "early").await?;
    ensure!(early["metadata"]["labels"]["assent.dev/held"] == "true", "the pod was released: {early}");
    // A second TrustedSidecar, as in an upgrade of the mesh, lets the pod run.
    let mut next = mesh();
    next["metadata"]["name"] = json!("mesh-next");
    next["spec"]["containers"][0]["image"] = other["image"].clone();
    scene.apply(Admin, &next).await?;
    scene.running_pod("early").await?;
    scene.apply(Dev, &late).await?;
    // A pod stops within the grace period if its sidecar is no longer trusted.
    cluster.kubectl(Admin, &["delete", "trustedsidecar", "mesh-next"]).await?.ok()?;
    until(Duration::from_secs(90), "the pod to stop", async || {
        Ok(scene.get("pod", "early").await.is_err().then_some(()))
    })
    .await
}

/// Each change in `attacks` would give a developer some control over the pod. So each changed pod must be held.
pub async fn a_pod_with_a_modified_sidecar_is_held(cluster: &ControlPlane) -> Result<()> {
    let scene = with_trusted_mesh(cluster, "mesh-attacks").await?;
    let attacks: [(&str, Change); 22] = [
        ("image", |spec| spec["containers"][1]["image"] = json!("mesh/proxy:latest")),
        ("command", |spec| spec["containers"][1]["command"] = json!(["sh"])),
        ("args", |spec| spec["containers"][1]["args"] = json!(["proxy", "sidecar", "--model=other"])),
        ("env", |spec| {
            push(
                &mut spec["containers"][1]["env"],
                json!({ "name": "LD_PRELOAD", "value": "/etc/mesh/x.so" }),
            );
        }),
        ("env-prefix", |spec| {
            push(&mut spec["containers"][1]["env"], json!({ "name": "X_MESH_META_", "value": "x" }));
        }),
        ("hook", |spec| {
            spec["containers"][1]["lifecycle"] = json!({ "postStart": { "exec": { "command": ["sh"] } } });
        }),
        ("probe", |spec| spec["containers"][1]["livenessProbe"] = json!({ "exec": { "command": ["sh"] } })),
        ("proxy-mounts", |spec| {
            push(
                &mut spec["containers"][1]["volumeMounts"],
                json!({ "name": "mesh-labels", "mountPath": "/lib" }),
            );
        }),
        ("twice", |spec| {
            let mut second = spec["containers"][1].clone();
            second["name"] = json!("mesh-proxy-2");
            push(&mut spec["containers"], second);
        }),
        ("as-init", |spec| {
            let mut proxy = spec["containers"].as_array_mut().and_then(Vec::pop).unwrap_or_default();
            proxy.as_object_mut().map(|fields| fields.remove("lifecycle"));
            push(&mut spec["initContainers"], proxy);
        }),
        ("in-its-place", |spec| {
            spec["containers"].as_array_mut().map(|containers| containers.remove(0));
        }),
        ("under-its-name", |spec| {
            spec["containers"].as_array_mut().map(Vec::pop);
            spec["containers"][0]["image"] = proxy()["image"].clone();
            spec["containers"][0]["args"] = proxy()["args"].clone();
        }),
        ("volume", |spec| {
            spec["volumes"][0] = json!({ "name": "mesh-config", "configMap": { "name": "mine" } });
        }),
        ("volume-token", |spec| {
            push(&mut spec["volumes"][2]["projected"]["sources"], json!({ "secret": { "name": "mine" } }));
        }),
        ("volume-labels", |spec| {
            let field = json!({ "fieldPath": "metadata.annotations['a']" });
            spec["volumes"][1]["downwardAPI"]["items"][0]["fieldRef"] = field;
        }),
        ("volume-path", |spec| {
            spec["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]["path"] = json!("x.so");
        }),
        ("message-path", |spec| {
            spec["containers"][1]["terminationMessagePath"] = json!("/etc/ld.so.preload");
        }),
        ("volume-more", |spec| push(&mut spec["volumes"], json!({ "name": "more", "emptyDir": {} }))),
        ("mount-path", |spec| {
            push(
                &mut spec["containers"][0]["volumeMounts"],
                json!({ "name": "mesh-config", "mountPath": "/app", "readOnly": true }),
            );
        }),
        ("mount-sub-path", |spec| spec["containers"][0]["volumeMounts"][0]["subPath"] = json!("x")),
        ("mount-writable", |spec| {
            spec["containers"][0]["volumeMounts"][0].as_object_mut().map(|mount| mount.remove("readOnly"));
        }),
        ("app-env", |spec| {
            push(&mut spec["containers"][0]["env"], json!({ "name": "MESH", "value": "off" }));
        }),
    ];
    let names: Vec<_> = attacks.iter().map(|(name, _)| *name).collect();
    let mut pods: Vec<Value> = Vec::new();
    for (name, attack) in attacks {
        let mut pod = injected(&scene, name);
        attack(&mut pod["spec"]);
        pods.push(pod);
    }
    scene.apply(Dev, &json!({ "apiVersion": "v1", "kind": "List", "items": pods })).await?;
    for name in names {
        stays_held(&scene, name).await?;
    }
    let said = scene.assent(Dev, &["explain", "pod/image"]).await?.stdout;
    ensure!(said.contains("mesh/proxy:latest"), "the difference is missing in: {said}");
    ensure!(!said.contains("mesh-init"), "a trusted init container is reported as a difference: {said}");
    // A pod with all injected parts but without a change runs.
    scene.apply(Dev, &injected(&scene, "honest")).await?;
    scene.running_pod("honest").await
}

/// Only a user with a cluster-wide permission may create a `TrustedSidecar`. The `TrustedSidecar` must name each image
/// by digest, or by its complete repository.
pub async fn a_trusted_sidecar_needs_permission_and_an_exact_image(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "mesh-trust", "high").await?;
    let mut mine = mesh();
    mine["metadata"]["name"] = json!("mine");
    let said = scene.refused(Dev, &mine).await?;
    ensure!(said.contains("cannot") && said.contains("trustedsidecars"), "{said}");
    for image in ["mesh/proxy", "mesh/proxy:1", "mesh/proxy@sha256:1"] {
        mine["spec"]["containers"][0]["image"] = json!(image);
        let said = scene.refused(Admin, &mine).await?;
        ensure!(said.contains("image must end in @sha256:"), "{image}: {said}");
    }
    mine["spec"]["containers"][0]["images"] = json!("Name");
    for image in ["proxy", "registry.example/mesh/proxy:1", "registry.example/mesh/"] {
        mine["spec"]["containers"][0]["image"] = json!(image);
        let said = scene.refused(Admin, &mine).await?;
        ensure!(said.contains("the registry and the repository without tag or digest"), "{image}: {said}");
    }
    scene.apply(Admin, &mesh()).await?;
    let status = r#"{"status":{"observedGeneration":99}}"#;
    let patch = ["patch", "trustedsidecar", "mesh", "--subresource=status", "--type=merge", "-p", status];
    let said = scene.denied(Admin, &patch).await?;
    ensure!(said.contains("written by Assent only"), "{said}");
    let examples = root().join("examples/trusted-sidecars").display().to_string();
    cluster.kubectl(Admin, &["apply", "-k", &examples]).await?.ok()?;
    for example in ["istio-1-28", "linkerd", "vault-agent", "kserve"] {
        scene.condition("trustedsidecar", example, "Ready", "True", "InForce").await?;
    }
    cluster.kubectl(Admin, &["delete", "-k", &examples]).await?.ok().map(drop)
}
