//! Decisions that people sign and keep in Git. The approver is the owner of the key, not the account that applies the
//! file.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use assent_tests::{
    ControlPlane, Output, Person, Scenario, binaries, container, fairness_requirement, from_now,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use Person::{Admin, Alice, Carol, Dev};

/// A scenario with a published version. `role` is the name of a role that lists a key for each approver. The directory
/// `keys` has the private and public keys.
struct Signing<'a> {
    scene: Scenario<'a>,
    role: String,
    keys: TempDir,
}

impl<'a> Signing<'a> {
    /// Creates a level that requires one approval in a new role. The role lists a new key for each of `users`.
    /// Publishes v1.
    async fn new(cluster: &'a ControlPlane, name: &str, users: &[&str]) -> Result<Self> {
        let scene = Scenario::new(cluster, name, "limited").await?;
        let this = Self { scene, role: format!("{name}-signers"), keys: tempfile::tempdir()? };
        let spec = json!({ "approvals": [{ "role": this.role, "count": 1 }], "separationOfDuties": true, "validity": "8760h" });
        let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": name }, "spec": spec });
        this.scene.apply(Admin, &level).await?;
        this.scene.apply(Admin, &this.scene.system(name)).await?;
        for user in users {
            let key = this.key(user);
            let args = ["-q", "-t", "ed25519", "-N", "", "-C", user, "-f", &key.display().to_string()];
            cluster.run(cluster.account(Dev), "ssh-keygen", &args, None).await?.ok()?;
        }
        this.list(&users.iter().map(|user| (*user, json!({}))).collect::<Vec<_>>()).await?;
        this.scene.publish("v1", &container("1")).await?;
        Ok(this)
    }

    fn key(&self, user: &str) -> PathBuf {
        self.keys.path().join(user)
    }

    /// Writes the role with the keys of `users`. The value next to a user has more fields for the key of this user,
    /// such as `notAfter`.
    async fn list(&self, users: &[(&str, Value)]) -> Result<()> {
        let mut keys = Vec::new();
        for (user, more) in users {
            let public = std::fs::read_to_string(self.key(user).with_extension("pub"))?;
            let mut key = json!({ "approver": { "user": user }, "publicKey": public.trim() });
            let more = more.as_object().cloned().unwrap_or_default();
            key.as_object_mut().context("an object")?.extend(more);
            keys.push(key);
        }
        let role = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "ApproverRole",
            "metadata": { "name": self.role }, "spec": { "keys": keys } });
        self.scene.apply(Admin, &role).await.map(drop)
    }

    /// Signs a decision about v1 with the key of `user`. `act` is the command of the plugin with its options. Returns
    /// the signed decision and the output of the plugin.
    async fn sign(&self, user: &str, act: &[&str]) -> Result<(Value, Output)> {
        let (key, file) = (self.key(user).display().to_string(), self.keys.path().join("signed.yaml"));
        let plugin = binaries()?.join("kubectl-assent").display().to_string();
        let place =
            ["--ssh-key", &key, "--to", &file.display().to_string(), "--yes", "-n", &self.scene.namespace];
        let args = [act, &["scorer", "--version=v1"], &place].concat();
        // The plugin reads the cluster as Alice, who holds no role that counts in this test.
        let cluster = self.scene.cluster;
        let said = cluster.run(cluster.account(Alice), &plugin, &args, None).await?;
        ensure!(said.status.success(), "{said:?}");
        Ok((serde_saphyr::from_str(&std::fs::read_to_string(file)?)?, said))
    }

    /// Applies a manifest with the account of the `GitOps` controller.
    async fn merge(&self, manifest: &Value) -> Result<Output> {
        let (cluster, account) = (self.scene.cluster, self.scene.cluster.gitops().await?);
        let apply = ["apply", "--server-side", "-f", "-"];
        cluster.run(&account, "kubectl", &apply, Some(&manifest.to_string())).await
    }

    async fn counts(&self, approval: &Value, status: &str, reason: &str) -> Result<String> {
        let name = approval["metadata"]["name"].as_str().context("a name")?;
        self.scene.condition("approval", name, "Counted", status, reason).await
    }
}

fn renamed(approval: &Value, name: &str) -> Value {
    let mut copy = approval.clone();
    copy["metadata"]["name"] = json!(name);
    copy
}

pub async fn the_signer_and_not_the_applier_is_the_approver(cluster: &ControlPlane) -> Result<()> {
    let signing = Signing::new(cluster, "signed", &["erin"]).await?;
    let scene = &signing.scene;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let (approval, said) =
        signing.sign("erin", &["approve", "--reason=reviewed in the pull request"]).await?;
    for shown in
        ["Scores.", "as erin, in role signed-signers", "kubectl apply -f", "it is cleared to run until"]
    {
        ensure!(said.stdout.contains(shown), "{shown:?} was not shown: {}", said.stdout);
    }
    ensure!(scene.list("approvals").await?.is_empty(), "signing created an Approval in the cluster");
    signing.merge(&approval).await?.ok()?;
    scene.is_cleared("v1").await?;
    scene.running("scorer", 2).await?;
    signing.counts(&approval, "True", "Counted").await?;
    let name = approval["metadata"]["name"].as_str().context("a name")?;
    let recorded = scene.get("approval", name).await?;
    ensure!(recorded["status"]["signedBy"] == "erin" && recorded["spec"]["approver"].is_null(), "{recorded}");
    let counted = scene.get("modelversion", "v1").await?["status"]["approvals"].take();
    ensure!(counted[0]["user"] == "erin", "{counted}");
    let columns = scene.kubectl(Alice, &["get", "approvals"]).await?;
    let header = columns.lines().next().unwrap_or_default();
    let at = header.find("APPROVER").context("a column APPROVER")?;
    ensure!(columns.lines().nth(1).is_some_and(|row| row[at..].starts_with("erin ")), "{columns}");
    // A GitOps controller applies the same file again and again. This must cause no error.
    let again = signing.merge(&approval).await?.ok()?;
    ensure!(again.contains("serverside-applied"), "{again}");
    let said = scene.assent(Alice, &["history", "scorer"]).await?.ok()?;
    ensure!(said.contains("erin as signed-signers"), "{said}");
    // A service account cannot create an approval without a signature.
    let mut unsigned = renamed(&approval, "unsigned");
    unsigned["spec"].as_object_mut().context("a spec")?.remove("signature");
    let refused = signing.merge(&unsigned).await?.denied()?;
    ensure!(refused.contains("is not a person and cannot approve"), "{refused}");
    let mut both = renamed(&approval, "both");
    both["spec"]["approver"] = json!({ "user": "erin" });
    let refused = signing.merge(&both).await?.denied()?;
    ensure!(refused.contains("leave spec.approver out"), "{refused}");
    Ok(())
}

pub async fn a_signature_is_valid_for_its_own_decision_only(cluster: &ControlPlane) -> Result<()> {
    let signing = Signing::new(cluster, "replayed", &["erin"]).await?;
    let scene = &signing.scene;
    let (approval, _) = signing.sign("erin", &["approve", "--until=30d"]).await?;
    scene.publish("v2", &container("2")).await?;
    let digest = scene.digest_of("v2").await?;
    let earlier = json!({ "signedAt": "2020-01-01T00:00:00Z", "ssh": approval["spec"]["signature"]["ssh"] });
    for (name, attack) in [
        ("of-another-version", json!({ "modelVersion": "v2", "subjectDigest": digest })),
        ("longer", json!({ "notAfter": "2090-01-01T00:00:00Z" })),
        ("earlier", json!({ "signature": earlier })),
        ("revocation", json!({ "decision": "Revoke", "reason": "an outage" })),
    ] {
        let mut copy = renamed(&approval, name);
        let attack = attack.as_object().cloned().unwrap_or_default();
        copy["spec"].as_object_mut().context("a spec")?.extend(attack);
        signing.merge(&copy).await?.ok()?;
        let message = signing.counts(&copy, "False", "SignatureNotValid").await?;
        ensure!(message.contains("the signature of erin is for other content"), "{name}: {message}");
    }
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    signing.merge(&approval).await?.ok()?;
    scene.is_cleared("v1").await?;

    // The controller applies the approval again after a revocation. The approval keeps its earlier time, so it does not
    // count.
    let (revocation, _) = signing.sign("erin", &["revoke", "--reason=drift"]).await?;
    signing.merge(&revocation).await?.ok()?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    let again = renamed(&approval, "again");
    signing.merge(&again).await?.ok()?;
    signing.counts(&again, "False", "Revoked").await?;
    // The controller applies the revocation again after a new approval. The revocation keeps its earlier time, so the
    // new approval still counts.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let (anew, _) = signing.sign("erin", &["approve"]).await?;
    signing.merge(&anew).await?.ok()?;
    scene.is_cleared("v1").await?;
    signing.merge(&renamed(&revocation, "revoked-again")).await?.ok()?;
    signing.counts(&renamed(&revocation, "revoked-again"), "True", "Counted").await?;
    scene.is_cleared("v1").await
}

pub async fn a_key_counts_while_its_role_lists_it(cluster: &ControlPlane) -> Result<()> {
    let signing = Signing::new(cluster, "keys", &["erin", "frank"]).await?;
    let scene = &signing.scene;
    let (approval, _) = signing.sign("erin", &["approve"]).await?;
    signing.merge(&approval).await?.ok()?;
    scene.is_cleared("v1").await?;
    signing.list(&[("frank", json!({}))]).await?;
    let message = signing.counts(&approval, "False", "SignatureNotValid").await?;
    ensure!(message.contains("does not list the key of the signature"), "{message}");
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    signing.list(&[("erin", json!({ "notAfter": "2090-01-01T00:00:00Z" }))]).await?;
    scene.is_cleared("v1").await?;
    signing.list(&[("erin", json!({ "notAfter": "2020-01-01T00:00:00Z" }))]).await?;
    let message = signing.counts(&approval, "False", "SignatureNotValid").await?;
    ensure!(message.contains("the key of erin in ApproverRole keys-signers was not valid"), "{message}");
    let wrong = json!({ "approver": { "user": "system:serviceaccount:flux-system:kustomize-controller" } });
    let refused =
        signing.list(&[("erin", wrong)]).await.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(refused.contains("is not a person and cannot approve"), "{refused}");
    Ok(())
}

pub async fn a_signed_revocation_stays_when_its_key_leaves_the_role(cluster: &ControlPlane) -> Result<()> {
    let signing = Signing::new(cluster, "key-left", &["erin", "frank"]).await?;
    let scene = &signing.scene;
    let (approval, _) = signing.sign("erin", &["approve"]).await?;
    signing.merge(&approval).await?.ok()?;
    scene.is_cleared("v1").await?;
    let (revocation, _) = signing.sign("erin", &["revoke", "--reason=drift"]).await?;
    let mut junk = renamed(&revocation, "junk");
    junk["spec"]["reason"] = json!("another reason than the one that was signed");
    signing.merge(&junk).await?.ok()?;
    signing.counts(&junk, "False", "SignatureNotValid").await?;
    scene.is_cleared("v1").await?;
    signing.merge(&revocation).await?.ok()?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    signing.counts(&revocation, "True", "Counted").await?;

    signing.list(&[("frank", json!({}))]).await?;
    signing.counts(&approval, "False", "SignatureNotValid").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    scene.kubectl(Admin, &["delete", "approverrole", &signing.role]).await?;
    // After the role is deleted, a new decision in this role does not count. The condition of such a decision shows
    // that the operator has seen the deletion.
    signing.merge(&renamed(&approval, "after-the-role")).await?.ok()?;
    signing.counts(&renamed(&approval, "after-the-role"), "False", "SignatureNotValid").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    signing.counts(&revocation, "True", "Counted").await?;

    // After a new approval by another person in the role, the revocation no longer withholds the version.
    signing.list(&[("frank", json!({}))]).await?;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let (anew, _) = signing.sign("frank", &["approve"]).await?;
    signing.merge(&anew).await?.ok()?;
    scene.is_cleared("v1").await
}

pub async fn an_approval_dated_in_the_future_is_refused_and_a_revocation_is_not(
    cluster: &ControlPlane,
) -> Result<()> {
    let signing = Signing::new(cluster, "dated-ahead", &["erin"]).await?;
    let (approval, _) = signing.sign("erin", &["approve"]).await?;
    let mut ahead = renamed(&approval, "ahead");
    ahead["spec"]["signature"]["signedAt"] = json!("2090-01-01T00:00:00Z");
    let refused = signing.merge(&ahead).await?.denied()?;
    ensure!(refused.contains("spec.signature.signedAt 2090-01-01T00:00:00Z is later than now"), "{refused}");
    ahead["spec"]["decision"] = json!("Revoke");
    ahead["spec"]["reason"] = json!("an outage");
    signing.merge(&ahead).await?.ok()?;
    // The schema refuses a time that the operator cannot parse. All other fields of these decisions are valid.
    for (field, at) in [("notAfter", "/spec"), ("signedAt", "/spec/signature")] {
        let mut unreadable = renamed(&approval, "unreadable");
        let part = unreadable.pointer_mut(at).context("a part")?;
        part[field] = json!("2025-01-01T00:00:00.123456789123Z");
        let refused = signing.merge(&unreadable).await?.denied()?;
        ensure!(refused.contains(field) && refused.contains("should match"), "{refused}");
    }
    Ok(())
}

pub async fn an_owner_who_signs_does_not_count(cluster: &ControlPlane) -> Result<()> {
    let signing = Signing::new(cluster, "owning", &["dev", "erin"]).await?;
    let (approval, said) = signing.sign("dev", &["approve"]).await?;
    ensure!(said.stdout.contains("you own the system"), "{}", said.stdout);
    signing.merge(&approval).await?.ok()?;
    signing.counts(&approval, "False", "ApproverIsOwner").await?;
    // If a group owns the system, a signer in this group is an owner too. The role lists the groups of each signer.
    signing.list(&[("erin", json!({ "approver": { "user": "erin", "groups": ["builders"] } }))]).await?;
    let mut system = signing.scene.system("owning");
    system["spec"]["owners"] = json!([{ "kind": "Group", "name": "builders" }]);
    signing.scene.apply(Admin, &system).await?;
    let (approval, _) = signing.sign("erin", &["approve"]).await?;
    signing.merge(&approval).await?.ok()?;
    signing.counts(&approval, "False", "ApproverIsOwner").await.map(drop)
}

pub async fn check_counts_a_signature_and_not_a_name_in_a_file(cluster: &ControlPlane) -> Result<()> {
    let signing = Signing::new(cluster, "checked-signatures", &["erin"]).await?;
    let scene = &signing.scene;
    let (approval, _) = signing.sign("erin", &["approve"]).await?;
    let mut manifests = vec![
        scene.get("risklevel", "checked-signatures").await?,
        scene.get("approverrole", &signing.role).await?,
    ];
    manifests.push(scene.get("aisystem", "scorer").await?);
    manifests.push(scene.get("modelversion", "v1").await?);
    manifests.push(scene.deployment("scorer", &container("1")));
    let check = async |approval: &Value| {
        let items: Vec<&Value> = manifests.iter().chain([approval]).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
        let plugin = binaries()?.join("kubectl-assent").display().to_string();
        let args = ["KUBECONFIG=/nonexistent", &plugin, "check", "-f", "-"];
        let said = cluster.run(cluster.account(Dev), "env", &args, Some(&list)).await?;
        anyhow::Ok(said.stdout.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let said = check(&approval).await?;
    ensure!(said.contains("1 would run") && !said.contains("does not count"), "{said}");

    let mut unsigned = approval.clone();
    let spec = unsigned["spec"].as_object_mut().context("a spec")?;
    spec.remove("signature");
    spec.insert("approver".to_owned(), json!({ "user": "erin", "groups": ["risk-officers"] }));
    let said = check(&unsigned).await?;
    ensure!(
        said.contains("does not count: it has no signature")
            && said.contains("does not prove that erin decided"),
        "{said}"
    );
    ensure!(
        said.contains("0 would run, 1 would wait for approval") && said.contains("1 approval does not count"),
        "{said}"
    );

    let mut edited = approval.clone();
    edited["spec"]["notAfter"] = json!("2090-01-01T00:00:00Z");
    let said = check(&edited).await?;
    ensure!(said.contains("does not count: the signature of erin is for other content"), "{said}");
    ensure!(said.contains("0 would run"), "{said}");
    Ok(())
}

pub async fn a_result_counts_while_the_role_lists_the_key_that_signed_it(
    cluster: &ControlPlane,
) -> Result<()> {
    let signing = Signing::new(cluster, "signed-result", &["erin"]).await?;
    let scene = &signing.scene;
    let mut required = fairness_requirement("24h");
    required["role"] = json!(signing.role);
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "assessments": [required] } });
    scene.apply(Admin, &level).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentMissing").await?;
    let digest = scene.digest_of("v1").await?;
    scene.apply(Dev, &scene.assessment("good", &digest, "0.01", &from_now(-5))).await?;
    scene.condition("assessment", "good", "Counted", "False", "AwaitingSignature").await?;

    let (attestation, said) = signing.sign("erin", &["attest"]).await?;
    ensure!(said.stdout.contains("as erin, in role signed-result-signers"), "{}", said.stdout);
    let mut changed = renamed(&attestation, "changed");
    changed["spec"]["assessments"][0]["name"] = json!("bad");
    signing.merge(&changed).await?.ok()?;
    signing.counts(&changed, "False", "SignatureNotValid").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentMissing").await?;
    signing.merge(&attestation).await?.ok()?;
    scene.is_cleared("v1").await?;
    scene.condition("assessment", "good", "Counted", "True", "Counted").await?;

    signing.list(&[]).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentInconclusive").await.map(drop)
}

pub async fn a_level_can_require_certifications_that_a_person_signed(cluster: &ControlPlane) -> Result<()> {
    let signing = Signing::new(cluster, "signed-certificate", &["erin"]).await?;
    let scene = &signing.scene;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "hostedModels": { "certifications": ["ISO/IEC 42001"] }, "certificationRole": signing.role } });
    scene.apply(Admin, &level).await?;
    let system = |certification: &Value| {
        let mut system = scene.system(&scene.namespace);
        system["spec"]["hostedModels"] = json!([{ "name": "chat", "provider": "OpenAI", "model": "gpt-5" }]);
        system["spec"]["suppliers"] = json!([{ "name": "OpenAI", "certifications": [certification] }]);
        system
    };
    let digest = format!("sha256:{}", "ab".repeat(32));
    let certification = json!({ "name": "ISO/IEC 42001", "notAfter": from_now(3600), "digest": digest });
    scene.apply(Admin, &system(&certification)).await?;
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "CertificationMissing").await?;
    ensure!(message.contains("with a signature in role signed-certificate-signers"), "{message}");

    let key = signing.key("erin").display().to_string();
    let certify =
        ["certify", "scorer", "--provider=OpenAI", "--certification=ISO/IEC 42001", "--ssh-key", &key];
    let printed = scene.assent(Admin, &[&certify[..], &["-o", "json"]].concat()).await?.ok()?;
    let printed: Value = serde_json::from_str(&printed)?;
    scene.condition("modelversion", "v1", "Cleared", "False", "CertificationMissing").await?;
    let said = scene.assent(Admin, &certify).await?.ok()?;
    ensure!(said.contains("Signed: ISO/IEC 42001 of OpenAI by erin, in aisystem/scorer"), "{said}");
    scene.is_cleared("v1").await?;

    // The signature that `certify -o json` printed counts too, but only for the end date of the signed certification.
    let mut longer = certification.clone();
    longer["signature"] = printed["signature"].clone();
    longer["notAfter"] = json!(from_now(7200));
    scene.apply(Admin, &system(&longer)).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "CertificationMissing").await?;
    longer["notAfter"] = certification["notAfter"].clone();
    scene.apply(Admin, &system(&longer)).await?;
    scene.is_cleared("v1").await?;

    let mut without_digest = longer.clone();
    without_digest.as_object_mut().map(|fields| fields.remove("digest"));
    let refused = scene.refused(Admin, &system(&without_digest)).await?;
    ensure!(refused.contains("a signed certification must state the digest of the certificate"), "{refused}");

    // When the role no longer lists the key, the signature does not count.
    signing.list(&[]).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "CertificationMissing").await.map(drop)
}

pub async fn a_signed_review_of_an_incident_counts_whoever_applies_it(cluster: &ControlPlane) -> Result<()> {
    let signing = Signing::new(cluster, "signed-review", &["erin"]).await?;
    let scene = &signing.scene;
    let review = json!({ "within": "24h", "roles": [{ "role": signing.role }] });
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "approvals": [{ "role": signing.role, "count": 1 }], "incidents": { "review": review } } });
    scene.apply(Admin, &level).await?;
    scene.apply(Dev, &scene.incident("complaint", &json!({ "effect": "None" }))).await?;
    scene.assent(Carol, &["incident", "close", "complaint", "--reason=answered"]).await?.ok()?;
    scene.condition("incident", "complaint", "Closed", "True", "Closed").await?;
    let (key, file) = (signing.key("erin"), signing.keys.path().join("review.yaml"));
    let (key, to) = (key.display().to_string(), file.display().to_string());
    let sign =
        ["incident", "review", "complaint", "--reason=tests by age", "--ssh-key", &key, "--to", &to, "--yes"];
    let said = scene.assent(Alice, &sign).await?.ok()?;
    ensure!(said.contains("as erin, in role signed-review-signers"), "{said}");
    ensure!(scene.list("approvals").await?.is_empty(), "signing created an Approval in the cluster");
    let approval = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
    signing.merge(&approval).await?.ok()?;
    signing.counts(&approval, "True", "Counted").await?;
    scene.condition("incident", "complaint", "Reviewed", "True", "Reviewed").await.map(drop)
}
