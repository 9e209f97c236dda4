//! A scenario for a test: one namespace with an AI system, its versions and workloads.
//!
//! ```text
//!  Scenario ── namespace (enforced, and dev may do everything in it)
//!     ├─ AISystem "scorer"      owned by dev
//!     ├─ ModelVersion "v1" …    one container, image by digest
//!     └─ workloads              whose pods name the system
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use assent::api::{AISystem, Digest, ModelVersion, RiskLevel};
use assent::policy::Subject;
use serde_json::{Value, json};

use crate::{ControlPlane, Output, Person, SOON, binaries, until};

/// The annotation in which `kubectl apply` keeps the last applied manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The name of the only system of a scenario.
pub const SYSTEM: &str = "scorer";

/// A digest that repeats one hexadecimal digit.
pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// The time `seconds` from now, in whole seconds. A negative number gives a time in the past.
pub fn from_now(seconds: i64) -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    jiff::Timestamp::from_second(then.as_second()).unwrap_or(then).to_string()
}

/// The container of a version. Versions differ in `revision`.
pub fn container(revision: &str) -> Value {
    json!({
        "name": "server",
        "image": format!("registry.example/scorer@{}", digest('a')),
        "args": ["--model=scorer", format!("--revision={revision}")],
        "env": [{ "name": "MODE", "value": "batch" }],
    })
}

/// The spec of a pod that runs `container`.
pub fn pod_spec(container: &Value) -> Value {
    json!({ "containers": [container], "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1 })
}

/// One namespace and its objects.
pub struct Scenario<'a> {
    /// The cluster of the namespace.
    pub cluster: &'a ControlPlane,
    /// The name of the namespace.
    pub namespace: String,
}

impl<'a> Scenario<'a> {
    /// Creates an enforced namespace named `name`, in which dev may do everything, and a system with risk level
    /// `level`.
    pub async fn new(cluster: &'a ControlPlane, name: &str, level: &str) -> Result<Self> {
        Self::governed_by(cluster, name, level, &json!({ "assent.dev/mode": "enforce" })).await
    }

    /// Creates a namespace named `name` with `labels`, in which dev may do everything, and a system with risk level
    /// `level`.
    pub async fn governed_by(
        cluster: &'a ControlPlane,
        name: &str,
        level: &str,
        labels: &Value,
    ) -> Result<Self> {
        let scenario = Self { cluster, namespace: name.replace('_', "-") };
        let (namespace, dev) = (&scenario.namespace, json!([{ "kind": "User", "name": "dev" }]));
        let all = json!({ "kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io" });
        scenario.apply(Person::Admin, &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels } })).await?;
        scenario
            .apply(
                Person::Admin,
                &json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": "dev", "namespace": namespace }, "roleRef": all, "subjects": dev }),
            )
            .await?;
        if !labels["assent.dev/mode"].is_null() {
            scenario.has_mode(&labels["assent.dev/mode"]).await?;
        }
        scenario.apply(Person::Admin, &scenario.system(level)).await?;
        Ok(scenario)
    }

    /// Waits until the Clearance of the namespace has this mode. Until then, the API server refuses pods instead of
    /// holding them.
    pub async fn has_mode(&self, mode: &Value) -> Result<()> {
        let clearance =
            async || Ok(self.get("clearance", "clearance").await.ok().filter(|c| c["spec"]["mode"] == *mode));
        until(SOON, "the namespace's clearance", clearance).await.map(drop)
    }

    /// Makes the API server refuse each write of the Clearance of the namespace with `message`, unless the CEL
    /// `expression` is true.
    pub async fn refuse_clearances_unless(&self, expression: &str, message: &str) -> Result<()> {
        let (name, api) = (self.refusing_policy(), "admissionregistration.k8s.io/v1");
        let selector = json!({ "matchLabels": { "kubernetes.io/metadata.name": self.namespace } });
        let rule = json!({ "apiGroups": ["assent.dev"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["clearances"] });
        let policy = json!({ "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name }, "spec": {
            "matchConstraints": { "namespaceSelector": selector, "resourceRules": [rule] },
            "validations": [{ "expression": expression, "message": message }] } });
        let binding = json!({ "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] } });
        self.apply(Person::Admin, &policy).await?;
        self.apply(Person::Admin, &binding).await?;
        // The API server reads new policies about once per second.
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    }

    /// Ends the effect of [`Scenario::refuse_clearances_unless`].
    pub async fn accept_clearances(&self) -> Result<()> {
        let policy = self.refusing_policy();
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            self.cluster.kubectl(Person::Admin, &["delete", kind, &policy]).await?.ok()?;
        }
        Ok(())
    }

    fn refusing_policy(&self) -> String {
        format!("{}-clearances", self.namespace)
    }

    /// The manifest of the system with risk level `level`, and with all documents that the example levels require.
    pub fn system(&self, level: &str) -> Value {
        let document =
            |name: &str| json!({ "type": name, "uri": "https://docs.example", "digest": digest('d') });
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem", "metadata": { "name": SYSTEM, "namespace": self.namespace },
            "spec": { "intendedPurpose": "Scores.", "riskLevel": level, "owners": [{ "kind": "User", "name": "dev" }],
                "documentation": [document("impact-assessment"), document("technical-documentation")] } })
    }

    /// The manifest of a version that runs `container`.
    pub fn version(&self, name: &str, container: &Value) -> Value {
        self.version_of(name, &json!({ "containers": [container] }))
    }

    /// The manifest of a version with a complete runtime.
    pub fn version_of(&self, name: &str, runtime: &Value) -> Value {
        let artifact = json!([{ "name": "evidence", "digest": digest('e') }]);
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "ModelVersion", "metadata": { "name": name, "namespace": self.namespace },
            "spec": { "system": SYSTEM, "runtime": runtime,
                "provenance": { "data": artifact, "tests": artifact, "rationale": "It is better." } } })
    }

    /// The manifest of a workload of `kind` whose pods have `spec`.
    pub fn workload(&self, api_version: &str, kind: &str, name: &str, spec: &Value) -> Value {
        let mut pod =
            json!({ "metadata": { "labels": { "app": name, "assent.dev/system": SYSTEM } }, "spec": spec });
        let selector = json!({ "matchLabels": { "app": name } });
        let spec = match kind {
            "Pod" => {
                return json!({ "apiVersion": "v1", "kind": "Pod", "spec": spec,
                "metadata": { "name": name, "namespace": self.namespace, "labels": pod["metadata"]["labels"] } });
            }
            "Job" | "CronJob" => {
                pod["spec"]["restartPolicy"] = json!("Never");
                if kind == "Job" {
                    json!({ "template": pod })
                } else {
                    json!({ "schedule": "* * * * *", "jobTemplate": { "spec": { "template": pod } } })
                }
            }
            "DaemonSet" => json!({ "selector": selector, "template": pod }),
            "StatefulSet" => {
                json!({ "selector": selector, "template": pod, "replicas": 2, "serviceName": name, "podManagementPolicy": "Parallel" })
            }
            _ => json!({ "selector": selector, "template": pod, "replicas": 2 }),
        };
        json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name, "namespace": self.namespace }, "spec": spec })
    }

    /// The manifest of a Deployment of two pods that run `container`.
    pub fn deployment(&self, name: &str, container: &Value) -> Value {
        self.workload("apps/v1", "Deployment", name, &pod_spec(container))
    }

    /// The manifest of a bare pod that runs `container`.
    pub fn pod(&self, name: &str, container: &Value) -> Value {
        self.workload("v1", "Pod", name, &pod_spec(container))
    }

    /// Runs `kubectl ARGS -n NAMESPACE` as `person`. The command must succeed. Returns the standard output of the
    /// command.
    pub async fn kubectl(&self, person: Person, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(person, &[args, &["-n", &self.namespace]].concat()).await?.ok()
    }

    /// Runs `kubectl ARGS -n NAMESPACE` as `person`. The command must fail. Returns the standard error of the command.
    pub async fn denied(&self, person: Person, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(person, &[args, &["-n", &self.namespace]].concat()).await?.denied()
    }

    /// Runs `kubectl assent ARGS -n NAMESPACE` as `person`.
    pub async fn assent(&self, person: Person, args: &[&str]) -> Result<Output> {
        let plugin = binaries()?.join("kubectl-assent").display().to_string();
        let args = [args, &["-n", &self.namespace]].concat();
        self.cluster.run(self.cluster.account(person), &plugin, &args, None).await
    }

    /// Applies a manifest as `person`. For a new object, sends one request without kubectl. For an existing object or a
    /// `List`, runs kubectl, which computes the patch.
    pub async fn apply(&self, person: Person, manifest: &Value) -> Result<()> {
        let text = manifest.to_string();
        if manifest["kind"] == "List" || self.cluster.reader().has(manifest).await? {
            return self.cluster.kubectl_stdin(person, &["apply", "-f", "-"], &text).await?.ok().map(drop);
        }
        let mut created = manifest.clone();
        created["metadata"]["annotations"][LAST_APPLIED] = json!(text);
        self.cluster.create(person, &created, "kubectl-client-side-apply").await.map(drop)
    }

    /// Applies a manifest as `person`. The API server must refuse it. Returns the message of the refusal.
    pub async fn refused(&self, person: Person, manifest: &Value) -> Result<String> {
        self.cluster.kubectl_stdin(person, &["apply", "-f", "-"], &manifest.to_string()).await?.denied()
    }

    /// Applies a version and waits until the operator has computed its digest. Returns the digest.
    pub async fn publish(&self, name: &str, container: &Value) -> Result<Digest> {
        self.apply(Person::Admin, &self.version(name, container)).await?;
        self.digest_of(name).await
    }

    /// Waits until the status of a version has the digest of its current content, and returns the digest.
    pub async fn digest_of(&self, version: &str) -> Result<Digest> {
        until(SOON, &format!("{version}'s digest"), async || {
            let version = self.get("modelversion", version).await?;
            let reported = version["status"]["subjectDigest"].as_str().map(str::parse).transpose()?;
            let version: ModelVersion = serde_json::from_value(version)?;
            let system: AISystem = serde_json::from_value(self.get("aisystem", &version.spec.system).await?)?;
            let level = self.get("risklevel", &system.spec.risk_level).await.ok();
            let level: Option<RiskLevel> = level.map(serde_json::from_value).transpose()?;
            let level = level.as_ref().map(|level| &level.spec);
            let current = Subject::new(&self.namespace, &system.spec, level, &version.spec).digest();
            Ok(reported.filter(|reported| *reported == current))
        })
        .await
    }

    /// The manifest of a decision, an `Approval`.
    pub fn decision(&self, decision: &str, version: &str, digest: &Digest, role: &str) -> Value {
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
            "metadata": { "generateName": format!("{version}-"), "namespace": self.namespace },
            "spec": { "system": SYSTEM, "modelVersion": version, "subjectDigest": digest, "role": role,
                "decision": decision, "reason": "for the test" } })
    }

    /// The manifest of an assessment of v1 with one fairness result, performed at `performed`.
    pub fn assessment(&self, name: &str, digest: &Digest, value: &str, performed: &str) -> Value {
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Assessment",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": { "system": SYSTEM, "modelVersion": "v1", "subjectDigest": digest, "kind": "Fairness",
                "performedAt": performed, "tool": { "name": "fairlearn", "version": "0.13.0" },
                "results": [{ "metric": "demographic_parity_difference", "slice": "sex", "value": value,
                    "direction": "LowerIsBetter", "samples": 1000 }] } })
    }

    /// The manifest of an incident of the system, with the fields of `spec`.
    pub fn incident(&self, name: &str, spec: &Value) -> Value {
        let mut incident = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Incident",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": { "system": SYSTEM, "description": "drift" } });
        for (field, value) in spec.as_object().into_iter().flatten() {
            incident["spec"][field] = value.clone();
        }
        incident
    }

    /// The manifest of an override of a version. The override waives the approval of the ethics board for an hour.
    pub fn override_(&self, version: &str, name: &str, digest: &Digest) -> Value {
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Override",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": { "system": SYSTEM, "modelVersion": version, "subjectDigest": digest, "reason": "outage",
                "waives": [{ "type": "Approval", "name": "ethics-board" }], "notAfter": from_now(3600) } })
    }

    /// The manifest of a monitor of the system. By default, a breach holds the system, and the interval is the shortest
    /// valid one. The fields of `spec` are added to the manifest, or replace its fields.
    pub fn monitor(&self, name: &str, spec: &Value) -> Value {
        let mut monitor = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Monitor",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": { "system": SYSTEM, "metric": name, "query": "spd", "interval": "5s", "onBreach": "Hold",
                "breach": { "above": "0.1" }, "clear": { "for": "1s" },
                "noData": { "after": "1h", "then": "Unknown" } } });
        for (field, value) in spec.as_object().into_iter().flatten() {
            monitor["spec"][field] = value.clone();
        }
        monitor
    }

    /// The manifest of a note of the type `Fact` on an incident.
    pub fn note(&self, name: &str, incident: &str) -> Value {
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "IncidentNote",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": { "incident": incident, "type": "Fact", "text": "text" } })
    }

    /// Creates a decision as `person`. Returns the name of the decision.
    pub async fn decide(&self, person: Person, manifest: &Value) -> Result<String> {
        let created = self.cluster.create(person, manifest, "kubectl-create").await?;
        Ok(created["metadata"]["name"].as_str().context("a decision without a name")?.to_owned())
    }

    /// Creates a decision as `person`. The API server must refuse it. Returns the message of the refusal.
    pub async fn undecided(&self, person: Person, manifest: &Value) -> Result<String> {
        self.cluster.kubectl_stdin(person, &["create", "-f", "-"], &manifest.to_string()).await?.denied()
    }

    /// Approves a version of the level `high` as Alice and as Bob. Waits until the version is cleared.
    pub async fn approve(&self, version: &str) -> Result<()> {
        self.approve_without_waiting(version).await?;
        self.is_cleared(version).await
    }

    /// Approves a version as Alice and as Bob. Does not wait for the result.
    pub async fn approve_without_waiting(&self, version: &str) -> Result<()> {
        let digest = self.digest_of(version).await?;
        self.decide(Person::Alice, &self.decision("Approve", version, &digest, "risk-officer")).await?;
        self.decide(Person::Bob, &self.decision("Approve", version, &digest, "ethics-board")).await?;
        Ok(())
    }

    /// Publishes and approves a version that runs `container`. Waits until the version is cleared.
    pub async fn clear(&self, version: &str, container: &Value) -> Result<()> {
        self.publish(version, container).await?;
        self.approve(version).await
    }

    /// Reads an object of the namespace as an administrator.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.cluster.reader().get(kind, &self.namespace, name).await
    }

    /// Lists the objects of a kind in the namespace as an administrator.
    pub async fn list(&self, kind: &str) -> Result<Vec<Value>> {
        self.cluster.reader().list(kind, &self.namespace, "").await
    }

    /// Waits until an object has a condition with this status and reason for its current generation. Returns
    /// the message of the condition.
    pub async fn condition(
        &self,
        kind: &str,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        let what = format!("{kind} {name} to have the condition {type_}={status} {reason}");
        until(SOON, &what, async || {
            let object = self.get(kind, name).await?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let Some(condition) = conditions.iter().find(|c| c["type"] == type_) else {
                bail!("the condition is missing in {object}")
            };
            ensure!(
                condition["observedGeneration"] == object["metadata"]["generation"],
                "the condition is outdated"
            );
            ensure!(
                condition["status"] == status && condition["reason"] == reason,
                "the condition is {condition}"
            );
            Ok(Some(condition["message"].as_str().unwrap_or_default().to_owned()))
        })
        .await
    }

    /// Waits until a version is cleared.
    pub async fn is_cleared(&self, version: &str) -> Result<()> {
        self.condition("modelversion", version, "Cleared", "True", "Cleared").await.map(drop)
    }

    /// The pods with the label `app=<app>` that are not being deleted.
    pub async fn pods(&self, app: &str) -> Result<Vec<Value>> {
        let pods = self.list("pods").await?;
        let wanted =
            |p: &Value| p["metadata"]["labels"]["app"] == app && p["metadata"]["deletionTimestamp"].is_null();
        Ok(pods.into_iter().filter(wanted).collect())
    }

    /// Waits until exactly `count` pods of `app` run and none is held. Returns the elapsed time.
    pub async fn running(&self, app: &str, count: usize) -> Result<Duration> {
        self.settled(app, count, 0).await
    }

    /// Waits until exactly `count` pods of `app` are held and none runs. Returns the elapsed time.
    pub async fn held(&self, app: &str, count: usize) -> Result<Duration> {
        self.settled(app, 0, count).await
    }

    /// Waits until exactly `running` pods of `app` run and `held` pods are held. Returns the elapsed time.
    pub async fn settled(&self, app: &str, running: usize, held: usize) -> Result<Duration> {
        let begin = Instant::now();
        until(SOON, &format!("{running} running and {held} held pods of {app}"), async || {
            let pods = self.pods(app).await?;
            let gated = pods.iter().filter(|p| is_held(p)).count();
            let runs = pods.iter().filter(|p| p["status"]["phase"] == "Running").count();
            ensure!(
                gated == held && runs == running && pods.len() == held + running,
                "of {} pods, {runs} run and {gated} are held",
                pods.len()
            );
            Ok(Some(()))
        })
        .await?;
        Ok(begin.elapsed())
    }

    /// Waits until a pod runs and has no gate.
    pub async fn running_pod(&self, name: &str) -> Result<()> {
        until(SOON, &format!("pod {name} to run"), async || {
            let pod = self.get("pod", name).await?;
            ensure!(pod["status"]["phase"] == "Running" && !is_held(&pod), "its status is {}", pod["status"]);
            Ok(Some(()))
        })
        .await
    }

    /// Sets a running pod to `Succeeded`, as if its container had ended.
    pub async fn complete_pod(&self, name: &str) -> Result<()> {
        let status = json!({ "status": { "phase": "Succeeded" } }).to_string();
        let patch = ["patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status];
        self.kubectl(Person::Admin, &patch).await.map(drop)
    }

    /// Waits until exactly `count` pods with the labels `selector` are held.
    pub async fn held_pods(&self, selector: &str, count: usize) -> Result<()> {
        until(SOON, &format!("{count} held pods of {selector}"), async || {
            let held = format!("{selector},assent.dev/held");
            let pods = self.cluster.reader().list("pods", &self.namespace, &held).await?;
            Ok((pods.len() == count).then_some(()))
        })
        .await
    }

    /// Waits for an Event with this reason about an object. Returns the note of the Event.
    pub async fn event(&self, kind: &str, name: &str, reason: &str) -> Result<String> {
        until(SOON, &format!("an Event {reason} about {kind} {name}"), async || {
            let events = self.list("events.v1.events.k8s.io").await?;
            let about = |e: &&Value| {
                e["regarding"]["kind"] == kind && e["regarding"]["name"] == name && e["reason"] == reason
            };
            Ok(events.iter().find(about).map(|e| e["note"].as_str().unwrap_or_default().to_owned()))
        })
        .await
    }
}

fn is_held(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    gates.is_some_and(|gates| gates.iter().any(|gate| gate["name"] == "assent.dev/clearance"))
}

/// A requirement of a risk level for the results of [`Scenario::assessment`]: the value may be at most 0.05.
pub fn fairness_requirement(max_age: &str) -> Value {
    json!({ "name": "fairness-sex", "kind": "Fairness", "metric": "demographic_parity_difference", "slice": "sex",
        "comparator": "AtMost", "threshold": "0.05", "minSamples": 100, "maxErrorRate": "0", "maxAge": max_age,
        "role": "risk-officer", "independent": true })
}
