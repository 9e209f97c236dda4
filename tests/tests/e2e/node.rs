//! Tests that need a real kubelet, because the simulated nodes run no containers.
//!
//! A container in the mode `stubborn` ignores SIGTERM. So it runs until the end of the termination grace period of its
//! pod.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assent_tests::{Assent, ControlPlane, NODE, Node, PORT, Person, SOON, Scenario, digest, pod_spec, until};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use Person::{Admin, Alice, Dev};

/// The grace period of the level in seconds. This is the longest time from the loss of the clearance to the end of the
/// last container.
const GRACE: u32 = 10;

/// The extra time that a busy machine may need.
const SLACK: Duration = Duration::from_secs(3);

async fn scene<'a>(cluster: &'a ControlPlane, name: &str, labels: &Value) -> Result<Scenario<'a>> {
    let scene = Scenario::governed_by(cluster, name, "limited", labels).await?;
    let mut level = scene.get("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": name });
    level["spec"]["onLoss"] = json!({ "gracePeriodSeconds": GRACE });
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system(name)).await?;
    Ok(scene)
}

async fn enforced<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    scene(cluster, name, &json!({ "assent.dev/mode": "enforce" })).await
}

/// Returns the manifest of a Deployment of two pods on the real node. The manifest states a termination grace period of
/// ten minutes.
fn deployment(scene: &Scenario<'_>, container: &Value) -> Value {
    let mut spec = pod_spec(container);
    spec["terminationGracePeriodSeconds"] = json!(600);
    Node::place(&mut spec);
    scene.workload("apps/v1", "Deployment", "scorer", &spec)
}

async fn decide(scene: &Scenario<'_>, decision: &str, version: &str) -> Result<()> {
    let digest = scene.digest_of(version).await?;
    scene.decide(Alice, &scene.decision(decision, version, &digest, "risk-officer")).await.map(drop)
}

async fn clear(scene: &Scenario<'_>, version: &str, container: &Value) -> Result<()> {
    scene.publish(version, container).await?;
    decide(scene, "Approve", version).await?;
    scene.is_cleared(version).await
}

async fn run(scene: &Scenario<'_>, node: &Node, count: usize) -> Result<()> {
    until(SOON, &format!("{count} running containers"), async || {
        let running = node.running(&scene.namespace).await?;
        ensure!(running.len() == count, "these containers run: {running:?}");
        Ok(Some(()))
    })
    .await
}

/// Waits until no container of the namespace runs. Fails if the last container ends later than `seconds` plus [`SLACK`]
/// after `begin`.
async fn end_within(scene: &Scenario<'_>, node: &Node, begin: Instant, seconds: u32) -> Result<()> {
    run(scene, node, 0).await?;
    let took = begin.elapsed();
    let most = Duration::from_secs(seconds.into()) + SLACK;
    ensure!(took <= most, "the last container ended after {took:.1?}, not within {most:?}");
    Ok(())
}

async fn read_from_pod(pod: &Value, path: &str) -> Result<String> {
    let address = pod["status"]["podIP"].as_str().context("the pod has no address")?;
    // The kubelet reports that a container runs before the server in the container listens.
    let connected =
        until(SOON, "the server in the pod", async || Ok(Some(TcpStream::connect((address, PORT)).await?)));
    let mut stream = connected.await?;
    let request = format!("GET /?p={path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub async fn i1_i2_i3_containers_start_and_end_with_the_clearance(
    cluster: &ControlPlane,
    node: &Node,
) -> Result<()> {
    let scene = enforced(cluster, "node-life").await?;
    let container = node.container("stubborn", "1");
    scene.publish("v1", &container).await?;
    scene.apply(Dev, &deployment(&scene, &container)).await?;
    scene.held("scorer", 2).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    run(&scene, node, 0).await.context("a container that is not approved runs")?;

    decide(&scene, "Approve", "v1").await?;
    run(&scene, node, 2).await?;
    scene.running("scorer", 2).await?;
    let pods = scene.pods("scorer").await?;
    for pod in &pods {
        ensure!(pod["spec"]["terminationGracePeriodSeconds"] == GRACE / 2, "{}", pod["spec"]);
        ensure!(pod["status"]["containerStatuses"][0]["imageID"] == json!(node.image), "{}", pod["status"]);
        let name = pod["metadata"]["name"].as_str().context("a name")?;
        let answer = read_from_pod(pod, "/etc/hostname").await.context("the pod does not serve")?;
        ensure!(answer.contains(name), "another pod answers at this address: {answer}");
    }

    let begin = Instant::now();
    decide(&scene, "Revoke", "v1").await?;
    end_within(&scene, node, begin, GRACE).await?;
    for pod in &pods {
        // A pod of another test can have the address of the revoked pod now. So only a response with the name of the
        // revoked pod is an error.
        let name = pod["metadata"]["name"].as_str().context("a name")?;
        let answer = read_from_pod(pod, "/etc/hostname").await;
        ensure!(!answer.is_ok_and(|answer| answer.contains(name)), "a revoked pod still serves: {name}");
    }
    scene.held("scorer", 2).await?;

    // An approval counts only if it is created in a later second than the revocation before it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    decide(&scene, "Approve", "v1").await?;
    run(&scene, node, 2).await?;
    scene.running("scorer", 2).await.map(drop)
}

/// The approved runtime does not contain the resources of a container, so a resize needs no approval.
pub async fn a_running_pod_is_resized_in_place(cluster: &ControlPlane, node: &Node) -> Result<()> {
    let scene = enforced(cluster, "node-resize").await?;
    let mut container = node.container("stubborn", "1");
    clear(&scene, "v1", &container).await?;
    container["resources"] = json!({ "requests": { "cpu": "10m" } });
    scene.apply(Dev, &deployment(&scene, &container)).await?;
    run(&scene, node, 2).await?;
    let pod = scene.pods("scorer").await?[0]["metadata"]["name"].as_str().context("a name")?.to_owned();
    let more = json!({ "spec": { "containers": [{ "name": container["name"],
        "resources": { "requests": { "cpu": "20m" } } }] } });
    let patch = ["patch", "pod", &pod, "--subresource=resize", "-p", &more.to_string()];
    scene.kubectl(Dev, &patch).await?;
    until(SOON, "the node to allocate the resources", async || {
        let pod = scene.get("pod", &pod).await?;
        let allocated = &pod["status"]["containerStatuses"][0]["allocatedResources"]["cpu"];
        ensure!(allocated == "20m", "{}", pod["status"]);
        Ok(Some(()))
    })
    .await?;
    run(&scene, node, 2).await?;
    ensure!(
        scene.get("pod", &pod).await?["metadata"]["labels"]["assent.dev/held"].is_null(),
        "the resized pod is held"
    );
    Ok(())
}

/// During a rollout, the Deployment controller deletes the old pods with the grace period that these pods state. In
/// this time, people revoke both versions.
pub async fn i2_a_revocation_during_a_rollout_stops_the_old_containers_in_time(
    cluster: &ControlPlane,
    node: &Node,
) -> Result<()> {
    let scene = enforced(cluster, "node-rollout").await?;
    let (one, two) = (node.container("stubborn", "1"), node.container("stubborn", "2"));
    clear(&scene, "v1", &one).await?;
    clear(&scene, "v2", &two).await?;
    scene.apply(Dev, &deployment(&scene, &one)).await?;
    scene.running("scorer", 2).await?;
    scene.apply(Dev, &deployment(&scene, &two)).await?;
    until(SOON, "an old pod to be deleted", async || {
        let pods = scene.list("pods").await?;
        Ok(pods.iter().any(|pod| pod["metadata"]["deletionTimestamp"].is_string()).then_some(()))
    })
    .await?;
    let begin = Instant::now();
    decide(&scene, "Revoke", "v1").await?;
    decide(&scene, "Revoke", "v2").await?;
    end_within(&scene, node, begin, GRACE).await
}

/// A user deletes a pod just before the revocation, with the longest grace period that Assent allows.
pub async fn i2_a_deletion_just_before_a_revocation_does_not_delay_the_stop(
    cluster: &ControlPlane,
    node: &Node,
) -> Result<()> {
    let scene = enforced(cluster, "node-deleted").await?;
    let container = node.container("stubborn", "1");
    clear(&scene, "v1", &container).await?;
    let mut spec = pod_spec(&container);
    Node::place(&mut spec);
    scene.apply(Dev, &scene.workload("v1", "Pod", "scorer", &spec)).await?;
    scene.running_pod("scorer").await?;
    let delete = |grace: u32| format!("--grace-period={grace}");
    let said = scene.denied(Dev, &["delete", "pod", "scorer", &delete(GRACE / 2 + 1)]).await?;
    ensure!(said.contains("allows at most 5 s"), "{said}");
    run(&scene, node, 1).await?;

    scene.kubectl(Dev, &["delete", "pod", "scorer", "--wait=false", &delete(GRACE / 2)]).await?;
    let begin = Instant::now();
    decide(&scene, "Revoke", "v1").await?;
    // The kubelet already stops the pod and would ignore a shorter grace period. So the operator must not shorten the
    // grace period of this deletion.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pod = scene.get("pod", "scorer").await?;
    ensure!(pod["metadata"]["deletionGracePeriodSeconds"] == GRACE / 2, "{}", pod["metadata"]);
    end_within(&scene, node, begin, GRACE).await
}

/// A kubelet does not shorten a deletion that has begun. Here, a user deletes the pod before the namespace gets the
/// mode `enforce`. An Event names this cause of the late end.
pub async fn a_deletion_in_progress_is_not_shortened_and_its_cause_is_reported(
    cluster: &ControlPlane,
    node: &Node,
) -> Result<()> {
    const LONG: u32 = 25;
    let scene = scene(cluster, "node-fixed", &json!({})).await?;
    let mut spec = pod_spec(&node.container("stubborn", "1"));
    Node::place(&mut spec);
    scene.apply(Dev, &scene.workload("v1", "Pod", "scorer", &spec)).await?;
    scene.running_pod("scorer").await?;
    let begin = Instant::now();
    scene
        .kubectl(Dev, &["delete", "pod", "scorer", "--wait=false", &format!("--grace-period={LONG}")])
        .await?;
    scene.kubectl(Admin, &["label", "namespace", "node-fixed", "assent.dev/mode=enforce"]).await?;
    let message = scene.event("Pod", "scorer", "StopOverdue").await?;
    let fixed = format!("it was deleted with a grace period of {LONG} s before Assent could stop it");
    ensure!(message.contains(&fixed) && message.contains(&format!("node {NODE} ends it at ")), "{message}");
    ensure!(!message.contains("has not confirmed"), "the Event blames the kubelet: {message}");
    run(&scene, node, 1).await?;
    let end = Duration::from_secs(LONG.into());
    run(&scene, node, 0).await?;
    ensure!(
        begin.elapsed() + SLACK >= end,
        "the node shortened the deletion: it ended after {:?}",
        begin.elapsed()
    );
    Ok(())
}

/// Kubernetes accepts any number of seconds as a grace period. The numbers in this test overflow when Kubernetes
/// converts them to nanoseconds, so a policy of Assent must refuse them.
pub async fn i2_a_grace_that_overflows_is_refused(cluster: &ControlPlane, node: &Node) -> Result<()> {
    let scene = enforced(cluster, "node-overflow").await?;
    let container = node.container("stubborn", "1");
    clear(&scene, "v1", &container).await?;
    let mut spec = pod_spec(&container);
    Node::place(&mut spec);
    scene.apply(Dev, &scene.workload("v1", "Pod", "scorer", &spec)).await?;
    scene.running_pod("scorer").await?;
    for grace in ["18445744073", "18446744673", "9223372036854775807"] {
        let said =
            scene.denied(Dev, &["delete", "pod", "scorer", &format!("--grace-period={grace}")]).await?;
        ensure!(said.contains("allows at most 5 s"), "{grace}: {said}");
    }
    let begin = Instant::now();
    decide(&scene, "Revoke", "v1").await?;
    end_within(&scene, node, begin, GRACE).await
}

pub async fn an_image_volume_has_the_approved_content(cluster: &ControlPlane, node: &Node) -> Result<()> {
    let scene = enforced(cluster, "node-volume").await?;
    let mut server = node.container("serve", "1");
    server["volumeMounts"] = json!([{ "name": "models", "mountPath": "/models", "readOnly": true }]);
    let volumes = json!([{ "name": "models", "image": { "reference": node.models } }]);
    let runtime = json!({ "containers": [server], "volumes": volumes });
    scene.apply(Admin, &scene.version_of("v1", &runtime)).await?;
    let mut spec = pod_spec(&server);
    spec["volumes"] = volumes;
    Node::place(&mut spec);
    scene.apply(Dev, &scene.workload("apps/v1", "Deployment", "scorer", &spec)).await?;
    scene.held("scorer", 2).await?;
    run(&scene, node, 0).await?;
    decide(&scene, "Approve", "v1").await?;
    scene.running("scorer", 2).await?;
    for pod in scene.pods("scorer").await? {
        let answer = read_from_pod(&pod, "/models/a/config.json").await?;
        ensure!(answer.ends_with(r#"{"from":"image"}"#), "{answer}");
    }
    Ok(())
}

/// `terminationMessagePath` replaces a file in the container, and `hostnameOverride` changes `/etc/hosts`. So a pod
/// with one of these fields does not match the approved runtime.
pub async fn a_pod_with_a_field_that_replaces_image_files_is_held(
    cluster: &ControlPlane,
    node: &Node,
) -> Result<()> {
    type Change = fn(&mut Value);
    let free = scene(cluster, "node-files-free", &json!({})).await?;
    let strict = enforced(cluster, "node-files").await?;
    let container = node.container("serve", "1");
    clear(&strict, "v1", &container).await?;
    let pod = |scene: &Scenario<'_>, name: &str, change: Change| {
        let mut spec = pod_spec(&container);
        Node::place(&mut spec);
        change(&mut spec);
        scene.workload("v1", "Pod", name, &spec)
    };
    let cases: [(&str, Change); 3] = [
        ("plain", |_| {}),
        ("message", |spec| spec["containers"][0]["terminationMessagePath"] = json!("/etc/rules")),
        ("hostname", |spec| spec["hostnameOverride"] = json!("models.example")),
    ];
    for (name, change) in cases {
        free.apply(Dev, &pod(&free, name, change)).await?;
        strict.apply(Dev, &pod(&strict, name, change)).await?;
        free.running_pod(name).await?;
        let runs = free.get("pod", name).await?;
        let (rules, hosts) =
            (read_from_pod(&runs, "/etc/rules").await?, read_from_pod(&runs, "/etc/hosts").await?);
        ensure!(rules.ends_with("approved") == (name != "message"), "{name}: {rules}");
        ensure!(hosts.contains("models.example") == (name == "hostname"), "{name}: {hosts}");
    }
    strict.running_pod("plain").await?;
    for name in ["message", "hostname"] {
        let held = strict.get("pod", name).await?;
        ensure!(held["metadata"]["labels"]["assent.dev/held"] == "true", "{name} is not held: {held}");
    }
    run(&strict, node, 1).await
}

pub async fn i2_i3_a_workload_stopped_as_a_whole_ends_and_starts_its_containers(
    cluster: &ControlPlane,
    node: &Node,
) -> Result<()> {
    let scene = enforced(cluster, "node-whole").await?;
    let mut level = scene.get("risklevel", "node-whole").await?;
    level["metadata"] = json!({ "name": "node-whole" });
    level["spec"]["onLoss"]["mode"] = json!("ScaleDown");
    scene.apply(Admin, &level).await?;
    let container = node.container("stubborn", "1");
    clear(&scene, "v1", &container).await?;
    let mut spec = pod_spec(&container);
    Node::place(&mut spec);
    scene.apply(Dev, &deployment(&scene, &container)).await?;
    scene.apply(Dev, &scene.workload("batch/v1", "Job", "job", &spec)).await?;
    run(&scene, node, 3).await?;
    let begin = Instant::now();
    decide(&scene, "Revoke", "v1").await?;
    end_within(&scene, node, begin, GRACE).await?;
    ensure!(
        scene.get("deployment", "scorer").await?["spec"]["replicas"] == 0,
        "the Deployment is not scaled to zero"
    );
    ensure!(scene.get("job", "job").await?["spec"]["suspend"] == true, "the Job is not suspended");
    tokio::time::sleep(Duration::from_secs(1)).await;
    decide(&scene, "Approve", "v1").await?;
    run(&scene, node, 3).await
}

pub async fn capture_names_the_digest_that_a_kubelet_reports(
    cluster: &ControlPlane,
    node: &Node,
) -> Result<()> {
    let scene = scene(cluster, "node-capture", &json!({})).await?;
    let mut by_tag = node.container("serve", "1");
    by_tag["image"] = json!(node.tag);
    scene.apply(Dev, &deployment(&scene, &by_tag)).await?;
    scene.running("scorer", 2).await?;
    let said = scene.assent(Dev, &["capture", "deployment/scorer"]).await?;
    ensure!(said.stdout.contains(&by_tag_and_digest(node)?), "{said:?}");
    Ok(())
}

/// The image of the test program with its tag and its digest.
fn by_tag_and_digest(node: &Node) -> Result<String> {
    let (_, digest) = node.image.split_once('@').context("no digest")?;
    Ok(format!("{}@{digest}", node.tag))
}

pub async fn a_pod_by_tag_runs_only_the_approved_digest(cluster: &ControlPlane, node: &Node) -> Result<()> {
    let scene = enforced(cluster, "node-tags").await?;
    let by_tag = |image: &str, revision: &str| {
        let mut container = node.container("serve", revision);
        container["image"] = json!(image);
        container
    };
    // The node has an image with this tag, but people approved another digest.
    let other = format!("{}@{}", node.tag, digest('f'));
    clear(&scene, "v1", &by_tag(&other, "1")).await?;
    let mut moved = deployment(&scene, &by_tag(&node.tag, "1"));
    moved["metadata"]["name"] = json!("moved");
    scene.apply(Dev, &moved).await?;
    let waits = |pod: &Value| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        ["ErrImagePull", "ImagePullBackOff"].iter().any(|reason| waiting == reason)
    };
    until(SOON, "the node to look for the approved digest", async || {
        let pods = scene.list("pods").await?;
        Ok((pods.len() == 2 && pods.iter().all(waits)).then_some(()))
    })
    .await?;
    run(&scene, node, 0).await.context("a container with another digest runs")?;
    scene.kubectl(Dev, &["delete", "deployment", "moved"]).await?;
    clear(&scene, "v2", &by_tag(&by_tag_and_digest(node)?, "2")).await?;
    scene.apply(Dev, &deployment(&scene, &by_tag(&node.tag, "2"))).await?;
    run(&scene, node, 2).await?;
    scene.running("scorer", 2).await?;
    for pod in scene.pods("scorer").await? {
        ensure!(pod["spec"]["containers"][0]["image"] == json!(by_tag_and_digest(node)?), "{pod}");
        ensure!(pod["status"]["containerStatuses"][0]["imageID"] == json!(node.image), "{}", pod["status"]);
    }
    Ok(())
}

/// The API server and the operator are both down when the approval expires.
pub async fn i2_the_kubelet_alone_ends_expired_pods() -> Result<()> {
    let (cluster, assent, node) = stage().await?;
    let scene = enforced(&cluster, "node-deadman").await?;
    let mut level = scene.get("risklevel", "node-deadman").await?;
    level["metadata"] = json!({ "name": "node-deadman" });
    level["spec"]["onLoss"]["deadManSwitch"] = json!(true);
    scene.apply(Admin, &level).await?;
    let container = node.container("stubborn", "1");
    let digest = scene.publish("v1", &container).await?;
    let end = Timestamp::from_second(Timestamp::now().as_second() + 20)?;
    let mut approval = scene.decision("Approve", "v1", &digest, "risk-officer");
    approval["spec"]["notAfter"] = json!(end);
    scene.decide(Alice, &approval).await?;
    scene.apply(Dev, &deployment(&scene, &container)).await?;
    run(&scene, &node, 2).await?;
    until(SOON, "the pods to have a deadline", async || {
        let pods = scene.pods("scorer").await?;
        let carry = pods.iter().filter(|pod| pod["spec"]["activeDeadlineSeconds"].is_number());
        Ok((carry.count() == 2).then_some(()))
    })
    .await?;
    assent.operator().kill();
    cluster.kill(assent_tests::Component::ApiServer)?;
    let left = Duration::try_from(end.duration_since(Timestamp::now())).context("too slow for this test")?;
    ensure!(node.running(&scene.namespace).await?.len() == 2, "containers ended too early");
    // The containers ignore SIGTERM, so they run until the end of their termination grace period after the deadline.
    end_within(&scene, &node, Instant::now() + left, GRACE / 2).await
}

/// A pod has ended only when the kubelet of its node confirms the end. If this kubelet hangs, the Event `StopOverdue`
/// names the kubelet.
pub async fn i2_an_event_names_a_kubelet_that_confirms_nothing() -> Result<()> {
    let (cluster, _assent, node) = stage().await?;
    let scene = enforced(&cluster, "node-hangs").await?;
    let container = node.container("stubborn", "1");
    clear(&scene, "v1", &container).await?;
    scene.apply(Dev, &deployment(&scene, &container)).await?;
    scene.running("scorer", 2).await?;
    let name = scene.pods("scorer").await?[0]["metadata"]["name"].as_str().context("no name")?.to_owned();
    node.pause_kubelet()?;
    decide(&scene, "Revoke", "v1").await?;
    let message = scene.event("Pod", &name, "StopOverdue").await?;
    let blamed = format!("the kubelet of node {NODE} has not confirmed that the pod ended");
    ensure!(message.contains(&blamed), "{message}");
    ensure!(node.running(&scene.namespace).await?.len() == 2, "containers ended without the kubelet");
    node.resume_kubelet()?;
    end_within(&scene, &node, Instant::now(), GRACE).await?;
    scene.held("scorer", 2).await.map(drop)
}

async fn stage() -> Result<(ControlPlane, Assent, Node)> {
    let cluster = ControlPlane::start().await?;
    let assent = Assent::install(&cluster).await?;
    let node = Node::start(&cluster).await?;
    Ok((cluster, assent, node))
}
