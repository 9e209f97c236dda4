//! The API server records who created or changed an object that people decide about. If a level separates duties, an
//! author cannot approve their own work. The history names the user of each change that altered a verdict.

use anyhow::{Result, ensure};
use assent_tests::{Assent, ControlPlane, Person, Scenario, container, until};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::refusals::says;
use Person::{Admin, Alice, Bob, Carol, Dev};

const AUTHOR: &str = "assent.dev/author";
const CHANGED_BY: &str = "assent.dev/changed-by";

async fn may_edit(scene: &Scenario<'_>, person: Person) -> Result<()> {
    let subject = format!("--user={}", person.name());
    let name = person.name();
    scene
        .kubectl(Admin, &["create", "rolebinding", name, "--clusterrole=cluster-admin", &subject])
        .await
        .map(drop)
}

async fn stamp(scene: &Scenario<'_>, object: &str, annotation: &str) -> Result<String> {
    let (kind, name) = object.split_once('/').unwrap_or_default();
    let object = scene.get(kind, name).await?;
    Ok(object["metadata"]["annotations"][annotation].as_str().unwrap_or_default().to_owned())
}

async fn merge(scene: &Scenario<'_>, person: Person, object: &str, patch: &Value) -> Result<String> {
    scene.kubectl(person, &["patch", object, "--type=merge", "-p", &patch.to_string()]).await
}

pub async fn the_author_of_a_version_cannot_approve_it(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "version-author", "high").await?;
    may_edit(&scene, Alice).await?;
    scene.apply(Alice, &scene.version("v1", &container("1"))).await?;
    let digest = scene.digest_of("v1").await?;
    let review = scene.assent(Alice, &["approve", "scorer", "--role=risk-officer"]).await?;
    says(&review.stdout, &["version by", "alice", "your decision does not count: you created this version"])?;
    let approval = scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.decide(Bob, &scene.decision("Approve", "v1", &digest, "ethics-board")).await?;
    let message = scene.condition("approval", &approval, "Counted", "False", "ApproverIsAuthor").await?;
    says(&message, &["created the version", "a person who is not an author must approve"])?;
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    says(&message, &["alice created the version or last changed the system, and does not count"])?;
    scene.decide(Carol, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.is_cleared("v1").await
}

pub async fn the_last_author_of_a_system_cannot_approve_its_versions(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "system-author", "high").await?;
    may_edit(&scene, Alice).await?;
    scene.clear("v1", &container("1")).await?;
    // Alice becomes the author of the system, because she changes the owners of the system.
    let owners = json!({ "spec": { "owners": [{ "kind": "User", "name": "someone" }] } });
    merge(&scene, Alice, "aisystem/scorer", &owners).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    // A new label does not change the author.
    scene.kubectl(Dev, &["label", "aisystem/scorer", "team=ml"]).await?;
    ensure!(stamp(&scene, "aisystem/scorer", AUTHOR).await? == "alice");
    merge(&scene, Dev, "aisystem/scorer", &json!({ "spec": { "dependsOn": [{ "name": "other" }] } })).await?;
    scene.is_cleared("v1").await
}

pub async fn an_approver_who_schedules_the_end_of_a_system_still_counts(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "end-scheduled", "high").await?;
    may_edit(&scene, Alice).await?;
    scene.clear("v1", &container("1")).await?;
    let date = json!(Timestamp::from_second(Timestamp::now().as_second() + 3600)?);
    let end = json!({ "spec": { "decommission": { "date": date, "reason": "replaced" } } });
    merge(&scene, Alice, "aisystem/scorer", &end).await?;
    ensure!(stamp(&scene, "aisystem/scorer", CHANGED_BY).await? == "alice");
    ensure!(stamp(&scene, "aisystem/scorer", AUTHOR).await? == "admin");
    let has_end = async || {
        let version = scene.get("modelversion", "v1").await?;
        Ok((version["status"]["notAfter"] == date).then_some(()))
    };
    until(std::time::Duration::from_secs(30), "the version to end with its system", has_end).await?;
    scene.is_cleared("v1").await
}

pub async fn nobody_forges_or_removes_the_author_of_an_object(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "forged-authors", "high").await?;
    let name = &scene.namespace;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": name },
        "spec": { "description": "one" } });
    let role = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "ApproverRole", "metadata": { "name": name },
        "spec": { "description": "one" } });
    let sidecar = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "TrustedSidecar",
        "metadata": { "name": name }, "spec": { "description": "one", "env": [{ "name": "X", "value": "1" }] } });
    let version = scene.version("v1", &container("1"));
    let objects = [
        (level, "risklevel", CHANGED_BY),
        (role, "approverrole", CHANGED_BY),
        (sidecar, "trustedsidecar", CHANGED_BY),
        (scene.system("high"), "aisystem", CHANGED_BY),
        (scene.system("high"), "aisystem", AUTHOR),
        (version, "modelversion", AUTHOR),
    ];
    for (mut object, kind, annotation) in objects {
        object["metadata"]["annotations"] = json!({ annotation: "mallory" });
        scene.apply(Admin, &object).await?;
        let reference = format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
        ensure!(stamp(&scene, &reference, annotation).await? == "admin", "{reference}: forged on create");
        for person in [Admin, Dev] {
            if person == Dev && !["aisystem", "modelversion"].contains(&kind) {
                continue;
            }
            let forged = json!({ "metadata": { "annotations": { annotation: "mallory" } } });
            merge(&scene, person, &reference, &forged).await?;
            ensure!(
                stamp(&scene, &reference, annotation).await? == "admin",
                "{reference}: forged by a patch of {person:?}"
            );
            let removed = json!({ "metadata": { "annotations": null } });
            merge(&scene, person, &reference, &removed).await?;
            ensure!(
                stamp(&scene, &reference, annotation).await? == "admin",
                "{reference}: removed by {person:?}"
            );
        }
        if kind == "modelversion" {
            continue;
        }
        let field = if kind == "aisystem" { "intendedPurpose" } else { "description" };
        let patch = json!({ "spec": { field: format!("by erin, {annotation}") } }).to_string();
        scene
            .kubectl(
                Admin,
                &[
                    "patch",
                    &reference,
                    "--type=merge",
                    "-p",
                    &patch,
                    "--as=erin",
                    "--as-group=system:masters",
                ],
            )
            .await?;
        ensure!(
            stamp(&scene, &reference, annotation).await? == "erin",
            "{reference}: not updated after a change"
        );
    }
    for kind in ["risklevel", "approverrole", "trustedsidecar"] {
        scene.kubectl(Admin, &["delete", kind, name]).await?;
    }
    Ok(())
}

async fn history(scene: &Scenario<'_>) -> Result<Vec<Value>> {
    let said = scene.assent(Alice, &["history", "scorer", "-o=json"]).await?.ok()?;
    Ok(serde_json::from_str(&said)?)
}

async fn entry(scene: &Scenario<'_>, what: &str, object: &str, who: Option<&str>) -> Result<Value> {
    let found = async || {
        let entries = history(scene).await?;
        let matches = |entry: &&Value| {
            entry["what"] == what && entry["object"] == object && entry["who"].as_str() == who
        };
        Ok(entries.iter().find(matches).cloned())
    };
    until(std::time::Duration::from_secs(30), &format!("{what} {object} by {who:?} in the history"), found)
        .await
}

pub async fn history_names_the_person_behind_a_changed_verdict_and_every_deletion(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "who-altered", "high").await?;
    scene.clear("v1", &container("1")).await?;
    entry(&scene, "Cleared", "modelversion/v1", None).await?;
    let purpose = json!({ "spec": { "intendedPurpose": "Something else." } });
    merge(&scene, Dev, "aisystem/scorer", &purpose).await?;
    entry(&scene, "Changed", "aisystem/scorer", Some("dev")).await?;
    let withheld = entry(&scene, "Withheld", "modelversion/v1", None).await?;
    says(withheld["note"].as_str().unwrap_or_default(), &["awaiting approval"])?;
    let before = history(&scene).await?.len();
    // v1 is already withheld, so this change does not alter the verdict on v1.
    merge(&scene, Dev, "aisystem/scorer", &json!({ "spec": { "jurisdictions": ["DE"] } })).await?;
    scene.digest_of("v1").await?;
    ensure!(history(&scene).await?.len() == before, "the history has a change without effect");
    scene.kubectl(Dev, &["delete", "modelversion/v1"]).await?;
    entry(&scene, "Deleted", "modelversion/v1", None).await?;
    scene.kubectl(Dev, &["delete", "aisystem/scorer"]).await?;
    entry(&scene, "Deleted", "aisystem/scorer", None).await?;
    // A new system with the same name continues the history.
    scene.apply(Admin, &scene.system("high")).await?;
    scene.clear("v1", &container("1")).await?;
    entry(&scene, "Deleted", "aisystem/scorer", None).await?;
    let table = scene.assent(Alice, &["history", "scorer"]).await?.ok()?;
    says(&table, &["Changed", "dev", "aisystem/scorer", "Withheld", "Deleted"])
}

pub async fn a_change_of_the_risk_level_is_in_the_history(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "level-altered", "high").await?;
    let mut level = scene.get("risklevel", "high").await?;
    let name = scene.namespace.clone();
    level["metadata"] = json!({ "name": name });
    scene.apply(Admin, &level).await?;
    let system = json!({ "spec": { "riskLevel": name } });
    merge(&scene, Admin, "aisystem/scorer", &system).await?;
    scene.clear("v1", &container("1")).await?;
    let stricter = json!({ "spec": { "documents": ["another"] } });
    merge(&scene, Admin, &format!("risklevel/{name}"), &stricter).await?;
    entry(&scene, "Changed", &format!("risklevel/{name}"), Some("admin")).await?;
    entry(&scene, "Withheld", "modelversion/v1", None).await.map(drop)
}

pub async fn nobody_edits_or_deletes_a_history(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "edited-history", "high").await?;
    scene.clear("v1", &container("1")).await?;
    entry(&scene, "Cleared", "modelversion/v1", None).await?;
    for person in [Dev, Admin] {
        let said = scene.denied(person, &["delete", "systemhistory", "scorer"]).await?;
        says(&said, &["systemhistories/scorer is part of the record and cannot be deleted"])?;
        let none = json!({ "spec": { "entries": null } }).to_string();
        let said =
            scene.denied(person, &["patch", "systemhistory", "scorer", "--type=merge", "-p", &none]).await?;
        says(&said, &["is part of the record and cannot be changed"])?;
        let mut forged = scene.get("systemhistory", "scorer").await?;
        forged["metadata"] = json!({ "name": "other", "namespace": scene.namespace });
        says(&scene.refused(person, &forged).await?, &["written by Assent only"])?;
    }
    // If the metadata of a history has a time that the operator cannot parse, the operator still adds entries to the
    // history.
    let odd = json!({ "metadata": { "managedFields": [{ "manager": "odd", "operation": "Update",
        "time": "9999-12-31T23:59:59Z", "apiVersion": "assent.dev/v1alpha1", "fieldsType": "FieldsV1",
        "fieldsV1": { "f:metadata": {} } }] } });
    for kind in ["systemhistory", "decisionsubject"] {
        for object in scene.kubectl(Admin, &["get", kind, "-o=name"]).await?.lines() {
            merge(&scene, Admin, object, &odd).await?;
        }
    }
    scene.clear("v2", &container("2")).await?;
    entry(&scene, "Cleared", "modelversion/v2", None).await?;
    // Nobody can delete a history. But a history does not block the deletion of its namespace.
    scene.kubectl(Admin, &["delete", "namespace", &scene.namespace, "--timeout=60s"]).await.map(drop)
}

pub async fn a_new_operator_adds_missed_changes_to_the_history(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "unwatched", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.clear("v2", &container("2")).await?;
    entry(&scene, "Cleared", "modelversion/v2", None).await?;
    assent.operator().kill();
    scene.kubectl(Dev, &["delete", "modelversion/v2"]).await?;
    let purpose = json!({ "spec": { "intendedPurpose": "Something else." } });
    merge(&scene, Dev, "aisystem/scorer", &purpose).await?;
    let _second = Assent::start(cluster, "second").await?;
    entry(&scene, "Changed", "aisystem/scorer", Some("dev")).await?;
    entry(&scene, "Withheld", "modelversion/v1", None).await?;
    entry(&scene, "Deleted", "modelversion/v2", None).await.map(drop)
}
