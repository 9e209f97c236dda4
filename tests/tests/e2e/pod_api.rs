//! The tests send requests of every kind that can change a pod. Nobody may change the system or the images of a
//! governed pod. Only the operator may change the gate, the label `assent.dev/held` and the annotations of Assent. No
//! request may block the release or deletion of a pod.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent_tests::{ControlPlane, Output, Person, Scenario, container, until};
use serde_json::{Value, json};

use Person::{Admin, Dev};

use crate::refusals::says;

/// The effect that a request can have on a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The request can change labels, annotations, gates or images. A policy checks the request, and a test sends it as
    /// an attack.
    Judged,
    /// The API server ignores changes of the [`guarded`] fields in the request. A test sends the request as an attack.
    Dropped,
    /// The request ends the pod. The tests in `grace.rs` cover such requests.
    Ends,
    /// The request does not change the pod object.
    Reads,
}

use Class::{Dropped, Ends, Judged, Reads};

/// Every resource of the core API group that concerns pods, with each verb. If the API server serves a resource or verb
/// that is not listed here, a test fails. Then add the resource or verb with its class.
const KNOWN: &[(&str, &str, Class)] = &[
    // The API server copies the labels and annotations of a Binding to the pod. The policy assent-binding checks these
    // labels and annotations.
    ("bindings", "create", Judged),
    ("pods/binding", "create", Judged),
    // The policies assent-gate, assent-pod-create and assent-pod-held check a new pod.
    ("pods", "create", Judged),
    // The policies assent-pod-update and assent-pod-release check a change.
    ("pods", "patch", Judged),
    ("pods", "update", Judged),
    // In a request for the status, the API server accepts changes of the status, labels and annotations. The policy
    // assent-pod-update checks the labels and annotations.
    ("pods/status", "patch", Judged),
    ("pods/status", "update", Judged),
    // The policy assent-pod-update refuses every change of the ephemeral containers.
    ("pods/ephemeralcontainers", "patch", Judged),
    ("pods/ephemeralcontainers", "update", Judged),
    // In a request for a resize, the API server accepts only changes of resources and resize policies.
    ("pods/resize", "patch", Dropped),
    ("pods/resize", "update", Dropped),
    ("pods", "delete", Ends),
    ("pods", "deletecollection", Ends),
    ("pods/eviction", "create", Ends),
    ("pods", "get", Reads),
    ("pods", "list", Reads),
    ("pods", "watch", Reads),
    ("pods/status", "get", Reads),
    ("pods/ephemeralcontainers", "get", Reads),
    ("pods/resize", "get", Reads),
    ("pods/log", "get", Reads),
    // These requests reach the containers of the pod. SECURITY.md describes who can do that.
    ("pods/attach", "create", Reads),
    ("pods/attach", "get", Reads),
    ("pods/exec", "create", Reads),
    ("pods/exec", "get", Reads),
    ("pods/portforward", "create", Reads),
    ("pods/portforward", "get", Reads),
    ("pods/proxy", "create", Reads),
    ("pods/proxy", "delete", Reads),
    ("pods/proxy", "get", Reads),
    ("pods/proxy", "patch", Reads),
    ("pods/proxy", "update", Reads),
];

fn unbound(scene: &Scenario<'_>, name: &str, revision: &str) -> Value {
    let mut pod = scene.pod(name, &container(revision));
    pod["spec"]["schedulerName"] = json!("nobody");
    pod
}

async fn post(scene: &Scenario<'_>, path: &str, body: &Value) -> Result<Output> {
    let path = format!("/api/v1/namespaces/{}/{path}", scene.namespace);
    scene.cluster.kubectl_stdin(Dev, &["create", "--raw", &path, "-f", "-"], &body.to_string()).await
}

fn binding(scene: &Scenario<'_>, pod: &str, metadata: &Value) -> Value {
    let mut binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": metadata,
        "target": { "apiVersion": "v1", "kind": "Node", "name": "node-1" } });
    binding["metadata"]["name"] = json!(pod);
    binding["metadata"]["namespace"] = json!(scene.namespace);
    binding
}

pub async fn a_binding_changes_no_guarded_field(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "binding-labels", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let mut twin = scene.system("high");
    twin["metadata"]["name"] = json!("twin");
    scene.apply(Admin, &twin).await?;
    scene.apply(Dev, &unbound(&scene, "pod", "1")).await?;
    for metadata in [
        json!({ "labels": { "assent.dev/system": "twin" } }),
        json!({ "labels": { "assent.dev/held": "true", "other": "label" } }),
        json!({ "annotations": { "assent.dev/released": "v1 2026-01-01T00:00:00Z" } }),
    ] {
        for path in ["pods/pod/binding", "bindings"] {
            let said = post(&scene, path, &binding(&scene, "pod", &metadata)).await?.denied()?;
            says(&said, &["the Binding of pod pod", "remove them from the Binding"])?;
        }
    }
    let topology =
        json!({ "labels": { "topology.kubernetes.io/zone": "a" }, "annotations": { "other": "x" } });
    post(&scene, "pods/pod/binding", &binding(&scene, "pod", &topology)).await?.ok()?;
    scene.running_pod("pod").await?;
    let labels = scene.get("pod", "pod").await?["metadata"]["labels"].clone();
    ensure!(labels["assent.dev/system"] == "scorer" && labels["assent.dev/held"].is_null(), "{labels}");
    ensure!(
        labels["topology.kubernetes.io/zone"] == "a",
        "the label for the topology was not copied: {labels}"
    );
    Ok(())
}

/// The operator can release a held pod even if a client resets, fills or forges the `managedFields` of the pod.
pub async fn a_held_pod_is_released_with_any_managed_fields(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "managed-fields", "high").await?;
    let entry = |manager: String| {
        json!({ "manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2999-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:labels": { "f:app": {} } } } })
    };
    let crowd: Vec<_> = (0..12).map(|number| entry(format!("manager-{number}"))).collect();
    let resets = [
        ("reset", json!([{}])),
        ("emptied", json!([])),
        ("crowded", json!(crowd)),
        ("claimed", json!([entry("assent-release".to_owned())])),
    ];
    for (name, fields) in &resets {
        scene.apply(Dev, &scene.pod(name, &container("1"))).await?;
        let patch = json!({ "metadata": { "managedFields": fields } }).to_string();
        scene.kubectl(Dev, &["patch", "pod", name, "--type=merge", "-p", &patch]).await?;
        scene.event("Pod", name, "Held").await?;
    }
    scene.clear("v1", &container("1")).await?;
    for (name, _) in &resets {
        scene.running_pod(name).await?;
        let pod = scene.get("pod", name).await?;
        ensure!(pod["metadata"]["annotations"]["assent.dev/released"].is_string(), "{pod}");
    }
    Ok(())
}

pub async fn the_field_manager_of_the_release_blocks_no_other_request(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "release-manager", "high").await?;
    let claim = "--field-manager=assent-release";
    for name in ["released", "deleted", "resized"] {
        let mut pod = scene.pod(name, &container("1"));
        pod["metadata"]["finalizers"] = json!(["example.com/cleanup"]);
        pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1m" } });
        let create: &[&str] =
            if name == "resized" { &["create", "-f", "-"] } else { &["create", claim, "-f", "-"] };
        cluster.kubectl_stdin(Dev, create, &pod.to_string()).await?.ok()?;
        scene.kubectl(Dev, &["label", "pod", name, "stage=test"]).await?;
        scene.event("Pod", name, "Held").await?;
    }
    let resize = r#"{"spec":{"containers":[{"name":"server","resources":{"requests":{"cpu":"2m"}}}]}}"#;
    scene.kubectl(Dev, &["patch", "pod", "resized", "--subresource=resize", claim, "-p", resize]).await?;
    let said = scene.denied(Dev, &["patch", "pod", "released", claim, "-p", crate::refusals::LIFT]).await?;
    says(&said, &["only Assent lifts the gate"])?;
    let finalize = ["patch", "pod", "deleted", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    scene.kubectl(Dev, &["delete", "pod", "deleted", "--wait=false"]).await?;
    scene.kubectl(Dev, &finalize).await?;
    scene.kubectl(Dev, &["wait", "pod/deleted", "--for=delete", "--timeout=20s"]).await?;
    scene.clear("v1", &container("1")).await?;
    for name in ["released", "resized"] {
        scene.running_pod(name).await?;
        scene.kubectl(Dev, &["patch", "pod", name, "--type=merge", "-p", finalize[5]]).await?;
    }
    cluster.kubectl(Admin, &["delete", "namespace", &scene.namespace, "--timeout=60s"]).await?.ok().map(drop)
}

pub async fn nobody_writes_the_annotations_of_assent_on_a_pod(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "pod-records", "high").await?;
    let record = "v0 2026-01-01T00:00:00Z";
    let mut forged = scene.pod("forged", &container("1"));
    forged["metadata"]["annotations"] = json!({ "assent.dev/released": record });
    let said = scene.refused(Dev, &forged).await?;
    says(
        &said,
        &["pod forged: annotations that begin with assent.dev/", "remove them from the pod template"],
    )?;
    scene.apply(Dev, &scene.pod("pod", &container("1"))).await?;
    scene.event("Pod", "pod", "Held").await?;
    let refused = ["annotations that begin with assent.dev/", "leave them as they are"];
    for annotation in ["assent.dev/released=mine", "assent.dev/deadline=60", "assent.dev/new=x"] {
        for person in [Dev, Admin] {
            says(&scene.denied(person, &["annotate", "pod", "pod", annotation]).await?, &refused)?;
        }
    }
    scene.clear("v1", &container("1")).await?;
    scene.running_pod("pod").await?;
    let before = scene.get("pod", "pod").await?["metadata"]["annotations"]["assent.dev/released"].clone();
    says(before.as_str().unwrap_or_default(), &["v1"])?;
    says(&scene.refused(Dev, &forged).await?, &["annotations that begin with assent.dev/"])?;
    for change in [json!("mine"), Value::Null] {
        let patch = json!({ "metadata": { "annotations": { "assent.dev/released": change } } }).to_string();
        for subresource in [&[][..], &["--subresource=status"]] {
            let patch = [&["patch", "pod", "pod", "--type=merge", "-p", &patch][..], subresource].concat();
            says(&scene.denied(Dev, &patch).await?, &refused)?;
        }
    }
    scene.kubectl(Dev, &["annotate", "pod", "pod", "example.com/note=mine"]).await?;
    let after = scene.get("pod", "pod").await?["metadata"]["annotations"].clone();
    ensure!(after["assent.dev/released"] == before && after["example.com/note"] == "mine", "{after}");
    Ok(())
}

/// Returns the guarded fields of a pod: the labels and annotations of Assent, the gates and the images.
fn guarded(pod: &Value) -> Value {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let of_assent = |map: &Value| -> Value {
        let of_assent =
            map.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("assent.dev/"));
        of_assent.map(|(key, value)| (key.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let images = |list: &str| -> Vec<Value> {
        spec[list].as_array().into_iter().flatten().map(|container| container["image"].clone()).collect()
    };
    json!({ "labels": of_assent(&metadata["labels"]), "annotations": of_assent(&metadata["annotations"]),
        "gates": spec["schedulingGates"], "images": images("containers"), "init": images("initContainers"),
        "ephemeral": images("ephemeralContainers") })
}

/// Returns the pod with changes of its guarded fields and its resources.
fn attacked(pod: &Value) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]["labels"]["assent.dev/system"] = json!("twin");
    pod["metadata"]["labels"].as_object_mut().map(|labels| labels.remove("assent.dev/held"));
    pod["metadata"]["annotations"]["assent.dev/released"] = json!("v0");
    pod["spec"].as_object_mut().map(|spec| spec.remove("schedulingGates"));
    pod["spec"]["containers"][0]["image"] = json!("other");
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "3m", "memory": "1Mi" } });
    pod["spec"]["ephemeralContainers"] = json!([{ "name": "debug", "image": "other" }]);
    pod
}

/// Sends the changes of [`attacked`] with `verb` to `resource`: first only the metadata, then only the spec, then both.
async fn attack(scene: &Scenario<'_>, pod: &Value, resource: &str, verb: &str) -> Result<()> {
    let name = pod["metadata"]["name"].as_str().context("no name")?;
    let (whole, of) = (attacked(pod), |part: &str| attacked(pod)[part].clone());
    let subresource = resource.split_once('/').map(|(_, subresource)| format!("--subresource={subresource}"));
    let target: Vec<&str> = subresource.as_deref().into_iter().collect();
    let metadata = json!({ "metadata": { "labels": of("metadata")["labels"], "annotations": of("metadata")["annotations"] } });
    for part in [metadata, json!({ "spec": of("spec") }), whole] {
        // The test ignores the response. The caller compares the guarded fields of the pod afterwards.
        if verb == "patch" {
            let patch = part.to_string();
            scene
                .cluster
                .kubectl(
                    Dev,
                    &[
                        &["patch", "pod", name, "-n", &scene.namespace, "--type=merge", "-p", &patch],
                        &target[..],
                    ]
                    .concat(),
                )
                .await?;
        } else {
            let mut object = pod.clone();
            merge(&mut object, &part);
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
                metadata.remove("managedFields");
            }
            scene
                .cluster
                .kubectl_stdin(Dev, &[&["replace", "-f", "-"], &target[..]].concat(), &object.to_string())
                .await?;
        }
    }
    Ok(())
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.iter().for_each(|(key, value)| merge(into.entry(key.clone()).or_insert(Value::Null), value));
        }
        (into, from) => *into = from.clone(),
    }
}

pub async fn no_verb_of_the_pod_api_changes_a_guarded_field(cluster: &ControlPlane) -> Result<()> {
    let discovered = cluster.kubectl(Admin, &["get", "--raw", "/api/v1"]).await?.ok()?;
    let discovered: Value = serde_json::from_str(&discovered)?;
    let resources = discovered["resources"].as_array().context("no resources")?;
    let of_pods = |r: &&Value| {
        let name = r["name"].as_str().unwrap_or_default();
        name == "pods" || name.starts_with("pods/") || matches!(r["kind"].as_str(), Some("Pod" | "Binding"))
    };
    let served: BTreeSet<(&str, &str)> = resources
        .iter()
        .filter(of_pods)
        .flat_map(|r| {
            let verbs = r["verbs"].as_array().into_iter().flatten();
            verbs.filter_map(|verb| Some((r["name"].as_str()?, verb.as_str()?)))
        })
        .collect();
    let known: BTreeSet<_> = KNOWN.iter().map(|(resource, verb, _)| (*resource, *verb)).collect();
    let unknown: Vec<_> = served.difference(&known).collect();
    ensure!(unknown.is_empty(), "classify these in {}: {unknown:?}", file!());

    let scene = Scenario::new(cluster, "pod-api", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Dev, &scene.pod("held", &container("other"))).await?;
    scene.event("Pod", "held", "Held").await?;
    scene.apply(Dev, &scene.pod("runs", &container("1"))).await?;
    scene.running_pod("runs").await?;
    let attacks =
        KNOWN.iter().filter(|(_, verb, class)| matches!(class, Judged | Dropped) && *verb != "create");
    for (resource, verb, _) in attacks {
        for name in ["held", "runs"] {
            let before = scene.get("pod", name).await?;
            attack(&scene, &before, resource, verb).await?;
            let after = scene.get("pod", name).await?;
            ensure!(guarded(&after) == guarded(&before), "{verb} {resource} changed {name}: {after}");
        }
    }
    // An Eviction can have labels. The API server must not copy these labels to the pod.
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": { "dryRun": ["All"] },
        "metadata": { "name": "runs", "namespace": scene.namespace, "labels": { "assent.dev/system": "twin" } } });
    let before = guarded(&scene.get("pod", "runs").await?);
    post(&scene, "pods/runs/eviction", &eviction).await?.ok()?;
    until(Duration::from_secs(5), "the pod to be unchanged", async || {
        Ok((guarded(&scene.get("pod", "runs").await?) == before).then_some(()))
    })
    .await
}
