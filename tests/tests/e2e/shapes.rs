//! Each file in `tests/shapes`, a *shape*, is the manifest of a kind of workload that people run. The command
//! `kubectl assent capture` writes ModelVersions for this manifest. The API server accepts these versions, and they
//! clear the pods of the workload.
//!
//! Each file in `tests/operators` has the pods of one operator, such as `KubeRay`. The pods differ from each other, and
//! one version clears all of them.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use assent_tests::{ControlPlane, Person, Scenario, container, until};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use Person::{Admin, Dev};

/// Appends the pod specs in an object to `into`, in the order in which `capture` finds them.
fn pod_specs<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    match value {
        Value::Object(_) if value["spec"]["containers"].is_array() => into.push(&value["spec"]),
        Value::Object(fields) => fields.values().for_each(|value| pod_specs(value, into)),
        Value::Array(items) => items.iter().for_each(|value| pod_specs(value, into)),
        _ => {}
    }
}

fn files_of(directory: &str) -> Result<BTreeMap<String, String>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let files = fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    files
        .map(|file| {
            let path = file?.path();
            Ok((path.display().to_string(), fs::read_to_string(&path)?))
        })
        .collect()
}

pub async fn captured_versions_of_every_shape_clear_its_pods(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "shapes", "minimal").await?;
    let mut expected = Vec::new();
    for (path, text) in files_of("shapes")? {
        let said = scene.assent(Dev, &["capture", "-f", &path, "--system=scorer", "-o=json"]).await?.ok()?;
        let captured: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        let versions = captured["items"].as_array().cloned().unwrap_or_else(|| vec![captured.clone()]);
        let shape: Value = serde_saphyr::from_str(&text).with_context(|| path.clone())?;
        let mut specs = Vec::new();
        pod_specs(&shape, &mut specs);
        ensure!(!specs.is_empty() && versions.len() == specs.len(), "{path}: {said}");
        for (version, spec) in versions.into_iter().zip(specs) {
            scene.apply(Admin, &version).await.with_context(|| format!("{path}: {version}"))?;
            expected.push((path.clone(), version, spec.clone()));
        }
    }
    let api: Api<Pod> = Api::namespaced(cluster.client(Dev)?, &scene.namespace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for (path, version, spec) in &expected {
        scene.is_cleared(version["metadata"]["name"].as_str().unwrap_or_default()).await?;
        let pod: Pod = serde_json::from_value(scene.workload("v1", "Pod", "pod", spec))?;
        until(Duration::from_secs(10), &format!("{path} to be cleared"), async || {
            let gates = api.create(&dry, &pod).await?.spec.and_then(|spec| spec.scheduling_gates);
            Ok(gates.is_none_or(|gates| gates.is_empty()).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Each file in `tests/operators` has three fields. `runtime` is the approved runtime. `pods` are the specs of pods
/// that an operator creates, and the version clears each of them. `held` are changes, each of which holds the first
/// pod.
pub async fn one_version_with_placeholders_clears_the_pods_of_each_operator(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "operators", "minimal").await?;
    let mut cases = Vec::new();
    for (path, text) in files_of("operators")? {
        let name = Path::new(&path).file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let case: Value = serde_saphyr::from_str(&text).with_context(|| path.clone())?;
        scene.apply(Admin, &scene.version_of(&name, &case["runtime"])).await.with_context(|| path.clone())?;
        cases.push((name, case));
    }
    ensure!(cases.len() >= 10, "only {} operators", cases.len());
    for (name, case) in &cases {
        scene.is_cleared(name).await?;
        let pods = case["pods"].as_array().with_context(|| format!("{name} has no pods"))?;
        ensure!(pods.len() >= 2, "{name} has fewer than two pods");
        for (n, spec) in pods.iter().enumerate() {
            until(Duration::from_secs(10), &format!("pod {n} of {name} to be cleared"), async || {
                Ok((!is_gated(&scene, spec).await?).then_some(()))
            })
            .await?;
        }
        let held = case["held"].as_array().filter(|held| !held.is_empty());
        for change in held.with_context(|| format!("{name} has no changes"))? {
            let mut spec = pods[0].clone();
            let place = change["at"].as_str().and_then(|at| spec.pointer_mut(at));
            *place.with_context(|| format!("{name}: {change}"))? = change["value"].clone();
            ensure!(spec != pods[0] && is_gated(&scene, &spec).await?, "{name}: {change} is cleared");
        }
    }
    Ok(())
}

async fn is_gated(scene: &Scenario<'_>, spec: &Value) -> Result<bool> {
    let api: Api<Pod> = Api::namespaced(scene.cluster.client(Dev)?, &scene.namespace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let pod: Pod = serde_json::from_value(scene.workload("v1", "Pod", "pod", spec))?;
    let gates = api.create(&dry, &pod).await.with_context(|| spec.to_string())?.spec;
    Ok(gates.and_then(|spec| spec.scheduling_gates).is_some_and(|gates| !gates.is_empty()))
}

pub async fn version_with_a_forbidden_kind_of_volume_is_withheld(cluster: &ControlPlane) -> Result<()> {
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": "no-node-files" },
        "spec": { "images": "Tag", "forbiddenVolumes": ["hostPath", "secret"] } });
    cluster.kubectl_stdin(Admin, &["apply", "-f", "-"], &level.to_string()).await?.ok()?;
    let scene = Scenario::new(cluster, "no-node-files", "no-node-files").await?;
    let volumes = [
        ("node", json!({ "hostPath": { "path": "/models" } }), "hostPath"),
        ("projected", json!({ "projected": { "sources": [{ "secret": { "name": "s" } }] } }), "secret"),
    ];
    for (name, mut volume, kind) in volumes {
        volume["name"] = json!("models");
        let runtime = json!({ "containers": [container("1")], "volumes": [volume] });
        scene.apply(Admin, &scene.version_of(name, &runtime)).await?;
        let said = scene.condition("modelversion", name, "Cleared", "False", "VolumeForbidden").await?;
        ensure!(said.contains(&format!("volume models is of kind {kind}")), "{said}");
    }
    scene.apply(Admin, &scene.version("plain", &container("1"))).await?;
    scene.is_cleared("plain").await?;
    let mut wrong = level.clone();
    wrong["spec"]["forbiddenVolumes"] = json!(["hostpath"]);
    let said = scene.refused(Admin, &wrong).await?;
    ensure!(said.contains("Unsupported value: \"hostpath\""), "{said}");
    Ok(())
}

/// A pod is held if a volume, mount, device, host alias or DNS setting differs from the approved version.
pub async fn pods_with_other_volume_sources_or_names_are_held(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "sources-attacked", "minimal").await?;
    let spec = attacked();
    scene.apply(Admin, &scene.version_of("v1", &spec)).await?;
    scene.is_cleared("v1").await?;
    until(Duration::from_secs(10), "the approved pod to be cleared", async || {
        Ok((!is_gated(&scene, &spec).await?).then_some(()))
    })
    .await?;
    for (pointer, value) in attacks() {
        let mut spec = spec.clone();
        let place = spec.pointer_mut(pointer).with_context(|| pointer.to_owned())?;
        *place = value.clone();
        ensure!(is_gated(&scene, &spec).await?, "{pointer} with {value} is cleared");
    }
    Ok(())
}

/// Returns the approved runtime. The same value is also the spec of a pod that matches this runtime.
fn attacked() -> Value {
    let mut server = container("1");
    server["volumeMounts"] = json!([{ "name": "node", "mountPath": "/node", "mountPropagation": "None" }]);
    server["volumeDevices"] = json!([{ "name": "claim", "devicePath": "/dev/a" }]);
    let size = json!({ "requests": { "storage": "1Gi" } });
    json!({
        "containers": [server],
        "hostAliases": [{ "ip": "192.0.2.1", "hostnames": ["hub.example"] }],
        "dnsConfig": { "nameservers": ["192.0.2.2"], "searches": ["models.example"] },
        "volumes": [
            { "name": "node", "hostPath": { "path": "/models/", "type": "" } },
            { "name": "bucket", "csi": { "driver": "bucket.example", "volumeAttributes": { "bucket": "models" },
                "nodePublishSecretRef": { "name": "key" } } },
            { "name": "share", "nfs": { "server": "nfs.example", "path": "/models" } },
            { "name": "claim", "ephemeral": { "volumeClaimTemplate": { "metadata": { "annotations": { "a": "b" } },
                "spec": { "accessModes": ["ReadWriteOnce"], "resources": size, "storageClassName": "fast", "volumeMode": "Block",
                    "dataSource": { "kind": "PersistentVolumeClaim", "name": "weights" } } } } },
            { "name": "all", "projected": { "sources": [{ "clusterTrustBundle": { "name": "b", "path": "ca.crt" } }] } },
        ],
    })
}

/// Returns changes of the approved pod that a tenant could try. Each change is a JSON pointer into the pod spec, and
/// the new value.
fn attacks() -> Vec<(&'static str, Value)> {
    vec![
        ("/volumes/0/hostPath/path", json!("/models")),
        ("/volumes/0/hostPath/type", json!("DirectoryOrCreate")),
        ("/volumes/1/csi/driver", json!("other.example")),
        ("/volumes/1/csi/volumeAttributes", json!({ "bucket": "models", "mountOptions": "other" })),
        ("/volumes/1/csi/volumeAttributes/bucket", json!("Models")),
        ("/volumes/1/csi/nodePublishSecretRef", json!({ "name": "key2" })),
        ("/volumes/1", json!({ "name": "bucket", "hostPath": { "path": "/models/" } })),
        ("/volumes/2/nfs/server", json!("nfs.example.evil.example")),
        ("/volumes/2/nfs", json!({ "server": "nfs.example", "path": "/models", "readOnly": true })),
        ("/volumes/3/ephemeral/volumeClaimTemplate/metadata/annotations", json!({ "a": "c" })),
        ("/volumes/3/ephemeral/volumeClaimTemplate/spec/storageClassName", json!("")),
        ("/volumes/3/ephemeral/volumeClaimTemplate/spec/dataSource/name", json!("other")),
        ("/volumes/3/ephemeral/volumeClaimTemplate/spec/resources/requests/storage", json!("1025Mi")),
        ("/volumes/4/projected/sources/0/clusterTrustBundle", json!({ "name": "other", "path": "ca.crt" })),
        ("/volumes/4/projected/sources/0", json!({ "configMap": { "name": "b" } })),
        ("/containers/0/volumeDevices/0/devicePath", json!("/dev/b")),
        ("/containers/0/volumeMounts/0/mountPropagation", json!("HostToContainer")),
        ("/hostAliases/0/hostnames", json!(["hub.example", "huggingface.co"])),
        ("/hostAliases", json!([])),
        ("/dnsConfig/nameservers", json!(["192.0.2.3", "192.0.2.2"])),
        ("/dnsConfig/searches", json!([])),
    ]
}
