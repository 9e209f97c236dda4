//! The operator restores deleted or edited policies and Clearances, unless an administrator uninstalled the Helm
//! release.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use assent::admission::{Operator, policies};
use assent::policy::Accelerators;
use assent_tests::{
    Assent, ControlPlane, NAMESPACE, Objects, Person, SOON, Scenario, Watched, container, pod_spec, root,
    until,
};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use kube::Client;
use serde_json::{Value, json};

const KINDS: &str = "mutatingadmissionpolicies,mutatingadmissionpolicybindings,\
                     validatingadmissionpolicies,validatingadmissionpolicybindings";
const OURS: &str = "app.kubernetes.io/part-of=assent";

async fn stage() -> Result<(ControlPlane, Assent)> {
    let cluster = ControlPlane::start().await?;
    let assent = Assent::install(&cluster).await?;
    Ok((cluster, assent))
}

async fn admin(cluster: &ControlPlane, args: &[&str]) -> Result<String> {
    cluster.kubectl(Person::Admin, args).await?.ok()
}

async fn count(cluster: &ControlPlane) -> Result<usize> {
    Ok(admin(cluster, &["get", KINDS, "-l", OURS, "-o=name"]).await?.lines().count())
}

async fn metric(cluster: &ControlPlane, assent: &Assent, name: &str) -> Result<String> {
    let url = format!("http://{}/metrics", assent.address);
    let said = cluster.run(cluster.account(Person::Admin), "curl", &["-sS", &url], None).await?.ok()?;
    Ok(said.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join("\n"))
}

/// Watches of all policies and bindings. A watch shows at once when a change happens. Polling would show it later.
struct Policies {
    mutating: Watched<MutatingAdmissionPolicy>,
    mutating_bindings: Watched<MutatingAdmissionPolicyBinding>,
    validating: Watched<ValidatingAdmissionPolicy>,
    validating_bindings: Watched<ValidatingAdmissionPolicyBinding>,
}

impl Policies {
    async fn watch(client: &Client) -> Result<Self> {
        Ok(Self {
            mutating: Watched::start(client.clone()).await?,
            mutating_bindings: Watched::start(client.clone()).await?,
            validating: Watched::start(client.clone()).await?,
            validating_bindings: Watched::start(client.clone()).await?,
        })
    }

    /// Waits until the cluster has all policies of the source code, and no policy with a UID in `before`. Returns the
    /// time at which the last policy was restored.
    async fn restored(&self, before: &BTreeSet<String>) -> Result<Instant> {
        fn check<K: Clone + Into<assent::admission::PolicyObject>>(
            all: &Objects<K>,
            before: &BTreeSet<String>,
        ) -> Result<(), String> {
            let operator = Operator {
                namespace: NAMESPACE.to_owned(),
                service_account: "assent".to_owned(),
                accelerators: Accelerators::default(),
            };
            let live: Vec<_> = all.values().cloned().map(Into::into).collect();
            let kind = live.first().map(assent::admission::PolicyObject::kind).ok_or("no policies")?;
            for wanted in policies(&operator).into_iter().filter(|wanted| wanted.kind() == kind) {
                let found = live.iter().find(|live| live.key() == wanted.key());
                let found = found.ok_or_else(|| format!("no {}", wanted.key()))?;
                if !wanted.stands_as(found) {
                    return Err(format!("{} is {}", wanted.key(), json!(found)));
                }
                if found.metadata().uid.as_ref().is_some_and(|uid| before.contains(uid)) {
                    return Err(format!("{} is not deleted yet", wanted.key()));
                }
            }
            Ok(())
        }
        let what = "the policies of the source";
        let mut last = self.mutating.until(what, |all| check(all, before)).await?.1;
        last = last.max(self.mutating_bindings.until(what, |all| check(all, before)).await?.1);
        last = last.max(self.validating.until(what, |all| check(all, before)).await?.1);
        Ok(last.max(self.validating_bindings.until(what, |all| check(all, before)).await?.1))
    }
}

async fn uids(cluster: &ControlPlane) -> Result<BTreeSet<String>> {
    let path = "-o=jsonpath={.items[*].metadata.uid}";
    let uids = admin(cluster, &["get", KINDS, "-l", OURS, path]).await?;
    Ok(uids.split_whitespace().map(str::to_owned).collect())
}

/// Copies the chart, so that the copy looks like a newer version: one message of a policy and the fingerprint of the
/// policies differ. Returns the path of the copy.
fn newer_chart(cluster: &ControlPlane) -> Result<String> {
    let to = cluster.directory().join("newer");
    std::fs::create_dir_all(to.join("templates"))?;
    std::fs::create_dir_all(to.join("files"))?;
    let from = root().join("charts/assent");
    for folder in ["", "templates", "files"] {
        for entry in std::fs::read_dir(from.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let text = std::fs::read_to_string(entry.path())?;
                let text = match entry.file_name().to_string_lossy().as_ref() {
                    "_policies.tpl" => {
                        text.replace(&assent::admission::fingerprint(&Accelerators::default()), "another")
                    }
                    "policies.yaml" => {
                        ensure!(
                            text.contains("is in use: without it"),
                            "policies.yaml lacks the message that this test changes"
                        );
                        text.replace("is in use: without it", "is still in use: without it")
                    }
                    _ => text,
                };
                std::fs::write(to.join(folder).join(entry.file_name()), text)?;
            }
        }
    }
    Ok(to.display().to_string())
}

async fn upgrade(cluster: &ControlPlane, chart: &str) -> Result<String> {
    let values = cluster.directory().join("values.yaml").display().to_string();
    let release = ["upgrade", "assent", chart, "--namespace", NAMESPACE, "--values", &values];
    cluster.helm(&release).await?.ok()
}

pub async fn i1_a_pod_created_without_policies_is_stopped() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let policies = Policies::watch(&cluster.client(Person::Admin)?).await?;
    let scene = Scenario::new(&cluster, "slipped", "high").await?;
    let before = uids(&cluster).await?;
    // A paused operator cannot restore the policies before the pod is created.
    assent.operator().pause()?;
    admin(&cluster, &["delete", KINDS, "-l", OURS]).await?;
    until(Duration::from_secs(10), "the API server to drop the policies", async || {
        scene
            .kubectl(Person::Dev, &["delete", "pod", "intruder", "--ignore-not-found", "--wait=false"])
            .await?;
        scene.apply(Person::Dev, &scene.pod("intruder", &container("bad"))).await?;
        let pod = scene.get("pod", "intruder").await?;
        Ok(pod["spec"]["schedulingGates"].is_null().then_some(()))
    })
    .await?;
    assent.operator().resume()?;
    policies.restored(&before).await?;
    until(SOON, "the intruder to be stopped", async || {
        Ok(scene.get("pod", "intruder").await.is_err().then_some(()))
    })
    .await?;
    until(Duration::from_secs(10), "pods to be held again", async || {
        let pod = scene.pod("late", &container("bad")).to_string();
        let create = ["create", "--dry-run=server", "-o=json", "-f", "-"];
        let pod = cluster.kubectl_stdin(Person::Dev, &create, &pod).await?.ok()?;
        Ok(pod.contains("assent.dev/clearance").then_some(()))
    })
    .await?;
    let said = metric(&cluster, &assent, "assent_policies_restored_total").await?;
    ensure!(said.lines().count() == before.len() && said.lines().all(|l| l.ends_with(" 1")), "{said}");
    until(SOON, "an Event for each policy", async || {
        let events = admin(&cluster, &["get", "events.v1.events.k8s.io", "-n=default", "-o=json"]).await?;
        let count = events.matches("was missing, restored").count();
        Ok((count >= before.len()).then_some(()))
    })
    .await
}

pub async fn deleted_policies_are_back_within_a_second(
    cluster: &ControlPlane,
    _assent: &Assent,
) -> Result<()> {
    let policies = Policies::watch(&cluster.client(Person::Admin)?).await?;
    let mut took = Vec::new();
    for object in [
        "mutatingadmissionpolicy/assent-gate",
        "mutatingadmissionpolicybinding/assent-gate",
        "validatingadmissionpolicy/assent-pod-create",
        "validatingadmissionpolicybinding/assent-pod-create",
        "validatingadmissionpolicy/assent-approvals",
    ] {
        let before = admin(cluster, &["get", object, "-o=jsonpath={.metadata.uid}"]).await?;
        admin(cluster, &["delete", object, "--wait=false"]).await?;
        let deleted = Instant::now();
        took.push(policies.restored(&BTreeSet::from([before])).await?.saturating_duration_since(deleted));
    }
    took.sort();
    // The API server compiles each restored policy, which is slow while other tests run. So only the two fastest
    // restores must take less than a second.
    ensure!(took[1] < Duration::from_secs(1), "restored after {took:?}");
    ensure!(took.iter().all(|took| *took < Duration::from_secs(20)), "restored after {took:?}");
    // If all policies are missing, the API server must compile all of them again. So the limit for this restore is 20
    // seconds.
    let before = uids(cluster).await?;
    admin(cluster, &["delete", KINDS, "-l", OURS, "--wait=false"]).await?;
    let deleted = Instant::now();
    let took = policies.restored(&before).await?.saturating_duration_since(deleted);
    ensure!(took < Duration::from_secs(20), "all policies were restored after {took:?}");
    Ok(())
}

pub async fn edited_policies_are_restored_within_a_second(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let policies = Policies::watch(&cluster.client(Person::Admin)?).await?;
    let binding = "validatingadmissionpolicybinding/assent-pod-create";
    let policy = "validatingadmissionpolicy/assent-pod-create";
    let gate = "mutatingadmissionpolicy/assent-gate";
    let elsewhere = json!({ "matchLabels": { "nowhere": "at-all" } });
    let no_pods = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }]);
    let mut took = Vec::new();
    for (object, patch) in [
        (binding, json!({ "validationActions": ["Audit"] })),
        (binding, json!({ "matchResources": { "namespaceSelector": elsewhere } })),
        (binding, json!({ "paramRef": { "parameterNotFoundAction": "Allow" } })),
        (binding, json!({ "policyName": "assent-pod-held", "paramRef": null })),
        (policy, json!({ "failurePolicy": "Ignore" })),
        (policy, json!({ "matchConstraints": { "excludeResourceRules": no_pods } })),
        (
            policy,
            json!({ "matchConstraints": { "namespaceSelector": { "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["lending"] }] } } }),
        ),
        (policy, json!({ "matchConditions": [{ "name": "never", "expression": "false" }] })),
        (gate, json!({ "matchConstraints": { "objectSelector": elsewhere } })),
        (gate, json!({ "mutations": null })),
    ] {
        let patch = json!({ "spec": patch }).to_string();
        let patched =
            cluster.kubectl(Person::Admin, &["patch", object, "--type=merge", "-p", &patch]).await?;
        let edited = Instant::now();
        if !patched.status.success() {
            ensure!(patch.contains("\"mutations\":null"), "{patch}: {}", patched.stderr);
            continue;
        }
        took.push(policies.restored(&BTreeSet::new()).await?.saturating_duration_since(edited));
    }
    took.sort();
    // The API server compiles each restored policy, which is slow while other tests run. So only the two fastest
    // restores must take less than a second.
    ensure!(took[1] < Duration::from_secs(1), "restored after {took:?}");
    ensure!(took.iter().all(|took| *took < Duration::from_secs(20)), "restored after {took:?}");
    // The operator also restores a policy from which a user removed the label of Assent.
    admin(cluster, &["label", policy, "app.kubernetes.io/part-of-"]).await?;
    policies.restored(&BTreeSet::new()).await?;
    // The operator counts a restore only after it wrote the policy. A late watch event can cause one more restore. So
    // the metric can be higher than five.
    until(SOON, "the metric to count five restores", async || {
        let said = metric(cluster, assent, "assent_policies_restored_total").await?;
        let of_the_policy = said.lines().find_map(|line| {
            line.strip_prefix(
                "assent_policies_restored_total{policy=\"ValidatingAdmissionPolicy/assent-pod-create\"} ",
            )
        });
        ensure!(of_the_policy.is_some_and(|n| n.parse().is_ok_and(|n: u32| n >= 5)), "{said}");
        Ok(Some(()))
    })
    .await?;
    let scene = Scenario::new(cluster, "edited", "high").await?;
    let said = admin(cluster, &["get", "events.v1.events.k8s.io", "-n=default", "-o=json"]).await?;
    ensure!(said.contains("was changed by kubectl-patch, restored"), "{said}");
    // The API server uses a restored policy only after a short delay.
    until(Duration::from_secs(10), "pods to be held again", async || {
        let applied = scene.apply(Person::Dev, &scene.pod("held", &container("bad"))).await;
        Ok(applied.is_ok().then_some(()))
    })
    .await?;
    scene.held_pods("app=held", 1).await
}

pub async fn an_upgrade_after_a_restore_has_no_conflict_and_is_not_reverted() -> Result<()> {
    let (cluster, _assent) = stage().await?;
    let policies = Policies::watch(&cluster.client(Person::Admin)?).await?;
    let level = "validatingadmissionpolicy/assent-risklevels";
    let deleted = admin(&cluster, &["get", level, "-o=jsonpath={.metadata.uid}"]).await?;
    admin(&cluster, &["delete", level, "--wait=false"]).await?;
    policies.restored(&BTreeSet::from([deleted])).await?;
    let patch = json!({ "spec": { "failurePolicy": "Ignore" } }).to_string();
    admin(&cluster, &["patch", "validatingadmissionpolicy/assent-pod-create", "--type=merge", "-p", &patch])
        .await?;
    policies.restored(&BTreeSet::new()).await?;
    let managers = async |of: &str| {
        let output =
            "-o=jsonpath={range .metadata.managedFields[*]}{.manager}/{.operation}/{.subresource} {end}";
        admin(&cluster, &["get", of, "--show-managed-fields", output]).await
    };
    for of in [level, "validatingadmissionpolicy/assent-pod-create"] {
        until(SOON, "Helm to be the only field manager", async || {
            let managers = managers(of).await?;
            let others = managers.split_whitespace().filter(|m| !m.ends_with("/status"));
            let others: Vec<_> = others.collect();
            ensure!(others == ["helm/Apply/"], "the field managers are {managers}");
            Ok(Some(()))
        })
        .await?;
    }

    upgrade(&cluster, &newer_chart(&cluster)?).await?;
    // The operator is now older than the chart. Within three seconds, it must not revert the newer policy.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let said = admin(&cluster, &["get", level, "-o=json"]).await?;
    ensure!(said.contains("is still in use: without it"), "an older operator replaced a newer policy");
    let owners = admin(&cluster, &["get", level, "-o=jsonpath={.metadata.ownerReferences}"]).await?;
    ensure!(owners.is_empty(), "{owners}");
    let before = count(&cluster).await?;
    admin(&cluster, &["delete", "validatingadmissionpolicy/assent-pod-held", "--wait=false"]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(
        count(&cluster).await? == before - 1,
        "an older operator restored a policy that a newer chart can remove"
    );

    upgrade(&cluster, &root().join("charts/assent").display().to_string()).await?;
    policies.restored(&BTreeSet::new()).await?;
    let deleted = admin(&cluster, &["get", level, "-o=jsonpath={.metadata.uid}"]).await?;
    admin(&cluster, &["delete", level, "--wait=false"]).await?;
    policies.restored(&BTreeSet::from([deleted])).await.map(drop)
}

pub async fn the_operator_does_not_restore_after_an_uninstall_and_held_pods_can_be_released() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let scene = Scenario::new(&cluster, "uninstalled", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    scene.apply(Person::Dev, &scene.deployment("other", &container("other"))).await?;
    scene.held("other", 2).await?;
    let training = scene.workload("batch/v1", "Job", "training", &pod_spec(&container("other")));
    scene.apply(Person::Dev, &training).await?;
    until(Duration::from_secs(10), "the Job to be suspended", async || {
        Ok((scene.get("job", "training").await?["spec"]["suspend"] == json!(true)).then_some(()))
    })
    .await?;
    let all = count(&cluster).await?;
    let uninstall = ["uninstall", "assent", "--namespace", NAMESPACE];
    for round in 0..5 {
        // The operator can restore a policy just before the uninstallation. Helm must also delete this policy.
        admin(&cluster, &["delete", KINDS, "-l", OURS, "--wait=false"]).await?;
        tokio::time::sleep(Duration::from_millis(300 * round)).await;
        cluster.helm(&uninstall).await?.ok()?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let left = count(&cluster).await?;
        ensure!(left == 0, "round {round}: {left} policies are left");
        scene.running("scorer", 2).await?;
        scene.held("other", 2).await?;
        if round < 4 {
            Assent::release(&cluster).await?;
            // The new Helm release has a new service account, so the operator needs a new token.
            Assent::account(&cluster, "operator", cluster.server()).await?;
            assent.operator().restart()?;
            until(SOON, "all policies", async || Ok((count(&cluster).await? == all).then_some(()))).await?;
        }
    }
    ensure!(
        assent.operator().log_tail(5000).contains("so its policies are not restored"),
        "the operator does not log the uninstallation"
    );
    let release = root().join("docs/install.md");
    let release = std::fs::read_to_string(release)?;
    let script = release
        .split_once("<!-- not run: nothing is uninstalled here; a test of the chart runs it -->\n```sh\n");
    let script =
        script.and_then(|(_, rest)| rest.split("```").next()).context("no script in docs/install.md")?;
    let account = cluster.account(Person::Admin);
    cluster.run(account, "bash", &["-euo", "pipefail", "-c", script], None).await?.ok()?;
    scene.running("other", 2).await?;
    let job = scene.get("job", "training").await?;
    ensure!(job["spec"]["suspend"] == json!(false), "{job}");
    ensure!(job["metadata"]["labels"]["assent.dev/suspended"].is_null(), "{job}");
    let pods: Value = serde_json::from_str(&admin(&cluster, &["get", "pods", "-A", "-o=json"]).await?)?;
    ensure!(!pods.to_string().contains("schedulingGates"), "{pods}");
    scene.apply(Person::Dev, &scene.pod("free", &container("bad"))).await?;
    scene.running_pod("free").await
}

pub async fn restored_policies_are_deleted_with_their_release_in_any_order() -> Result<()> {
    let (cluster, _assent) = stage().await?;
    for kinds in [KINDS, "clusterrole,clusterrolebinding"] {
        admin(&cluster, &["delete", kinds, "-l", OURS, "--wait=false"]).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    until(SOON, "the garbage collection of the restored policies", async || {
        Ok((count(&cluster).await? == 0).then_some(()))
    })
    .await
}

pub async fn i1_a_forged_or_deleted_clearance_is_restored(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "forged", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("bad", &container("bad"))).await?;
    scene.held("bad", 2).await?;
    let clearance = scene.get("clearance", "clearance").await?;
    let mut forged = clearance["spec"].clone();
    forged["systems"]["scorer"]["cleared"][0]["runtime"] = json!({ "containers": [container("bad")] });
    let forge = json!([{ "op": "replace", "path": "/spec", "value": forged }]).to_string();
    let patch = ["patch", "clearance/clearance", "--type=json", "-p", &forge];
    let said = scene.denied(Person::Admin, &patch).await?;
    ensure!(said.contains("written by Assent only"), "{said}");
    for tamper in [&patch[..], &["delete", "clearance/clearance"]] {
        assent.operator().pause()?;
        admin(cluster, &["delete", "validatingadmissionpolicybinding/assent-operator-only"]).await?;
        until(Duration::from_secs(10), "the policy that protects the Clearance to be gone", async || {
            scene.kubectl(Person::Admin, tamper).await.map(Some)
        })
        .await?;
        assent.operator().resume()?;
        until(Duration::from_secs(5), "the restored Clearance", async || {
            let now = scene.get("clearance", "clearance").await?;
            let cleared = |of: &Value| of["systems"]["scorer"]["cleared"].clone();
            Ok((cleared(&now["spec"]) == cleared(&clearance["spec"])).then_some(()))
        })
        .await?;
        scene.held("bad", 2).await?;
        scene.event("Clearance", "clearance", "ClearanceRestored").await?;
    }
    // The operator counts a restored Clearance only after it wrote the Clearance.
    until(Duration::from_secs(10), "the count of restored Clearances", async || {
        let said = metric(cluster, assent, "assent_clearances_restored_total").await?;
        ensure!(said == "assent_clearances_restored_total 2", "{said}");
        Ok(Some(()))
    })
    .await?;
    let policies = Policies::watch(&cluster.client(Person::Admin)?).await?;
    policies.restored(&BTreeSet::new()).await.map(drop)
}

pub async fn a_release_in_another_namespace_adopts_definitions_and_decisions() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let scene = Scenario::new(&cluster, "reinstalled", "high").await?;
    scene.clear("v1", &container("1")).await?;
    cluster.helm(&["uninstall", "assent", "--namespace", NAMESPACE]).await?.ok()?;
    assent.operator().pause()?;
    let chart = root().join("charts/assent").display().to_string();
    let install =
        ["install", "assent", &chart, "--namespace=governance", "--create-namespace", "--set=replicas=0"];
    let refused = cluster.helm(&install).await?.denied()?;
    ensure!(refused.contains("invalid ownership metadata"), "{refused}");
    cluster.helm(&[&install[..], &["--take-ownership"]].concat()).await?.ok()?;
    scene.is_cleared("v1").await?;
    let govern = |namespace: &'static str| {
        ["label", "namespace", namespace, "assent.dev/mode=enforce", "--dry-run=server"]
    };
    until(SOON, "the new namespace to be the one of the operator", async || {
        admin(&cluster, &govern(NAMESPACE)).await?;
        let own = cluster.kubectl(Person::Admin, &govern("governance")).await?;
        Ok((!own.status.success()).then_some(()))
    })
    .await?;
    let (cleared, other) = (scene.pod("cleared", &container("1")), scene.pod("other", &container("other")));
    scene.apply(Person::Dev, &cleared).await?;
    scene.running_pod("cleared").await?;
    scene.apply(Person::Dev, &other).await?;
    scene.held("other", 1).await.map(drop)
}
