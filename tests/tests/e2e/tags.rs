//! Tags in manifests, digests in the cluster: a pod that names an approved image by tag gets the approved digest.
//!
//! ```text
//!  ModelVersion  repo:1@sha256:a… ── cleared
//!  Deployment    repo:1 ──► pod: repo:1@sha256:a…        never another digest, and no pod with a tag runs
//! ```

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use assent_tests::{
    Assent, ControlPlane, NAMESPACE, Options, Person, SOON, Scenario, Webhook, container, digest, pod_spec,
    until,
};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use Person::{Admin, Dev};

use crate::workloads::{approve_alone, level, replicas, revoke};

const IMAGE: &str = "registry.example/scorer:1";

fn pinned(image: &str, digit: char) -> String {
    format!("{image}@{}", digest(digit))
}

/// The container of a version, with another image.
fn with_image(image: &str) -> Value {
    let mut container = container("1");
    container["image"] = json!(image);
    container
}

/// A pod with two containers, an init container and an image volume. Each image has the suffix `digest`.
fn everything(digest: &str) -> Value {
    let image = |name: &str| format!("registry.example:5000/{name}:1{digest}");
    json!({
        "containers": [{ "name": "server", "image": image("server") }, { "name": "proxy", "image": format!("proxy{digest}") }],
        "initContainers": [{ "name": "fetch", "image": image("fetch") }],
        "volumes": [{ "name": "weights", "image": { "reference": image("weights") } }],
    })
}

/// All images of a pod.
fn images(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let all =
        ["containers", "initContainers", "volumes"].into_iter().filter_map(|list| spec[list].as_array());
    let image =
        |part: &Value| part["image"]["reference"].as_str().or(part["image"].as_str()).map(str::to_owned);
    all.flatten().filter_map(image).collect()
}

/// The pod that the API server would create, or its refusal.
async fn created(scene: &Scenario<'_>, spec: &Value) -> Result<Value> {
    let api: Api<Pod> = Api::namespaced(scene.cluster.client(Dev)?, &scene.namespace);
    let pod: Pod = serde_json::from_value(scene.workload("v1", "Pod", "pod", spec))?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    Ok(serde_json::to_value(api.create(&dry, &pod).await?)?)
}

fn is_gated(pod: &Value) -> bool {
    pod["spec"]["schedulingGates"][0]["name"] == "assent.dev/clearance"
}

/// Waits until a new pod with this spec is cleared. Returns the pod.
async fn cleared(scene: &Scenario<'_>, spec: &Value) -> Result<Value> {
    until(Duration::from_secs(10), "a pod by tag to be cleared", async || {
        let pod = created(scene, spec).await?;
        Ok((!is_gated(&pod)).then_some(pod))
    })
    .await
}

/// Waits until all pods of `app` run, and have exactly these images.
async fn run_with(scene: &Scenario<'_>, app: &str, count: usize, expected: &[String]) -> Result<()> {
    scene.running(app, count).await?;
    for pod in scene.pods(app).await? {
        ensure!(images(&pod) == expected, "{expected:?}, but {:?}", images(&pod));
    }
    Ok(())
}

pub async fn every_image_of_a_new_pod_gets_the_approved_digest(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "tags", "minimal").await?;
    let by_digest = everything(&format!("@{}", digest('a')));
    scene.apply(Admin, &scene.version_of("v1", &by_digest)).await?;
    scene.is_cleared("v1").await?;
    let pod = cleared(&scene, &everything("")).await?;
    ensure!(images(&pod) == images(&json!({ "spec": by_digest })), "{pod}");
    // A pod that names some images by digest gets the other digests.
    let mut mixed = everything("");
    mixed["containers"][0] = by_digest["containers"][0].clone();
    ensure!(images(&created(&scene, &mixed).await?) == images(&json!({ "spec": by_digest })));
    for (api, kind) in [("batch/v1", "Job"), ("batch/v1", "CronJob")] {
        let name = kind.to_lowercase();
        scene.apply(Dev, &scene.workload(api, kind, &name, &everything(""))).await?;
        let stored = scene.get(&name, &name).await?;
        ensure!(stored["spec"]["suspend"] != true, "{stored}");
        let template = stored.pointer("/spec/jobTemplate/spec/template").or(stored.pointer("/spec/template"));
        ensure!(template.map(images) == Some(images(&json!({ "spec": everything("") }))), "{stored}");
    }
    Ok(())
}

pub async fn i3_held_pods_get_their_digests_when_they_are_released(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "tags-held", "high").await?;
    let mut runtime = pod_spec(&with_image(&pinned(IMAGE, 'a')));
    runtime["initContainers"] = json!([{ "name": "fetch", "image": pinned("fetch", 'b') }]);
    let version = json!({ "containers": runtime["containers"], "initContainers": runtime["initContainers"] });
    scene.apply(Admin, &scene.version_of("v1", &version)).await?;
    let mut spec = pod_spec(&with_image(IMAGE));
    spec["initContainers"] = json!([{ "name": "fetch", "image": "fetch" }]);
    scene.apply(Dev, &scene.workload("apps/v1", "Deployment", "scorer", &spec)).await?;
    scene.apply(Dev, &scene.pod("bare", &with_image(IMAGE))).await?;
    scene.held("scorer", 2).await?;
    let template = scene.get("deployment", "scorer").await?["spec"]["template"].take();
    let said = scene.assent(Dev, &["explain", "deployment/scorer"]).await?.ok()?;
    ensure!(said.contains("it is v1 of scorer, which is not cleared"), "{said}");
    // Nobody but the operator pins a held pod, not even to the approved digest.
    let pin = format!("server={}", pinned(IMAGE, 'a'));
    scene.denied(Admin, &["set", "image", "pod/bare", &pin]).await?;
    the_operator_adds_only_approved_digests(&scene).await?;
    scene.approve("v1").await?;
    let expected = [pinned(IMAGE, 'a'), pinned("fetch", 'b')];
    run_with(&scene, "scorer", 2, &expected).await?;
    ensure!(
        scene.get("deployment", "scorer").await?["spec"]["template"] == template,
        "the Deployment changed"
    );
    scene.kubectl(Dev, &["scale", "deployment/scorer", "--replicas=3"]).await?;
    run_with(&scene, "scorer", 3, &expected).await?;
    // The bare pod has no init container, so it matches no version and keeps its tag.
    let bare = scene.get("pod", "bare").await?;
    ensure!(is_gated(&bare) && images(&bare) == [IMAGE], "{bare}");
    revoke(&scene, "v1").await?;
    scene.held("scorer", 3).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    run_with(&scene, "scorer", 3, &expected).await
}

/// Lifts the gate of the pod `bare` with the account of the operator, and with images that nobody approved.
async fn the_operator_adds_only_approved_digests(scene: &Scenario<'_>) -> Result<()> {
    let operator = scene.cluster.service_account(NAMESPACE, "assent").await?.client()?;
    let pods: Api<Pod> = Api::namespaced(operator, &scene.namespace);
    let manager = PatchParams { field_manager: Some("assent-release".to_owned()), ..PatchParams::default() };
    for image in [pinned(IMAGE, 'f'), pinned("registry.example/other:1", 'a')] {
        let lift = json!({ "metadata": { "labels": { "assent.dev/held": null } }, "spec": {
            "schedulingGates": [{ "$patch": "delete", "name": "assent.dev/clearance" }],
            "containers": [{ "name": "server", "image": image }] } });
        match pods.patch("bare", &manager, &Patch::Strategic(lift)).await {
            Err(kube::Error::Api(answer)) => {
                // Two policies refuse the second image, and the API server reports one of them.
                let mut refusals = ["has no valid clearance", "does not change in place"].into_iter();
                ensure!(refusals.any(|refusal| answer.message.contains(refusal)), "{}", answer.message);
            }
            other => ensure!(false, "{image} was admitted: {other:?}"),
        }
    }
    Ok(())
}

pub async fn a_tag_never_runs_what_nobody_approved_for_its_system(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "tags-attacked", "minimal").await?;
    let of = |name: &str, image: &str| scene.version(name, &with_image(image));
    for (name, image) in [
        ("v1", pinned(IMAGE, 'a')),
        ("v2", pinned("registry.example/scorer:2", 'b')),
        ("v3", pinned("nginx", 'c')),
        ("v4", pinned("docker.io/library/busybox:1", 'd')),
        ("v5", "registry.example/moving:1".to_owned()),
    ] {
        scene.apply(Admin, &of(name, &image)).await?;
        scene.is_cleared(name).await?;
    }
    let mut other = scene.system("minimal");
    other["metadata"]["name"] = json!("other");
    scene.apply(Admin, &other).await?;
    let mut version = of("other-v1", &pinned("registry.example/other:1", 'e'));
    version["spec"]["system"] = json!("other");
    scene.apply(Admin, &version).await?;
    scene.is_cleared("other-v1").await?;
    let elsewhere = Scenario::new(cluster, "tags-elsewhere", "minimal").await?;
    elsewhere
        .apply(Admin, &elsewhere.version("v1", &with_image(&pinned("registry.example/elsewhere:1", 'f'))))
        .await?;
    elsewhere.is_cleared("v1").await?;
    cleared(&elsewhere, &pod_spec(&with_image("registry.example/elsewhere:1"))).await?;
    // Each of two tags of one repository gets its own digest. A version that states a tag keeps the tag.
    for (asked, expected) in [
        (IMAGE, pinned(IMAGE, 'a')),
        ("registry.example/scorer:2", pinned("registry.example/scorer:2", 'b')),
        ("nginx", pinned("nginx", 'c')),
        ("docker.io/library/busybox:1", pinned("docker.io/library/busybox:1", 'd')),
        ("registry.example/moving:1", "registry.example/moving:1".to_owned()),
    ] {
        let pod = cleared(&scene, &pod_spec(&with_image(asked))).await?;
        ensure!(images(&pod) == [expected], "{asked}: {:?}", images(&pod));
    }
    for image in [
        "registry.example/scorer:3",
        "registry.example/scorer",
        "registry.example/scorer:latest",
        "registry.example/other:1",
        "registry.example/elsewhere:1",
        "Registry.example/scorer:1",
        "registry.example/Scorer:1",
        "registry.example/scorer:1.",
        "REGISTRY.EXAMPLE/scorer:1",
        "nginx:latest",
        "docker.io/library/nginx:latest",
        "docker.io/library/nginx",
        "busybox:1",
        "evil.example/registry.example/scorer:1",
        "registry.example/scorer:1@",
        &pinned(IMAGE, 'c'),
        &pinned("nginx", 'a'),
    ] {
        let pod = created(&scene, &pod_spec(&with_image(image))).await?;
        ensure!(is_gated(&pod) && images(&pod) == [image], "{image}: {pod}");
    }
    let mut changed = with_image(IMAGE);
    changed["args"] = json!(["--model=other"]);
    let pod = created(&scene, &pod_spec(&changed)).await?;
    ensure!(is_gated(&pod) && images(&pod) == [IMAGE], "{pod}");
    Ok(())
}

pub async fn the_newest_version_with_a_tag_counts(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "tags-newest", "minimal").await?;
    for (name, digit) in [("v9", 'a'), ("v2", 'b')] {
        scene.apply(Admin, &scene.version(name, &with_image(&pinned(IMAGE, digit)))).await?;
        scene.is_cleared(name).await?;
        // Versions of the same second are sorted by name.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    // The newest version has the tag too, but other arguments.
    let mut other = with_image(&pinned(IMAGE, 'c'));
    other["args"] = json!(["--other"]);
    scene.apply(Admin, &scene.version("v3", &other)).await?;
    scene.is_cleared("v3").await?;
    until(SOON, "the newest version", async || {
        let pod = created(&scene, &pod_spec(&with_image(IMAGE))).await?;
        Ok((images(&pod) == [pinned(IMAGE, 'b')]).then_some(()))
    })
    .await?;
    let mut idle = scene.deployment("scorer", &with_image(IMAGE));
    idle["spec"]["replicas"] = json!(0);
    scene.apply(Dev, &idle).await?;
    let said = scene.assent(Dev, &["explain", "deployment/scorer", "-o=json"]).await?.ok()?;
    for words in
        ["its images get the digests that v2 approves", "the newest version with these tags (also v9)"]
    {
        ensure!(said.contains(words), "no {words:?} in {said}");
    }
    scene.kubectl(Dev, &["scale", "deployment/scorer", "--replicas=2"]).await?;
    run_with(&scene, "scorer", 2, &[pinned(IMAGE, 'b')]).await?;
    // Running pods keep their digest while it is approved, whatever is newer.
    scene.apply(Admin, &scene.version("v4", &with_image(&pinned(IMAGE, 'd')))).await?;
    scene.is_cleared("v4").await?;
    run_with(&scene, "scorer", 2, &[pinned(IMAGE, 'b')]).await?;
    scene.kubectl(Admin, &["delete", "modelversion", "v2"]).await?;
    until(SOON, "new pods with the newest digest", async || {
        let pods = scene.pods("scorer").await?;
        let newest = pods.iter().filter(|pod| images(pod) == [pinned(IMAGE, 'd')]).count();
        Ok((newest == 2 && pods.len() == 2).then_some(()))
    })
    .await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn a_webhook_that_rewrites_images_admits_nothing_unapproved(cluster: &ControlPlane) -> Result<()> {
    const MIRROR: &str = "mirror.example/scorer:1";
    let scene = Scenario::new(cluster, "tags-rewritten", "minimal").await?;
    scene.apply(Admin, &scene.version("v1", &with_image(&pinned(IMAGE, 'a')))).await?;
    scene.apply(Admin, &scene.version("v2", &with_image(&pinned(MIRROR, 'b')))).await?;
    scene.is_cleared("v2").await?;
    cleared(&scene, &pod_spec(&with_image(IMAGE))).await?;
    let _webhook = Webhook::start(cluster, &scene.namespace, |pod| {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let to = match pod["metadata"]["name"].as_str() {
            Some("strip") => image.split('@').next().unwrap_or_default(),
            Some("mirror") if image.starts_with("registry") => MIRROR,
            Some("other") => "registry.example/other:1",
            _ => image,
        };
        if to == image {
            return json!([]);
        }
        json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": to }])
    })
    .await?;
    let create = async |name: &str, image: &str| {
        let pod = scene.pod(name, &with_image(image)).to_string();
        let dry = ["create", "--dry-run=server", "-o=json", "-f", "-"];
        scene.cluster.kubectl_stdin(Dev, &dry, &pod).await
    };
    // The API server pins again after the webhook.
    for (name, image, expected) in [
        ("strip", IMAGE, pinned(IMAGE, 'a')),
        ("mirror", IMAGE, pinned(MIRROR, 'b')),
        ("mirror", MIRROR, pinned(MIRROR, 'b')),
    ] {
        let pod: Value = serde_json::from_str(&create(name, image).await?.ok()?)?;
        ensure!(!is_gated(&pod) && images(&pod) == [expected], "{name}: {pod}");
    }
    let pod: Value = serde_json::from_str(&create("other", IMAGE).await?.ok()?)?;
    ensure!(is_gated(&pod), "{pod}");
    // The first evaluation changes no pod that states the digest, so the policy is not called again.
    let said = create("strip", &pinned(IMAGE, 'a')).await?.denied()?;
    ensure!(said.contains("names images by tag"), "{said}");
    Ok(())
}

pub async fn i5_pods_by_tag_start_without_an_operator_but_not_without_the_policy_that_pins() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let assent = Assent::install(&cluster).await?;
    let scene = Scenario::new(&cluster, "tags-unguarded", "minimal").await?;
    scene.apply(Admin, &scene.version("v1", &with_image(&pinned(IMAGE, 'a')))).await?;
    scene.is_cleared("v1").await?;
    cleared(&scene, &pod_spec(&with_image(IMAGE))).await?;
    assent.operator().kill();
    // An outage of the operator stops no approved pod.
    scene.apply(Dev, &scene.deployment("scorer", &with_image(IMAGE))).await?;
    run_with(&scene, "scorer", 2, &[pinned(IMAGE, 'a')]).await?;
    cluster.kubectl(Admin, &["delete", "mutatingadmissionpolicy", "assent-gate"]).await?.ok()?;
    let pod = scene.pod("by-tag", &with_image(IMAGE)).to_string();
    let said = until(SOON, "the policy to be gone", async || {
        let dry = ["create", "--dry-run=server", "-f", "-"];
        Ok(cluster.kubectl_stdin(Dev, &dry, &pod).await?.denied().ok())
    })
    .await?;
    ensure!(said.contains("assent-pod-create") && said.contains("names images by tag"), "{said}");
    let by_digest = scene.pod("by-digest", &with_image(&pinned(IMAGE, 'a')));
    scene.apply(Dev, &by_digest).await
}

pub async fn i3_held_pods_with_a_volume_by_tag_are_replaced(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "tags-volume", "high").await?;
    let spec = |digest: &str| {
        let mut spec = pod_spec(&container("1"));
        spec["volumes"] =
            json!([{ "name": "weights", "image": { "reference": format!("weights:1{digest}") } }]);
        spec
    };
    let approved = spec(&format!("@{}", digest('a')));
    let version = json!({ "containers": approved["containers"], "volumes": approved["volumes"] });
    scene.apply(Admin, &scene.version_of("v1", &version)).await?;
    scene.apply(Dev, &scene.workload("apps/v1", "Deployment", "scorer", &spec(""))).await?;
    scene.apply(Dev, &scene.workload("v1", "Pod", "bare", &spec(""))).await?;
    scene.held("scorer", 2).await?;
    scene.held("bare", 1).await?;
    scene.approve("v1").await?;
    let expected = images(&json!({ "spec": approved }));
    run_with(&scene, "scorer", 2, &expected).await?;
    until(SOON, "the next command for the bare pod", async || {
        let events = scene.list("events.v1.events.k8s.io").await?;
        let is = |event: &Value| {
            event["regarding"]["name"] == "bare"
                && event["note"].as_str().is_some_and(|note| note.contains("kubectl delete pod bare"))
        };
        Ok(events.iter().any(is).then_some(()))
    })
    .await
}

pub async fn running_pods_by_tag_stop_when_their_namespace_enforces(cluster: &ControlPlane) -> Result<()> {
    let mode = json!({ "assent.dev/mode": "warn" });
    let scene = Scenario::governed_by(cluster, "tags-enforced", "limited", &mode).await?;
    level(&scene, "tags-enforced", &json!({ "gracePeriodSeconds": 10 })).await?;
    scene.publish("v1", &with_image(&pinned(IMAGE, 'a'))).await?;
    approve_alone(&scene).await?;
    let deployment = scene.deployment("scorer", &with_image(IMAGE));
    until(SOON, "a Deployment by tag to get no warning", async || {
        let dry = ["create", "--dry-run=server", "-f", "-"];
        let said = cluster.kubectl_stdin(Dev, &dry, &deployment.to_string()).await?;
        Ok((!said.stderr.contains("would be held")).then_some(()))
    })
    .await?;
    scene.apply(Dev, &deployment).await?;
    run_with(&scene, "scorer", 2, &[IMAGE.to_owned()]).await?;
    let said = scene.assent(Dev, &["status", "--as-if-enforced", "-o=json"]).await?.ok()?;
    ensure!(said.contains("only a new pod gets"), "{said}");
    let mut idle = scene.workload("batch/v1", "CronJob", "idle", &pod_spec(&with_image(IMAGE)));
    idle["spec"]["schedule"] = json!("0 0 1 1 *");
    scene.apply(Dev, &idle).await?;
    let said = scene.assent(Dev, &["status", "--as-if-enforced", "-o=json"]).await?.ok()?;
    ensure!(!said.contains("CronJob"), "its pods would be pinned: {said}");
    let label = format!("namespace/{}", scene.namespace);
    cluster.kubectl(Admin, &["label", "--overwrite", &label, "assent.dev/mode=enforce"]).await?.ok()?;
    until(Duration::from_secs(90), "pinned pods in place of the pods by tag", async || {
        let pods = scene.pods("scorer").await?;
        let all = pods.iter().all(|pod| images(pod) == [pinned(IMAGE, 'a')]);
        Ok((all && pods.len() == 2).then_some(()))
    })
    .await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn i3_a_scaled_down_workload_starts_with_a_new_digest_of_its_tag(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "tags-scaled", "high").await?;
    level(&scene, "tags-scaled", &json!({ "mode": "ScaleDown", "gracePeriodSeconds": 60 })).await?;
    let approve = async |version: &str| {
        let digest = scene.digest_of(version).await?;
        scene.decide(Person::Alice, &scene.decision("Approve", version, &digest, "risk-officer")).await?;
        scene.is_cleared(version).await
    };
    scene.publish("v1", &with_image(&pinned(IMAGE, 'a'))).await?;
    approve("v1").await?;
    scene.apply(Dev, &scene.deployment("scorer", &with_image(IMAGE))).await?;
    run_with(&scene, "scorer", 2, &[pinned(IMAGE, 'a')]).await?;
    revoke(&scene, "v1").await?;
    replicas(&scene, "deployment", "scorer", 0).await?;
    scene.publish("v2", &with_image(&pinned(IMAGE, 'b'))).await?;
    approve("v2").await?;
    run_with(&scene, "scorer", 2, &[pinned(IMAGE, 'b')]).await
}

pub async fn before_mutating_policies_a_pod_by_tag_is_refused_with_the_command_that_pins() -> Result<()> {
    let cluster = ControlPlane::start_with(Options::default().without_mutation()).await?;
    let _assent = Assent::install(&cluster).await?;
    let scene = Scenario::new(&cluster, "tags-refused", "minimal").await?;
    scene.apply(Admin, &scene.version("v1", &with_image(&pinned(IMAGE, 'a')))).await?;
    scene.is_cleared("v1").await?;
    scene.apply(Dev, &scene.deployment("scorer", &with_image(IMAGE))).await?;
    let said = until(SOON, "the refusal of the pods", async || {
        let events = scene.list("events").await?;
        let refused = events.iter().find(|event| {
            event["reason"] == "FailedCreate"
                && event["message"].as_str().is_some_and(|said| said.contains("names images by tag"))
        });
        Ok(refused.map(|event| event["message"].as_str().unwrap_or_default().to_owned()))
    })
    .await?;
    ensure!(scene.list("pods").await?.is_empty(), "the API server accepted pods by tag");
    let explained = scene.assent(Dev, &["explain", "deployment/scorer", "-o=json"]).await?.ok()?;
    ensure!(explained.contains("Kubernetes before 1.36 does not add them"), "{explained}");
    let command = said.split("kubectl set image").nth(1).context("no command")?;
    let command = command.split("; see").next().unwrap_or_default();
    let words: Vec<&str> = command.split_whitespace().collect();
    ensure!(words.first() == Some(&"deployment/scorer"), "{said}");
    cluster.kubectl(Dev, &[&["set", "image"], &words[..]].concat()).await?.ok()?;
    run_with(&scene, "scorer", 2, &[pinned(IMAGE, 'a')]).await
}
