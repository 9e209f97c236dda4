//! The size of a Clearance is limited. If the Clearance is full, new systems and versions do not end the clearance of
//! running pods in the same namespace. A revocation still stops pods.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, until};
use serde_json::{Value, json};

use Person::{Admin, Alice, Dev};

async fn running<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    running_with(cluster, name, &container("1")).await
}

async fn running_with<'a>(cluster: &'a ControlPlane, name: &str, container: &Value) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    scene.clear("v1", container).await?;
    scene.apply(Dev, &scene.deployment("scorer", container)).await?;
    scene.running("scorer", 2).await?;
    Ok(scene)
}

/// Returns a container with long arguments of ampersands. In storage, the arguments need six times their length,
/// because Go escapes ampersands in JSON.
fn ampersands(name: &str, arguments: usize) -> Value {
    let mut container = container(name);
    container["args"] = json!(vec!["&".repeat(16_000); arguments]);
    container
}

async fn runs_until_it_is_revoked(scene: &Scenario<'_>) -> Result<()> {
    scene.is_cleared("v1").await?;
    scene.kubectl(Dev, &["scale", "deployment/scorer", "--replicas=3"]).await?;
    scene.running("scorer", 3).await?;
    revoke(scene, "v1").await?;
    scene.held("scorer", 3).await.map(drop)
}

async fn revoke(scene: &Scenario<'_>, version: &str) -> Result<()> {
    let digest = scene.digest_of(version).await?;
    scene.decide(Alice, &scene.decision("Revoke", version, &digest, "risk-officer")).await?;
    scene.condition("modelversion", version, "Cleared", "False", "Revoked").await.map(drop)
}

fn system(scene: &Scenario<'_>, name: &str, level: &str) -> Value {
    let mut system = scene.system(level);
    system["metadata"]["name"] = json!(name);
    system
}

fn version(scene: &Scenario<'_>, system: &str, name: &str, container: &Value) -> Value {
    let mut version = scene.version(name, container);
    version["spec"]["system"] = json!(system);
    version
}

async fn create(scene: &Scenario<'_>, items: &[Value]) -> Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    scene.cluster.kubectl_stdin(Admin, &["create", "-f", "-"], &list).await?.ok().map(drop)
}

/// Returns the size of the Clearance in bytes, in the JSON that the API server returns.
async fn stored(scene: &Scenario<'_>) -> Result<usize> {
    let path = format!("/apis/assent.dev/v1alpha1/namespaces/{}/clearances/clearance", scene.namespace);
    Ok(scene.cluster.kubectl(Admin, &["get", "--raw", &path]).await?.ok()?.trim_end().len())
}

fn cleared<'a>(clearance: &'a Value, system: &str) -> Vec<&'a str> {
    let cleared = clearance["spec"]["systems"][system]["cleared"].as_array();
    cleared.into_iter().flatten().filter_map(|v| v["modelVersion"].as_str()).collect()
}

pub async fn messages_full_of_ampersands_do_not_stop_a_revocation(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "ampersands").await?;
    for system_number in 0..5 {
        let name = format!("noise-{system_number}");
        let of = |v: usize| {
            let (mut first, mut second) = (container("1"), container("1"));
            // Each image without a digest adds a reason to the message. Two equal images would add only one reason, so
            // the images differ.
            (first["image"], second["image"]) = (json!("&".repeat(1000)), json!("&".repeat(999)));
            second["name"] = json!("other");
            let mut version =
                scene.version_of(&format!("{name}-{v}"), &json!({ "containers": [first, second] }));
            version["spec"]["system"] = json!(name);
            version
        };
        let items: Vec<_> =
            std::iter::once(system(&scene, &name, "limited")).chain((0..16).map(of)).collect();
        create(&scene, &items).await?;
    }
    scene.condition("modelversion", "noise-4-15", "Cleared", "False", "ImageNotPinned").await?;
    ensure!(stored(&scene).await? < 1_400 * 1024, "the Clearance is too large");
    runs_until_it_is_revoked(&scene).await
}

pub async fn a_system_beyond_the_limit_replaces_no_cleared_system(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "many-systems").await?;
    let systems: Vec<_> = (0..255).map(|n| system(&scene, &format!("n-{n:03}"), "minimal")).collect();
    create(&scene, &systems).await?;
    let full = async || {
        let clearance = scene.get("clearance", "clearance").await?;
        Ok(clearance["spec"]["systems"].as_object().filter(|systems| systems.len() == 256).map(drop))
    };
    until(SOON, "256 systems in the Clearance", full).await?;
    // In the order of names, the new system is the first. But in the Clearance, it may replace only a system without a
    // cleared version.
    create(
        &scene,
        &[system(&scene, "a-first", "minimal"), version(&scene, "a-first", "a-1", &container("1"))],
    )
    .await?;
    scene.is_cleared("a-1").await?;
    let clearance = scene.get("clearance", "clearance").await?;
    ensure!(cleared(&clearance, "scorer") == ["v1"], "{}", clearance["spec"]["systems"]["scorer"]);
    runs_until_it_is_revoked(&scene).await
}

pub async fn a_flood_of_large_versions_replaces_no_cleared_version(cluster: &ControlPlane) -> Result<()> {
    // v1 is larger than the space in the Clearance that the flood leaves. So v1 stays cleared only because it was
    // cleared before the flood.
    let scene = running_with(cluster, "large-flood", &ampersands("1", 2)).await?;
    for number in 0..4 {
        let name = format!("large-{number}");
        let of = |v: usize| {
            let version_name = format!("{name}-{v:02}");
            version(&scene, &name, &version_name, &ampersands(&version_name, 1))
        };
        let items: Vec<_> =
            std::iter::once(system(&scene, &name, "minimal")).chain((0..40).map(of)).collect();
        create(&scene, &items).await?;
    }
    let message =
        scene.condition("modelversion", "large-3-39", "Cleared", "False", "CapacityExceeded").await?;
    ensure!(message.contains("bytes of the Clearance"), message);
    let huge = ["huge-1", "huge-2"].map(|name| version(&scene, "large-0", name, &ampersands(name, 13)));
    create(&scene, &huge).await?;
    scene.condition("modelversion", "huge-2", "Cleared", "False", "CapacityExceeded").await?;
    let stored = stored(&scene).await?;
    ensure!(
        (900 * 1024..1_100 * 1024).contains(&stored),
        "the Clearance has {stored} bytes, expected about 1 MiB"
    );
    runs_until_it_is_revoked(&scene).await
}

/// Creates the largest version that etcd accepts. With a status, this version would be too large for etcd.
async fn create_largest(scene: &Scenario<'_>, name: &str) -> Result<()> {
    let mut large = container("2");
    for last in (0..6_200).rev().step_by(30) {
        let mut args = vec!["&".repeat(16_000); 16];
        args.push("&".repeat(last));
        large["args"] = json!(args);
        let manifest = scene.version(name, &large).to_string();
        if scene.cluster.kubectl_stdin(Dev, &["create", "-f", "-"], &manifest).await?.ok().is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!("every version was too large")
}

pub async fn a_status_that_cannot_be_written_blocks_no_other_status(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "odd-statuses").await?;
    let mut odd = container("2");
    odd["image"] = json!("registry.example/a\u{80}b\u{9f}:1");
    scene.apply(Dev, &scene.version("odd", &odd)).await?;
    let message = scene.condition("modelversion", "odd", "Cleared", "False", "ImageNotPinned").await?;
    ensure!(message.contains("registry.example/a\u{fffd}b\u{fffd}:1"), message);
    let mut padded = scene.version("padded", &container("3"));
    padded["metadata"]["annotations"] = json!({ "padding": "x".repeat(200_000) });
    create(&scene, &[padded]).await?;
    create_largest(&scene, "huge").await?;
    runs_until_it_is_revoked(&scene).await?;
    scene.condition("aisystem", "scorer", "Cleared", "False", "AwaitingApproval").await.map(drop)
}

pub async fn the_operator_retries_a_refused_clearance_with_a_smaller_one(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = running(cluster, "takes-less").await?;
    // The API server refuses each Clearance with a withheld version. To the operator, this looks like a Clearance that
    // is too large for etcd.
    let no_withheld_version =
        "object.spec.systems.all(s, object.spec.systems[s].?withheld.orValue([]).size() == 0)";
    scene.refuse_clearances_unless(no_withheld_version, "it is too large for this test").await?;
    scene.publish("v2", &container("2")).await?;
    let note = scene.event("Clearance", "clearance", "ClearanceReduced").await?;
    for words in ["stored only a smaller Clearance", "it is too large for this test"] {
        ensure!(note.contains(words), "{words:?} is missing in: {note}");
    }
    runs_until_it_is_revoked(&scene).await
}

pub async fn a_pod_of_the_last_of_many_large_versions_starts(cluster: &ControlPlane) -> Result<()> {
    const VERSIONS: usize = 32;
    let scene = Scenario::new(cluster, "cost", "minimal").await?;
    let trusted: Vec<_> = (0..32).map(|n| json!({ "name": format!("PLATFORM_{n}"), "value": "x" })).collect();
    let sidecar = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "TrustedSidecar", "metadata": { "name": "costly" },
        "spec": { "env": trusted } });
    scene.apply(Admin, &sidecar).await?;
    let large = |version: usize| {
        let variable = |n: usize| {
            let value = if n == 99 { format!("value-{version}") } else { "value".to_owned() };
            json!({ "name": format!("SETTING_{n}"), "value": value })
        };
        let mut container = container("1");
        container["env"] = (0..100).map(variable).collect();
        container
    };
    let vary: Vec<_> = (0..64).map(|n| format!("FREE_{n}")).collect();
    for v in 0..VERSIONS {
        let mut container = large(v);
        container["mayVary"] = json!({ "env": vary });
        scene.apply(Dev, &scene.version(&format!("v{v:02}"), &container)).await?;
    }
    let message = scene.condition("modelversion", "v31", "Cleared", "False", "CapacityExceeded").await?;
    ensure!(message.contains("of the API server's cost limit"), message);
    let clearance = scene.get("clearance", "clearance").await?;
    let cleared = cleared(&clearance, "scorer");
    ensure!((4..VERSIONS).contains(&cleared.len()), "{cleared:?} are cleared");
    // The policy compares a pod with the versions in their order, so a pod of the last version has the highest cost.
    // The pods below have every variable that they may have.
    for version in [cleared[0], cleared[cleared.len() - 1]] {
        let mut container = large(version.trim_start_matches('v').parse()?);
        let free = vary.iter().map(|name| json!({ "name": name, "value": "y" }));
        let added: Vec<_> = free.chain(trusted.iter().cloned()).collect();
        container["env"].as_array_mut().into_iter().for_each(|env| env.extend(added.clone()));
        // A pod by tag costs more than a pod by digest.
        let image = container["image"].as_str().and_then(|image| image.split('@').next()).map(str::to_owned);
        container["image"] = json!(image);
        scene.apply(Dev, &scene.pod(version, &container)).await?;
        scene.running_pod(version).await?;
    }
    // The comparison of an uncleared pod stays below the cost limit too. So the API server holds this pod and does not
    // refuse it.
    let mut other = large(VERSIONS + 1);
    other["env"].as_array_mut().into_iter().for_each(|env| env.extend(trusted.iter().cloned()));
    scene.apply(Dev, &scene.pod("other", &other)).await?;
    let held = scene.get("pod", "other").await?;
    ensure!(held["metadata"]["labels"]["assent.dev/held"] == "true", "the pod is not held: {held}");
    scene.cluster.kubectl(Admin, &["delete", "trustedsidecar/costly"]).await?.ok().map(drop)
}

/// The operator estimates the cost of the comparison with each version, and withholds versions beyond the limit. The
/// estimate covers placeholders. So a pod of the last cleared version starts, even with the longest values of the
/// placeholders.
pub async fn a_pod_of_the_last_of_many_versions_with_placeholders_starts(
    cluster: &ControlPlane,
) -> Result<()> {
    const VERSIONS: usize = 32;
    let scene = Scenario::new(cluster, "cost-of-placeholders", "minimal").await?;
    let with = |version: usize, peer: &str| {
        let mut container = container("1");
        let peers = (0..24).map(|n| format!("--peer-{n}={peer}"));
        container["args"] = peers.chain([format!("--version={version}")]).collect();
        container
    };
    for v in 0..VERSIONS {
        let mut container = with(v, "<host:port>");
        let entries: Vec<_> = (0..8).map(|n| format!("LEADER_{n}=<host>")).collect();
        container["mayVary"] = json!({ "env": entries });
        let runtime = json!({ "containers": [container], "placeholders": ["host", "host:port"] });
        scene.apply(Dev, &scene.version_of(&format!("v{v:02}"), &runtime)).await?;
    }
    let message = scene.condition("modelversion", "v31", "Cleared", "False", "CapacityExceeded").await?;
    ensure!(message.contains("of the API server's cost limit"), message);
    let clearance = scene.get("clearance", "clearance").await?;
    let cleared = cleared(&clearance, "scorer");
    ensure!((4..VERSIONS).contains(&cleared.len()), "{cleared:?} are cleared");
    let host = "a".repeat(253);
    for version in [cleared[0], cleared[cleared.len() - 1]] {
        let mut container = with(version.trim_start_matches('v').parse()?, &format!("{host}:65535"));
        let leaders = (0..8).map(|n| json!({ "name": format!("LEADER_{n}"), "value": host }));
        container["env"].as_array_mut().into_iter().for_each(|env| env.extend(leaders.clone()));
        scene.apply(Dev, &scene.pod(version, &container)).await?;
        scene.running_pod(version).await?;
    }
    Ok(())
}

pub async fn a_milder_level_does_not_keep_uncleared_pods_running(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "milder-level", "high").await?;
    let level = async |name: &str, on_loss: Value| {
        let mut level = scene.get("risklevel", "limited").await?;
        level["metadata"] = json!({ "name": name });
        level["spec"]["onLoss"] = on_loss;
        scene.apply(Admin, &level).await
    };
    level("milder-watch", json!({ "mode": "Audit" })).await?;
    level("milder-stop", json!({ "mode": "Evict", "gracePeriodSeconds": 20 })).await?;
    let on_loss = async |mode: &str| {
        let is = async || {
            let clearance = scene.get("clearance", "clearance").await?;
            let system = &clearance["spec"]["systems"]["scorer"];
            ensure!(system["onLoss"]["mode"] == mode, "onLoss is {}", system["onLoss"]);
            Ok(Some(()))
        };
        until(Duration::from_mins(2), &format!("the mode {mode} of the system"), is).await
    };
    let approve = async || {
        // An approval in the same second as a revocation does not count. So the test waits for the next second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let digest = scene.digest_of("v1").await?;
        scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
        scene.is_cleared("v1").await
    };
    scene.apply(Admin, &scene.system("milder-stop")).await?;
    scene.publish("v1", &container("1")).await?;
    approve().await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;

    // The change of the level ends the clearance. The running pods still stop in the mode of the earlier level.
    scene.apply(Admin, &scene.system("milder-watch")).await?;
    scene.held("scorer", 2).await?;
    // When no pod runs any more, the milder level takes effect.
    on_loss("Audit").await?;
    approve().await?;
    scene.running("scorer", 2).await?;
    revoke(&scene, "v1").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.running("scorer", 2).await?;

    // A stricter level takes effect at once, also for running pods without clearance.
    scene.apply(Admin, &scene.system("milder-stop")).await?;
    scene.held("scorer", 2).await?;
    on_loss("Evict").await?;

    // If a user deletes the system and creates it again with a milder level, the running pods still stop in the mode of
    // the earlier level.
    approve().await?;
    scene.running("scorer", 2).await?;
    scene.kubectl(Admin, &["delete", "aisystem/scorer"]).await?;
    scene.apply(Admin, &scene.system("milder-watch")).await?;
    scene.held("scorer", 2).await.map(drop)
}
