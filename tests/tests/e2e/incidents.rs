//! Incidents: a hold stops a system at once, and only people resume the system.
//!
//! A developer pauses the system. The command opens an Incident with the effect `Hold`. After notes state the root
//! cause, the action and the verification, people resume the system with Approvals (`Resume`).

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, from_now, until};
use serde_json::{Value, json};

use Person::{Admin, Alice, Bob, Carol, Dev};

/// Returns a scenario with a cleared version v1. The level of the system requires one risk officer, such as Alice, to
/// approve a version. To resume a held version, the level requires one person in each of the roles in `resume`.
async fn scene<'a>(cluster: &'a ControlPlane, name: &str, resume: &[&str]) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "limited").await?;
    let required = |role: &&str| json!({ "role": role, "count": 1 });
    let resume: Vec<_> = resume.iter().map(required).collect();
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "onLoss": { "gracePeriodSeconds": 10 }, "approvals": [{ "role": "risk-officer", "count": 1 }],
            "incidents": { "resume": resume } } });
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system(&scene.namespace)).await?;
    clear(&scene, "v1").await?;
    Ok(scene)
}

async fn clear(scene: &Scenario<'_>, version: &str) -> Result<()> {
    let digest = scene.publish(version, &container(version)).await?;
    scene.decide(Alice, &scene.decision("Approve", version, &digest, "risk-officer")).await?;
    scene.is_cleared(version).await
}

/// Holds the system as `person`. Returns the name of the incident.
async fn pause(scene: &Scenario<'_>, person: Person, options: &[&str]) -> Result<String> {
    let pause = [&["pause", "scorer", "--reason=drift", "--yes"], options].concat();
    let said = scene.assent(person, &pause).await?.ok()?;
    let name = said.split("incident/").nth(1).and_then(|rest| rest.split_whitespace().next());
    Ok(name.unwrap_or_default().to_owned())
}

/// Writes notes about the root cause, the action and the verification of an incident. A person can resume only after
/// these notes.
async fn note_all(scene: &Scenario<'_>, incident: &str) -> Result<()> {
    for type_ in ["root-cause", "action", "verification"] {
        let note = ["incident", "note", incident, "--type", type_, "--text", "for the test"];
        scene.assent(Dev, &note).await?.ok()?;
    }
    Ok(())
}

async fn holding(scene: &Scenario<'_>, incident: &str, reason: &str) -> Result<String> {
    let status = if reason == "Holding" { "True" } else { "False" };
    scene.condition("incident", incident, "Holding", status, reason).await
}

async fn resume(scene: &Scenario<'_>, person: Person, options: &[&str]) -> Result<String> {
    scene.assent(person, &[&["resume", "scorer", "--yes"], options].concat()).await?.ok()
}

pub async fn a_held_system_stops_until_people_resume_it(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "held", &["risk-officer", "ethics-board"]).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("v1"))).await?;
    scene.running("scorer", 2).await?;

    let incident = pause(&scene, Dev, &["--criterion=FundamentalRights"]).await?;
    let message = holding(&scene, &incident, "Holding").await?;
    ensure!(message.contains("v1: no note states the root cause"), "{message}");
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    ensure!(message.contains(&format!("held by incident/{incident} of dev: drift")), "{message}");
    scene.condition("modelversion", "v1", "Stalled", "True", "Held").await?;
    let note = scene.event("AISystem", "scorer", "Paused").await?;
    ensure!(note.contains(&format!("incident/{incident}: drift")), "{note}");
    scene.held("scorer", 2).await?;
    let explained = scene.assent(Dev, &["explain", "deployment/scorer"]).await?.ok()?;
    ensure!(explained.contains("incident note"), "{explained}");

    // An approval of the version does not end the hold, even if the approval is newer than the hold.
    let digest = scene.digest_of("v1").await?;
    scene.decide(Carol, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    let early = scene.assent(Alice, &["resume", "scorer", "--yes"]).await?.denied()?;
    ensure!(early.contains("nobody can resume yet") && early.contains("--type root-cause"), "{early}");
    note_all(&scene, &incident).await?;
    let first = resume(&scene, Alice, &[]).await?;
    ensure!(first.contains("root cause") && first.contains("by role ethics-board: 0 of 1 given"), "{first}");
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    resume(&scene, Bob, &[]).await?;
    scene.is_cleared("v1").await?;
    scene.running("scorer", 2).await?;
    holding(&scene, &incident, "Resumed").await?;

    let history = scene.assent(Dev, &["history", "scorer"]).await?.ok()?;
    for entry in ["Paused", "Noted", "Resumed"] {
        ensure!(history.contains(entry), "{entry}: {history}");
    }
    let shown = scene.assent(Dev, &["incident", "show", &incident]).await?.ok()?;
    ensure!(shown.contains("article 73(2)") && shown.contains("FundamentalRights"), "{shown}");
    let who = scene.assent(Admin, &["who-can", "resume", "scorer"]).await?.ok()?;
    ensure!(who.contains("ethics-board") && who.contains("risk-officer"), "{who}");
    Ok(())
}

pub async fn the_opener_and_the_author_of_the_action_cannot_resume_alone(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = scene(cluster, "held-alone", &["risk-officer"]).await?;
    let incident = pause(&scene, Alice, &[]).await?;
    note_all(&scene, &incident).await?;
    resume(&scene, Alice, &[]).await?;
    let independent = "a person who neither opened the incident nor noted an action";
    until(SOON, "the hold to await an independent person", async || {
        let message = holding(&scene, &incident, "Holding").await?;
        Ok(message.contains(independent).then_some(()))
    })
    .await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    resume(&scene, Carol, &["--role=risk-officer"]).await?;
    scene.is_cleared("v1").await?;

    // For a second incident, people must decide again.
    let again = pause(&scene, Dev, &[]).await?;
    note_all(&scene, &again).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    let note = ["incident", "note", &again, "--type=action", "--text=fixed by carol too"];
    scene.assent(Carol, &note).await?.ok()?;
    resume(&scene, Carol, &["--role=risk-officer"]).await?;
    holding(&scene, &again, "Holding").await?;
    resume(&scene, Alice, &[]).await?;
    scene.is_cleared("v1").await
}

pub async fn held_content_stays_held_under_a_new_name(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "held-content", &["risk-officer"]).await?;
    let incident = pause(&scene, Dev, &["--version=v1"]).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    let digest = scene.publish("copy", &container("v1")).await?;
    scene.decide(Alice, &scene.decision("Approve", "copy", &digest, "risk-officer")).await?;
    scene.condition("modelversion", "copy", "Cleared", "False", "Held").await?;
    // A version with other content is not held.
    clear(&scene, "v2").await?;

    // These decisions name the content of another version, another incident, or another digest of the incident. None of
    // them ends the hold.
    note_all(&scene, &incident).await?;
    // The operator writes the status of an incident after the statuses of the versions. The test needs the digest in
    // this status.
    holding(&scene, &incident, "Holding").await?;
    let named = scene.get("incident", &incident).await?["status"]["digest"].take();
    let other = scene.digest_of("v2").await?;
    for (subject, name, digest, reason) in [
        (&other, incident.as_str(), named.clone(), "SubjectNotFound"),
        (&scene.digest_of("v1").await?, "another", named.clone(), "IncidentNotFound"),
        (&scene.digest_of("v1").await?, incident.as_str(), json!(other), "IncidentNotFound"),
    ] {
        let mut decision = scene.decision("Resume", "v1", subject, "risk-officer");
        decision["spec"]["incident"] = json!({ "name": name, "digest": digest });
        let name = scene.decide(Carol, &decision).await?;
        scene.condition("approval", &name, "Counted", "False", reason).await?;
    }
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    resume(&scene, Alice, &["--version=v1"]).await?;
    scene.is_cleared("v1").await?;
    scene.is_cleared("copy").await
}

pub async fn a_rollback_keeps_only_the_cleared_version(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "held-rollback", &["risk-officer"]).await?;
    clear(&scene, "v2").await?;
    scene.publish("v3", &container("v3")).await?;
    let rollback = |to: &'static str| ["rollback", "scorer", "--reason=v2 drifts", "--yes", "--to", to];
    let refused = scene.assent(Dev, &rollback("v3")).await?.denied()?;
    ensure!(refused.contains("v3 is not cleared, so nothing would run"), "{refused}");
    scene.assent(Dev, &rollback("v1")).await?.ok()?;
    scene.condition("modelversion", "v2", "Cleared", "False", "Held").await?;
    scene.condition("modelversion", "v3", "Cleared", "False", "Held").await?;
    scene.is_cleared("v1").await?;
    let copy = scene.publish("copy", &container("v1")).await?;
    scene.decide(Alice, &scene.decision("Approve", "copy", &copy, "risk-officer")).await?;
    scene.condition("modelversion", "copy", "Cleared", "False", "Held").await.map(drop)
}

pub async fn an_incident_and_its_notes_are_final(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "held-final", &["risk-officer"]).await?;
    let name = pause(&scene, Dev, &[]).await?;
    note_all(&scene, &name).await?;
    let note =
        scene.list("incidentnotes").await?[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    for (kind, name, field, value) in [
        ("incident", &name, "effect", json!("None")),
        ("incident", &name, "openedBy", json!({ "user": "eve" })),
        ("incident", &name, "except", json!({ "name": "v1", "subjectDigest": scene.digest_of("v1").await? })),
        ("incidentnote", &note, "text", json!("nothing happened")),
        ("incidentnote", &note, "type", json!("Fact")),
        ("incidentnote", &note, "by", json!({ "user": "eve" })),
    ] {
        let patch = json!({ "spec": { field: value } }).to_string();
        let refused = scene.denied(Admin, &["patch", kind, name, "--type=merge", "-p", &patch]).await?;
        ensure!(refused.contains("is final"), "{kind} {field}: {refused}");
    }
    for delete in [
        ["delete", "incident", &name],
        ["delete", "incidents", "--all"],
        ["delete", "incidentnote", &note],
        ["delete", "incidentnotes", "--all"],
    ] {
        let refused = scene.denied(Admin, &delete).await?;
        ensure!(refused.contains("is part of the record and cannot be deleted"), "{refused}");
    }
    let references =
        r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"y"}]}}"#;
    for (kind, name) in [("incident", &name), ("incidentnote", &note)] {
        let refused = scene.denied(Admin, &["patch", kind, name, "--type=merge", "-p", references]).await?;
        ensure!(refused.contains("must have no ownerReferences"), "{refused}");
    }
    let status = r#"{"status":{"conditions":[]}}"#;
    let forged = scene
        .denied(Admin, &["patch", "incident", &name, "--subresource=status", "--type=merge", "-p", status])
        .await?;
    ensure!(forged.contains("written by Assent only"), "{forged}");
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await.map(drop)
}

pub async fn an_incident_names_its_opener_and_possible_times(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "held-facts", &["risk-officer"]).await?;
    let digest = scene.digest_of("v1").await?;
    for (spec, refusal) in [
        (json!({ "openedBy": { "user": "eve" } }), "spec.openedBy must be the user of the request, dev"),
        (json!({ "awareAt": from_now(60) }), "is later than now"),
        (json!({ "occurredAt": from_now(60) }), "is later than the time of awareness"),
        (
            json!({ "occurredAt": from_now(-5), "awareAt": from_now(-60) }),
            "is later than the time of awareness",
        ),
        (json!({ "criteria": ["Annoying"] }), "spec.criteria[0]"),
        (json!({ "except": { "name": "v1", "subjectDigest": digest } }), "except needs the effect Hold"),
        (json!({ "effect": "Resume" }), "spec.effect"),
    ] {
        let refused = scene.refused(Dev, &scene.incident("wrong", &spec)).await?;
        ensure!(refused.contains(refusal), "{spec}: {refused}");
    }
    let mut note = scene.note("note", "right");
    note["spec"]["by"] = json!({ "user": "eve" });
    let refused = scene.refused(Dev, &note).await?;
    ensure!(refused.contains("spec.by must be the user of the request, dev"), "{refused}");
    note["spec"].as_object_mut().map(|spec| spec.remove("by"));
    scene.apply(Dev, &note).await?;
    ensure!(
        scene.get("incidentnote", "note").await?["spec"]["by"]["user"] == "dev",
        "the note has no author"
    );

    // An incident without a hold stops nothing.
    let right = scene.incident("right", &json!({ "awareAt": from_now(-60), "occurredAt": from_now(-120) }));
    scene.apply(Dev, &right).await?;
    holding(&scene, "right", "NoEffect").await?;
    ensure!(
        scene.get("incident", "right").await?["spec"]["openedBy"]["user"] == "dev",
        "the incident has no opener"
    );
    scene.is_cleared("v1").await?;

    // A decision `Resume` must name an incident, and a decision `Approve` must not name one.
    for (decision, named) in [("Resume", false), ("Approve", true)] {
        let mut wrong = scene.decision(decision, "v1", &digest, "risk-officer");
        wrong["spec"]["incident"] =
            if named { json!({ "name": "right", "digest": digest }) } else { Value::Null };
        let refused = scene.undecided(Alice, &wrong).await?;
        ensure!(refused.contains("incident"), "{decision}: {refused}");
    }
    Ok(())
}

pub async fn only_an_account_with_the_verb_hold_holds_a_system(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "held-by-verb", &["risk-officer"]).await?;
    let role = |name: &str, role: &str| {
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": name, "namespace": scene.namespace },
            "roleRef": { "kind": "ClusterRole", "name": role, "apiGroup": "rbac.authorization.k8s.io" },
            "subjects": [{ "kind": "User", "name": name }] })
    };
    scene.apply(Admin, &role("mallory", "edit")).await?;
    scene.apply(Admin, &role("erin", "assent-on-call")).await?;
    let create = |user: &str| ["create".to_owned(), "-f".into(), "-".into(), format!("--as={user}")];
    let open = async |user: &str, name: &str, effect: &str| {
        let manifest = scene.incident(name, &json!({ "effect": effect })).to_string();
        let args = create(user);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        cluster.kubectl_stdin(Admin, &args, &manifest).await
    };
    let refused = open("mallory", "mallory", "Hold").await?.denied()?;
    ensure!(refused.contains("user mallory may not hold AI system scorer"), "{refused}");
    open("mallory", "complaint", "None").await?.ok()?;
    scene.is_cleared("v1").await?;
    // Erin has the verb `hold` only in the namespace of the first scenario.
    let other = Scenario::new(cluster, "held-other", "limited").await?;
    let manifest = other.incident("reach", &json!({ "effect": "Hold" })).to_string();
    let refused =
        cluster.kubectl_stdin(Admin, &["create", "-f", "-", "--as=erin"], &manifest).await?.denied()?;
    ensure!(refused.contains("forbidden"), "{refused}");
    open("erin", "alarm", "Hold").await?.ok()?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    ensure!(
        scene.get("incident", "alarm").await?["spec"]["openedBy"]["user"] == "erin",
        "the incident has another opener"
    );
    Ok(())
}
