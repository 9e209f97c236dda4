//! Attempts to bypass Assent. dev has the role cluster-admin in the namespace, so RBAC permits most requests of dev. A
//! policy must refuse these requests, or the pods must be held.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, NAMESPACE, Person, SOON, Scenario, container, digest, pod_spec, until};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use Person::{Admin, Alice, Bob, Carol, Dev};

/// The patch with which the operator releases a pod.
pub const LIFT: &str = r#"{"metadata":{"labels":{"assent.dev/held":null},"annotations":{"assent.dev/released":"mine"}},
"spec":{"schedulingGates":[{"$patch":"delete","name":"assent.dev/clearance"}]}}"#;

pub fn says(said: &str, words: &[&str]) -> Result<()> {
    words.iter().try_for_each(|word| {
        ensure!(said.contains(word), "{word:?} is missing in: {said}");
        Ok(())
    })
}

/// Creates a pod. Checks that the pod is held and that the operator has sent an Event about the pod.
async fn is_held(scene: &Scenario<'_>, pod: &Value) -> Result<()> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    scene.apply(Dev, pod).await?;
    let note = scene.event("Pod", name, "Held").await?;
    says(&note, &[&format!("kubectl assent explain pod/{name} -n {}", scene.namespace)])?;
    let pod = scene.get("pod", name).await?;
    ensure!(pod["metadata"]["labels"]["assent.dev/held"] == "true", "{name} is not held: {pod}");
    ensure!(pod["spec"]["nodeName"].is_null(), "{name} is bound to a node: {pod}");
    Ok(())
}

async fn cleared<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    scene.clear("v1", &container("1")).await?;
    Ok(scene)
}

pub async fn dev_cannot_remove_the_gate(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "removes-the-gate", "high").await?;
    is_held(&scene, &scene.pod("pod", &container("1"))).await?;
    let said = scene.denied(Dev, &["patch", "pod", "pod", "-p", LIFT]).await?;
    says(&said, &["only Assent lifts the gate", "kubectl assent explain pod/pod -n removes-the-gate"])?;
    let said =
        scene.denied(Dev, &["patch", "pod", "pod", "-p", LIFT, "--field-manager=assent-release"]).await?;
    says(&said, &["only Assent lifts the gate"])?;
    let said = scene.denied(Dev, &["label", "pod", "pod", "assent.dev/held-"]).await?;
    says(&said, &["assent.dev/held stays as long as the gate"])
}

pub async fn a_cluster_admin_cannot_remove_the_gate(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "admin-gate", "high").await?;
    is_held(&scene, &scene.pod("pod", &container("1"))).await?;
    let said = scene.denied(Admin, &["patch", "pod", "pod", "-p", LIFT]).await?;
    says(&said, &["only Assent lifts the gate", "once AI system scorer is approved"])
}

pub async fn a_pod_with_a_node_name_is_refused(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "node-name", "high").await?;
    let mut pod = scene.pod("pod", &container("1"));
    pod["spec"]["nodeName"] = json!("node-0");
    let said = scene.refused(Dev, &pod).await?;
    says(&said, &["sets spec.nodeName and is not cleared", "leave nodeName out", "kubectl assent explain"])?;
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "bound", "namespace": scene.namespace },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "node-0" } });
    is_held(&scene, &scene.pod("bound", &container("1"))).await?;
    let path = format!("/api/v1/namespaces/{}/pods/bound/binding", scene.namespace);
    let said = cluster
        .kubectl_stdin(Dev, &["create", "--raw", &path, "-f", "-"], &binding.to_string())
        .await?
        .denied()?;
    says(&said, &["has non-empty .spec.schedulingGates"])
}

pub async fn dev_cannot_remove_a_gate_that_dev_set(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "preset-gate", "high").await?;
    let mut pod = scene.pod("pod", &container("1"));
    pod["spec"]["schedulingGates"] = json!([{ "name": "assent.dev/clearance" }]);
    is_held(&scene, &pod).await?;
    let said = scene.denied(Dev, &["patch", "pod", "pod", "-p", LIFT]).await?;
    says(&said, &["only Assent lifts the gate"])?;
    // When the version is cleared, the operator also removes a gate that a user set.
    scene.clear("v1", &container("1")).await?;
    scene.running_pod("pod").await
}

pub async fn only_the_release_field_manager_lifts_a_gate(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "field-manager", "high").await?;
    is_held(&scene, &scene.pod("pod", &container("1"))).await?;
    scene
        .kubectl(Dev, &["annotate", "pod", "pod", "example.com/a=b", "--field-manager=assent-release"])
        .await?;
    let said = lift_as_operator(&scene, "pod", None).await?;
    says(&said, &["only the field manager assent-release may lift the gate"])
}

pub async fn dev_cannot_change_the_image_of_a_running_pod(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "swaps-image").await?;
    scene.apply(Dev, &scene.pod("pod", &container("1"))).await?;
    scene.running_pod("pod").await?;
    let image = format!("server=registry.example/other@{}", digest('b'));
    let said = scene.denied(Dev, &["set", "image", "pod/pod", &image]).await?;
    says(&said, &["does not change in place", "approve a ModelVersion with the new image"])
}

pub async fn dev_cannot_add_an_ephemeral_container(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "ephemeral").await?;
    scene.apply(Dev, &scene.pod("pod", &container("1"))).await?;
    scene.running_pod("pod").await?;
    let said =
        scene.denied(Dev, &["debug", "pod", "--image=other", "--attach=false", "--profile=general"]).await?;
    says(&said, &["an ephemeral container is not part of what was approved", "debug a copy"])
}

pub async fn dev_cannot_relabel_a_pod(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "relabels").await?;
    scene.apply(Dev, &scene.pod("pod", &container("1"))).await?;
    scene.running_pod("pod").await?;
    let said = scene.denied(Dev, &["label", "pod", "pod", "assent.dev/system=other", "--overwrite"]).await?;
    says(&said, &["label assent.dev/system of a pod does not change", "pod template"])?;
    let said = scene.denied(Dev, &["label", "pod", "pod", "assent.dev/system-"]).await?;
    says(&said, &["label assent.dev/system of a pod does not change"])
}

/// A request for the status of a pod can also change the labels of the pod. So the policies must check requests for the
/// status too.
pub async fn dev_cannot_relabel_a_pod_through_its_status(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "relabels-status").await?;
    let patch = async |pod: &str, label: &str, value: Value| {
        let labels = json!({ "metadata": { "labels": { label: value } } }).to_string();
        scene.denied(Dev, &["patch", "pod", pod, "--subresource=status", "-p", &labels]).await
    };
    scene.apply(Dev, &scene.pod("pod", &container("1"))).await?;
    scene.running_pod("pod").await?;
    let said = patch("pod", "assent.dev/system", json!("other")).await?;
    says(&said, &["label assent.dev/system of a pod does not change"])?;
    is_held(&scene, &scene.pod("held", &container("other"))).await?;
    let said = patch("held", "assent.dev/held", Value::Null).await?;
    says(&said, &["assent.dev/held stays as long as the gate"])
}

pub async fn a_pod_without_a_known_system_is_held(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "label-off").await?;
    let mut pod = scene.pod("pod", &container("1"));
    pod["metadata"]["labels"] = json!({});
    is_held(&scene, &pod).await?;
    says(&scene.event("Pod", "pod", "Held").await?, &["it has no label assent.dev/system"])?;
    pod["metadata"]["name"] = json!("other");
    pod["metadata"]["labels"] = json!({ "assent.dev/system": "nobodys" });
    is_held(&scene, &pod).await?;
    says(&scene.event("Pod", "other", "Held").await?, &["there is no AISystem nobodys"])
}

/// Checks that a pod with `change` is held. The Event must say that the pod differs from the approved version.
async fn changed(cluster: &ControlPlane, name: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
    let scene = cleared(cluster, name).await?;
    let mut pod = scene.pod("pod", &container("1"));
    change(&mut pod["spec"]);
    is_held(&scene, &pod).await?;
    says(
        &scene.event("Pod", "pod", "Held").await?,
        &["it is not what was approved for AI system scorer (v1)"],
    )
}

pub async fn a_pod_with_other_args_is_held(cluster: &ControlPlane) -> Result<()> {
    changed(cluster, "changes-args", |spec| spec["containers"][0]["args"][1] = json!("--revision=other"))
        .await
}

pub async fn a_pod_with_another_command_is_held(cluster: &ControlPlane) -> Result<()> {
    changed(cluster, "changes-command", |spec| spec["containers"][0]["command"] = json!(["sh"])).await
}

pub async fn a_pod_with_another_env_value_is_held(cluster: &ControlPlane) -> Result<()> {
    changed(cluster, "changes-env", |spec| spec["containers"][0]["env"][0]["value"] = json!("other")).await
}

pub async fn a_pod_with_an_extra_env_from_is_held(cluster: &ControlPlane) -> Result<()> {
    let source = json!([{ "configMapRef": { "name": "other" } }]);
    changed(cluster, "adds-env-from", |spec| spec["containers"][0]["envFrom"] = source).await
}

pub async fn a_pod_with_an_extra_init_container_is_held(cluster: &ControlPlane) -> Result<()> {
    changed(cluster, "adds-init", |spec| {
        spec["initContainers"] = json!([{ "name": "fetch", "image": "fetch" }]);
    })
    .await
}

pub async fn a_pod_with_an_extra_container_is_held(cluster: &ControlPlane) -> Result<()> {
    let other = json!({ "name": "other", "image": "other" });
    changed(cluster, "adds-container", |spec| {
        spec["containers"].as_array_mut().map(|containers| containers.push(other)).unwrap_or_default();
    })
    .await
}

pub async fn a_pod_with_a_changed_init_container_is_held(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "changes-init", "high").await?;
    let fetch = |model: &str| json!({ "name": "fetch", "image": format!("fetch@{}", digest('f')), "args": [model, "/mnt/models"] });
    let runtime = json!({ "containers": [container("1")], "initContainers": [fetch("s3://models/1")] });
    scene.apply(Admin, &scene.version_of("v1", &runtime)).await?;
    scene.approve("v1").await?;
    let mut pod = scene.pod("pod", &container("1"));
    pod["spec"]["initContainers"] = json!([fetch("s3://models/other")]);
    is_held(&scene, &pod).await?;
    pod["metadata"]["name"] = json!("approved");
    pod["spec"]["initContainers"] = json!([fetch("s3://models/1")]);
    scene.apply(Dev, &pod).await?;
    scene.running_pod("approved").await
}

pub async fn a_pod_with_another_image_volume_is_held(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "changes-volume", "high").await?;
    let mut server = container("1");
    server["volumeMounts"] = json!([{ "name": "model", "mountPath": "/models", "readOnly": true }]);
    let volume = |digit: char| json!([{ "name": "model", "image": { "reference": format!("registry.example/weights@{}", digest(digit)) } }]);
    let runtime = json!({ "containers": [server], "volumes": volume('1') });
    scene.apply(Admin, &scene.version_of("v1", &runtime)).await?;
    scene.approve("v1").await?;
    let mut pod = scene.pod("pod", &server);
    pod["spec"]["volumes"] = volume('2');
    is_held(&scene, &pod).await?;
    pod["metadata"]["name"] = json!("approved");
    pod["spec"]["volumes"] = volume('1');
    scene.apply(Dev, &pod).await?;
    scene.running_pod("approved").await
}

pub async fn a_pod_with_a_config_map_over_its_entry_point_is_held(cluster: &ControlPlane) -> Result<()> {
    changed(cluster, "mounts-config-map", |spec| {
        spec["volumes"] = json!([{ "name": "code", "configMap": { "name": "code" } }]);
        spec["containers"][0]["volumeMounts"] = json!([{ "name": "code", "mountPath": "/app" }]);
    })
    .await
}

pub async fn a_pod_with_an_extra_hook_is_held(cluster: &ControlPlane) -> Result<()> {
    let hook = json!({ "postStart": { "exec": { "command": ["fetch", "other"] } } });
    changed(cluster, "runs-hook", |spec| spec["containers"][0]["lifecycle"] = hook).await
}

pub async fn a_pod_with_host_aliases_is_held(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "points-elsewhere").await?;
    let mut pod = scene.pod("pod", &container("1"));
    pod["spec"]["hostAliases"] = json!([{ "ip": "10.0.0.9", "hostnames": ["models.example"] }]);
    is_held(&scene, &pod).await?;
    let said = scene.assent(Dev, &["explain", "pod/pod"]).await?.stdout;
    says(&said, &["+hostAliases:", "10.0.0.9"])
}

pub async fn an_image_tag_neither_runs_nor_is_approved(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "moved-tag").await?;
    let mut tagged = container("1");
    tagged["image"] = json!("registry.example/scorer:v1");
    is_held(&scene, &scene.pod("pod", &tagged)).await?;
    // The level requires images with a digest. So a version with a tag is not cleared, although people approve it.
    let digest = scene.publish("tagged", &tagged).await?;
    scene.decide(Alice, &scene.decision("Approve", "tagged", &digest, "risk-officer")).await?;
    scene.decide(Bob, &scene.decision("Approve", "tagged", &digest, "ethics-board")).await?;
    let message = scene.condition("modelversion", "tagged", "Cleared", "False", "ImageNotPinned").await?;
    says(
        &message,
        &["image registry.example/scorer:v1 is not pinned by digest", "create a new ModelVersion"],
    )?;
    is_held(&scene, &scene.pod("still", &tagged)).await
}

pub async fn dev_cannot_write_a_clearance(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "edits-clearance", "high").await?;
    let words = ["written by Assent only", "kubectl assent status -n edits-clearance"];
    let clearance = |namespace: &str| {
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Clearance",
            "metadata": { "name": "clearance", "namespace": namespace }, "spec": { "mode": "audit" } })
    };
    scene.get("clearance", "clearance").await?;
    says(&scene.refused(Dev, &clearance(&scene.namespace)).await?, &words)?;
    says(&scene.denied(Dev, &["delete", "clearance", "clearance"]).await?, &words)?;
    says(&scene.denied(Admin, &["delete", "clearance", "clearance"]).await?, &words)?;
    let other = Scenario { cluster, namespace: "ungoverned-clearance".to_owned() };
    cluster.kubectl(Admin, &["create", "namespace", &other.namespace]).await?.ok()?;
    says(&other.refused(Admin, &clearance(&other.namespace)).await?, &["written by Assent only"])
}

pub async fn dev_cannot_write_a_status(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "writes-status", "high").await?;
    scene.publish("v1", &container("1")).await?;
    let patch = r#"{"status":{"clearedVersions":"v1"}}"#;
    let said = scene
        .denied(Dev, &["patch", "aisystem", "scorer", "--subresource=status", "--type=merge", "-p", patch])
        .await?;
    says(&said, &["written by Assent only"])
}

pub async fn dev_cannot_lower_the_risk_level(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "lowers-level").await?;
    let said = scene.refused(Dev, &scene.system("minimal")).await?;
    says(
        &said,
        &[
            "dev may not assign risk level minimal to AI system scorer",
            "the verb use on risklevels.assent.dev/minimal",
        ],
    )?;
    // dev may assign the level `limited`. The digest of a version covers the name of the level, so the version needs
    // new approvals.
    scene.apply(Dev, &scene.system("limited")).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await.map(drop)
}

pub async fn a_changed_purpose_ends_every_approval(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "changes-purpose").await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    let mut system = scene.system("high");
    system["spec"]["intendedPurpose"] = json!("Fires people.");
    scene.apply(Dev, &system).await?;
    scene.held("scorer", 2).await?;
    for approval in scene.list("approvals").await? {
        let name = approval["metadata"]["name"].as_str().unwrap_or_default();
        let message = scene.condition("approval", name, "Counted", "False", "SubjectChanged").await?;
        says(
            &message,
            &["but the version is now", "review it again: kubectl assent approve scorer --version v1"],
        )?;
    }
    Ok(())
}

pub async fn a_system_that_is_changed_and_changed_back_stays_revoked(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "changes-back").await?;
    let approved = scene.digest_of("v1").await?;
    let mut system = scene.system("high");
    system["spec"]["jurisdictions"] = json!(["US"]);
    scene.apply(Dev, &system).await?;
    let other = until(Duration::from_secs(10), "the digest to change", async || {
        Ok(Some(scene.digest_of("v1").await?).filter(|digest| *digest != approved))
    })
    .await?;
    scene.decide(Carol, &scene.decision("Revoke", "v1", &other, "risk-officer")).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    scene.apply(Dev, &scene.system("high")).await?;
    until(Duration::from_secs(10), "the digest to be the approved one", async || {
        Ok((scene.digest_of("v1").await? == approved).then_some(()))
    })
    .await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    is_held(&scene, &scene.pod("pod", &container("1"))).await
}

pub async fn dev_cannot_edit_an_approved_model_version(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "edits-version").await?;
    let said = scene.refused(Dev, &scene.version("v1", &container("other"))).await?;
    says(&said, &["a model version is immutable: create a new ModelVersion"])
}

pub async fn a_recreated_version_is_approved_only_with_the_same_content(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = cleared(cluster, "recreates-version").await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    scene.kubectl(Dev, &["delete", "modelversion", "v1"]).await?;
    scene.held("scorer", 2).await?;
    scene.apply(Dev, &scene.version("v1", &container("other"))).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    is_held(&scene, &scene.pod("other", &container("other"))).await?;
    // For the same content under the same name, the approvals count again.
    scene.kubectl(Dev, &["delete", "modelversion", "v1"]).await?;
    scene.apply(Dev, &scene.version("v1", &container("1"))).await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn dev_cannot_approve_without_the_role(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "approves-own", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let said = scene.undecided(Dev, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    says(
        &said,
        &[
            "user dev does not hold the role risk-officer",
            "the verb approve on approverroles.assent.dev/risk-officer",
        ],
    )?;
    // dev can create a Role and a RoleBinding in the namespace. But they do not give dev the approver role, because the
    // policy checks the verb `approve` for the whole cluster.
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "mine", "namespace": scene.namespace },
        "rules": [{ "apiGroups": ["assent.dev"], "resources": ["approverroles"], "verbs": ["approve"] }] });
    scene.apply(Dev, &role).await?;
    scene.kubectl(Dev, &["create", "rolebinding", "mine", "--role=mine", "--user=dev"]).await?;
    let said = scene.undecided(Dev, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    says(&said, &["user dev does not hold the role risk-officer"])
}

pub async fn an_owner_who_holds_the_role_does_not_count(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "owner-approves", "high").await?;
    let mut system = scene.system("high");
    system["spec"]["owners"] = json!([{ "kind": "Group", "name": "risk-officers" }]);
    scene.apply(Admin, &system).await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let approval = scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.decide(Bob, &scene.decision("Approve", "v1", &digest, "ethics-board")).await?;
    let message = scene.condition("approval", &approval, "Counted", "False", "ApproverIsOwner").await?;
    says(&message, &["a person who is not an owner must approve"])?;
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    says(&message, &["risk-officer: 0 of 1 given; alice owns the system and does not count"])
}

pub async fn nobody_writes_an_approval_as_another_person(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "as-somebody-else", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let mut approval = scene.decision("Approve", "v1", &digest, "risk-officer");
    approval["spec"]["approver"] =
        json!({ "user": "alice", "uid": "alice", "groups": ["risk-officers", "system:authenticated"] });
    let words = ["spec.approver must be the user of the request", "leave spec.approver out"];
    says(&scene.undecided(Dev, &approval).await?, &words)?;
    says(&scene.undecided(Bob, &approval).await?, &words)?;
    approval["spec"]["approver"] = json!({ "user": "alice", "uid": "alice", "groups": [] });
    says(&scene.undecided(Alice, &approval).await?, &words)
}

pub async fn an_approval_is_neither_edited_nor_deleted(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "edits-approval", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let name = scene.decide(Bob, &scene.decision("Reject", "v1", &digest, "ethics-board")).await?;
    let patch = r#"{"spec":{"decision":"Approve"}}"#;
    let said = scene.denied(Dev, &["patch", "approval", &name, "--type=merge", "-p", patch]).await?;
    says(&said, &["an approval is final: create another Approval"])?;
    for person in [Dev, Bob, Admin] {
        let said = scene.denied(person, &["delete", "approval", &name]).await?;
        ensure!(person == Bob || said.contains("is part of the record and cannot be deleted"), "{said}");
    }
    // Nobody may add an owner reference, because the garbage collector would then delete the approval with the owner.
    let owner = json!({ "metadata": { "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone" }] } });
    let said =
        scene.denied(Dev, &["patch", "approval", &name, "--type=merge", "-p", &owner.to_string()]).await?;
    says(&said, &["the approval must have no ownerReferences"])?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Rejected").await.map(drop)
}

pub async fn namespace_deletion_also_deletes_the_approvals(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "goes-away").await?;
    let mut retired = scene.system("high");
    retired["spec"]["decommission"] = json!({ "date": "2020-01-01T00:00:00Z", "reason": "over" });
    scene.apply(Dev, &retired).await?;
    scene.condition("aisystem", "scorer", "Cleared", "False", "Decommissioned").await?;
    scene.apply(Dev, &scene.workload("batch/v1", "Job", "suspended", &pod_spec(&container("1")))).await?;
    // The deletion of the namespace must not wait for a held pod with the finalizer of a Job.
    let mut held = scene.pod("tracked", &container("1"));
    held["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
    scene.apply(Dev, &held).await?;
    scene.held_pods("app=tracked", 1).await?;
    let delete = ["delete", "namespace", &scene.namespace, "--timeout=60s"];
    cluster.kubectl(Admin, &delete).await?.ok().map(drop)
}

pub async fn dev_cannot_take_a_namespace_out_of_governance(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "labels-off", "high").await?;
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "label-labels-off" },
        "rules": [{ "apiGroups": [""], "resources": ["namespaces"], "resourceNames": [scene.namespace], "verbs": ["get", "update", "patch"] }] });
    scene.apply(Admin, &role).await?;
    cluster
        .kubectl(
            Admin,
            &[
                "create",
                "clusterrolebinding",
                "label-labels-off",
                "--clusterrole=label-labels-off",
                "--user=dev",
            ],
        )
        .await?
        .ok()?;
    let label = async |value: &str| {
        cluster.kubectl(Dev, &["label", "namespace", "labels-off", value, "--overwrite"]).await
    };
    says(
        &label("assent.dev/mode-").await?.denied()?,
        &["dev may not end the governance of namespace labels-off", "the verb ungovern"],
    )?;
    says(
        &label("assent.dev/mode=off").await?.denied()?,
        &["label assent.dev/mode=off is not known: use enforce, warn or audit"],
    )?;
    label("team=ml").await?.ok()?;
    let said = cluster
        .kubectl(Admin, &["label", "namespace", "kube-system", "assent.dev/mode=enforce"])
        .await?
        .denied()?;
    says(&said, &["namespace kube-system cannot be governed"])
}

/// Creates a workload of this kind. For a Job or `CronJob`, checks that the Job is suspended. For all other kinds,
/// checks that the pods are held.
async fn workload(
    cluster: &ControlPlane,
    name: &str,
    api_version: &str,
    kind: &str,
    pods: usize,
) -> Result<()> {
    let scene = Scenario::new(cluster, name, "high").await?;
    scene.apply(Dev, &scene.workload(api_version, kind, "made", &pod_spec(&container("1")))).await?;
    if kind == "CronJob" {
        scene.kubectl(Dev, &["create", "job", "made", "--from=cronjob/made"]).await?;
    }
    if kind.ends_with("Job") {
        let job = scene.get("job", "made").await?;
        ensure!(job["spec"]["suspend"] == true, "{job}");
        return says(&scene.event("Job", "made", "Held").await?, &["kubectl assent explain aisystem/"]);
    }
    scene.held("made", pods).await?;
    let names: Vec<_> = scene.pods("made").await?;
    let name = names[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    says(&scene.event("Pod", &name, "Held").await?, &["kubectl assent explain pod/"])
}

pub async fn a_new_job_is_held(cluster: &ControlPlane) -> Result<()> {
    workload(cluster, "makes-job", "batch/v1", "Job", 1).await
}

pub async fn a_new_job_of_a_cron_job_is_held(cluster: &ControlPlane) -> Result<()> {
    workload(cluster, "makes-cron-job", "batch/v1", "CronJob", 1).await
}

pub async fn a_new_bare_pod_is_held(cluster: &ControlPlane) -> Result<()> {
    workload(cluster, "makes-pod", "v1", "Pod", 1).await
}

pub async fn the_pods_of_a_new_stateful_set_are_held(cluster: &ControlPlane) -> Result<()> {
    workload(cluster, "makes-stateful-set", "apps/v1", "StatefulSet", 2).await
}

pub async fn the_pods_of_a_new_daemon_set_are_held(cluster: &ControlPlane) -> Result<()> {
    workload(cluster, "makes-daemon-set", "apps/v1", "DaemonSet", 2).await
}

pub async fn a_service_account_cannot_approve(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "gitops-approves", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let gitops = cluster.gitops().await?;
    let approval = scene.decision("Approve", "v1", &digest, "risk-officer").to_string();
    let said = cluster.run(&gitops, "kubectl", &["create", "-f", "-"], Some(&approval)).await?.denied()?;
    says(
        &said,
        &[
            "system:serviceaccount:flux-system:kustomize-controller is not a person and cannot approve",
            "kubectl assent approve scorer",
        ],
    )
}

pub async fn a_stale_operator_cannot_lift_a_gate_after_the_revocation(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "stale-operator").await?;
    let digest = scene.digest_of("v1").await?;
    scene.decide(Alice, &scene.decision("Revoke", "v1", &digest, "risk-officer")).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    is_held(&scene, &scene.pod("pod", &container("1"))).await?;
    let said = lift_as_operator(&scene, "pod", Some("assent-release")).await?;
    says(&said, &["AI system scorer has no valid clearance for it"])?;
    let said = lift_as_operator(&scene, "pod", None).await?;
    says(&said, &["only the field manager assent-release may lift the gate"])
}

/// Tries to remove the gate of a pod with the account of the operator. Returns the message of the refusal, or an empty
/// string if the API server allows the request.
pub async fn lift_as_operator(scene: &Scenario<'_>, pod: &str, manager: Option<&str>) -> Result<String> {
    let operator = scene.cluster.service_account(NAMESPACE, "assent").await?.client()?;
    let pods: Api<Pod> = Api::namespaced(operator, &scene.namespace);
    let params = PatchParams { field_manager: manager.map(str::to_owned), ..PatchParams::default() };
    let patch: Value = serde_json::from_str(LIFT)?;
    match pods.patch(pod, &params, &Patch::Strategic(patch)).await {
        Ok(_) => Ok(String::new()),
        Err(kube::Error::Api(answer)) => Ok(answer.message),
        Err(error) => Err(error.into()),
    }
}

pub async fn an_approval_of_an_outdated_digest_does_not_count(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "outdated-digest", "high").await?;
    let outdated = scene.publish("v1", &container("1")).await?;
    let mut system = scene.system("high");
    system["spec"]["jurisdictions"] = json!(["US"]);
    scene.apply(Dev, &system).await?;
    until(Duration::from_secs(10), "the digest to change", async || {
        Ok((scene.digest_of("v1").await? != outdated).then_some(()))
    })
    .await?;
    let approval = scene.decide(Alice, &scene.decision("Approve", "v1", &outdated, "risk-officer")).await?;
    let message = scene.condition("approval", &approval, "Counted", "False", "SubjectChanged").await?;
    says(
        &message,
        &[
            &format!("it is for {outdated}, but the version is now sha256:"),
            "review it again: kubectl assent approve scorer",
        ],
    )
}

pub async fn two_approvals_by_one_person_count_once(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "approves-twice", "limited").await?;
    let mut level = scene.get("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": "two-officers" });
    level["spec"]["approvals"] = json!([{ "role": "risk-officer", "count": 2 }]);
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system("two-officers")).await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    until(Duration::from_secs(10), "the operator to count the approvals", async || {
        let message = scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
        Ok(message.contains("risk-officer: 1 of 2 given").then_some(()))
    })
    .await?;
    scene.decide(Carol, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.is_cleared("v1").await
}

pub async fn nobody_approves_in_a_role_that_they_do_not_hold(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "other-role", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let said = scene.undecided(Alice, &scene.decision("Approve", "v1", &digest, "ethics-board")).await?;
    says(&said, &["user alice does not hold the role ethics-board"])
}

pub async fn one_person_in_two_roles_fills_one(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "two-roles", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.decide(Carol, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    let approve = ["approve", "scorer", "--version=v1", "--role=ethics-board", "--yes"];
    let said = scene.assent(Carol, &approve).await?.ok()?;
    says(&said, &["fills"])?;
    until(SOON, "the status to name the second role", async || {
        let message = scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
        says(&message, &["carol approved in several roles, and one person fills only one"]).map(Some)
    })
    .await?;
    scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.is_cleared("v1").await
}

pub async fn a_risk_level_in_use_cannot_be_deleted(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "level-in-use").await?;
    let said = scene.denied(Admin, &["delete", "risklevel", "high"]).await?;
    says(&said, &["risk level high is in use", "kubectl get aisystems -A"])
}
