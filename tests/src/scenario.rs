//! A small company in one namespace: a system, its versions and workloads, and the people around them.
//!
//! ```text
//!  Scenario ── namespace (enforced; dev may do everything in it)
//!     ├─ AISystem "scorer"      owned by dev
//!     ├─ ModelVersion "v1" …    one container, image by digest
//!     └─ workloads              whose pods name the system
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use assent::api::{AISystem, Digest, ModelVersion, RiskLevel};
use assent::policy::Subject;
use serde_json::{Value, json};

use crate::{ControlPlane, Output, Person, binaries, until};

/// How long what should happen at once may take on a loaded machine.
const SOON: Duration = Duration::from_mins(1);

/// The one system of a scenario.
pub const SYSTEM: &str = "scorer";

/// A digest that is made of one hexadecimal digit.
pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// The container of a version; `revision` tells versions apart.
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

/// One namespace and what is in it.
pub struct Scenario<'a> {
    /// Where it plays.
    pub cluster: &'a ControlPlane,
    /// Its namespace.
    pub namespace: String,
}

impl<'a> Scenario<'a> {
    /// An enforced namespace named `name`, in which dev may do everything, with a system of `level`.
    pub async fn new(cluster: &'a ControlPlane, name: &str, level: &str) -> Result<Self> {
        Self::governed_by(cluster, name, level, &json!({ "assent.dev/mode": "enforce" })).await
    }

    /// The same, in a namespace with other `labels`.
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

    /// Waits until the namespace has its clearance, without which its pods are refused and not held.
    pub async fn has_mode(&self, mode: &Value) -> Result<()> {
        let clearance =
            async || Ok(self.get("clearance", "clearance").await.ok().filter(|c| c["spec"]["mode"] == *mode));
        until(SOON, "the namespace's clearance", clearance).await.map(drop)
    }

    /// The system, of `level`, with all that the example levels ask for.
    pub fn system(&self, level: &str) -> Value {
        let document =
            |name: &str| json!({ "type": name, "uri": "https://docs.example", "digest": digest('d') });
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem", "metadata": { "name": SYSTEM, "namespace": self.namespace },
            "spec": { "intendedPurpose": "Scores.", "riskLevel": level, "owners": [{ "kind": "User", "name": "dev" }],
                "documentation": [document("impact-assessment"), document("technical-documentation")] } })
    }

    /// A version that runs `container`.
    pub fn version(&self, name: &str, container: &Value) -> Value {
        self.version_of(name, &json!({ "containers": [container] }))
    }

    /// A version with a whole runtime.
    pub fn version_of(&self, name: &str, runtime: &Value) -> Value {
        let artifact = json!([{ "name": "evidence", "digest": digest('e') }]);
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "ModelVersion", "metadata": { "name": name, "namespace": self.namespace },
            "spec": { "system": SYSTEM, "runtime": runtime,
                "provenance": { "data": artifact, "tests": artifact, "rationale": "It is better." } } })
    }

    /// A workload of `kind` with pods of `spec`.
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

    /// A Deployment of two pods that run `container`.
    pub fn deployment(&self, name: &str, container: &Value) -> Value {
        self.workload("apps/v1", "Deployment", name, &pod_spec(container))
    }

    /// A bare pod that runs `container`.
    pub fn pod(&self, name: &str, container: &Value) -> Value {
        self.workload("v1", "Pod", name, &pod_spec(container))
    }

    /// What `kubectl ARGS -n NAMESPACE` of `person` prints.
    pub async fn kubectl(&self, person: Person, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(person, &[args, &["-n", &self.namespace]].concat()).await?.ok()
    }

    /// What it says when it is refused.
    pub async fn denied(&self, person: Person, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(person, &[args, &["-n", &self.namespace]].concat()).await?.denied()
    }

    /// What `kubectl assent ARGS -n NAMESPACE` of `person` did.
    pub async fn assent(&self, person: Person, args: &[&str]) -> Result<Output> {
        let plugin = binaries()?.join("kubectl-assent").display().to_string();
        let args = [args, &["-n", &self.namespace]].concat();
        self.cluster.run(self.cluster.account(person), &plugin, &args, None).await
    }

    /// Applies a manifest as `person`.
    pub async fn apply(&self, person: Person, manifest: &Value) -> Result<String> {
        self.cluster.kubectl_stdin(person, &["apply", "-f", "-"], &manifest.to_string()).await?.ok()
    }

    /// What `person` is told when a manifest is refused.
    pub async fn refused(&self, person: Person, manifest: &Value) -> Result<String> {
        self.cluster.kubectl_stdin(person, &["apply", "-f", "-"], &manifest.to_string()).await?.denied()
    }

    /// Applies a version and waits until it was judged: its digest.
    pub async fn publish(&self, name: &str, container: &Value) -> Result<Digest> {
        self.apply(Person::Admin, &self.version(name, container)).await?;
        self.digest_of(name).await
    }

    /// The digest of a version, once the operator has read it and its system as they are now.
    pub async fn digest_of(&self, version: &str) -> Result<Digest> {
        until(SOON, &format!("{version}'s digest"), async || {
            let version = self.get("modelversion", version).await?;
            let said = version["status"]["subjectDigest"].as_str().map(str::parse).transpose()?;
            let version: ModelVersion = serde_json::from_value(version)?;
            let system: AISystem = serde_json::from_value(self.get("aisystem", &version.spec.system).await?)?;
            let level = self.get("risklevel", &system.spec.risk_level).await.ok();
            let level: Option<RiskLevel> = level.map(serde_json::from_value).transpose()?;
            let level = level.as_ref().map(|level| &level.spec);
            let is = Subject::new(&self.namespace, &system.spec, level, &version.spec).digest();
            Ok(said.filter(|said| *said == is))
        })
        .await
    }

    /// A decision as a manifest.
    pub fn decision(&self, decision: &str, version: &str, digest: &Digest, role: &str) -> Value {
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
            "metadata": { "generateName": format!("{version}-"), "namespace": self.namespace },
            "spec": { "system": SYSTEM, "modelVersion": version, "subjectDigest": digest, "role": role,
                "decision": decision, "reason": "for the test" } })
    }

    /// Creates a decision as `person`; its name.
    pub async fn decide(&self, person: Person, manifest: &Value) -> Result<String> {
        let create = ["create", "-f", "-", "-o=name"];
        let created = self.cluster.kubectl_stdin(person, &create, &manifest.to_string()).await?.ok()?;
        Ok(created.trim().rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// What `person` is told when a decision is refused.
    pub async fn undecided(&self, person: Person, manifest: &Value) -> Result<String> {
        self.cluster.kubectl_stdin(person, &["create", "-f", "-"], &manifest.to_string()).await?.denied()
    }

    /// Alice and Bob approve, for the level high.
    pub async fn approve(&self, version: &str) -> Result<()> {
        self.approve_without_waiting(version).await?;
        self.is_cleared(version).await
    }

    /// Alice and Bob approve, and nobody waits for what comes of it.
    pub async fn approve_without_waiting(&self, version: &str) -> Result<()> {
        let digest = self.digest_of(version).await?;
        self.decide(Person::Alice, &self.decision("Approve", version, &digest, "risk-officer")).await?;
        self.decide(Person::Bob, &self.decision("Approve", version, &digest, "ethics-board")).await?;
        Ok(())
    }

    /// Publishes a version that runs `container` and has it approved.
    pub async fn clear(&self, version: &str, container: &Value) -> Result<()> {
        self.publish(version, container).await?;
        self.approve(version).await
    }

    /// An object.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let json = self.kubectl(Person::Admin, &["get", kind, name, "-o=json"]).await?;
        serde_json::from_str(&json).context("kubectl prints JSON")
    }

    /// The objects of a kind.
    pub async fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let json = self.kubectl(Person::Admin, &["get", kind, "-o=json"]).await?;
        let list: Value = serde_json::from_str(&json)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits for a condition of an object to be as wanted; its message.
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
                bail!("there is none in {object}")
            };
            ensure!(condition["observedGeneration"] == object["metadata"]["generation"], "it is outdated");
            ensure!(condition["status"] == status && condition["reason"] == reason, "it is {condition}");
            Ok(Some(condition["message"].as_str().unwrap_or_default().to_owned()))
        })
        .await
    }

    /// Waits until a version may run.
    pub async fn is_cleared(&self, version: &str) -> Result<()> {
        self.condition("modelversion", version, "Cleared", "True", "Cleared").await.map(drop)
    }

    /// The pods whose label `app` is `app`, that are not being deleted.
    pub async fn pods(&self, app: &str) -> Result<Vec<Value>> {
        let pods = self.list("pods").await?;
        let ours =
            |p: &Value| p["metadata"]["labels"]["app"] == app && p["metadata"]["deletionTimestamp"].is_null();
        Ok(pods.into_iter().filter(ours).collect())
    }

    /// Waits until exactly `count` pods of `app` run and none is held.
    pub async fn running(&self, app: &str, count: usize) -> Result<Duration> {
        self.settled(app, count, 0).await
    }

    /// Waits until exactly `count` pods of `app` are held and none runs.
    pub async fn held(&self, app: &str, count: usize) -> Result<Duration> {
        self.settled(app, 0, count).await
    }

    /// Waits until so many pods of `app` run and so many are held; how long that took.
    pub async fn settled(&self, app: &str, running: usize, held: usize) -> Result<Duration> {
        let begin = Instant::now();
        until(SOON, &format!("{running} running and {held} held pods of {app}"), async || {
            let pods = self.pods(app).await?;
            let gated = pods.iter().filter(|p| is_held(p)).count();
            let runs = pods.iter().filter(|p| p["status"]["phase"] == "Running").count();
            ensure!(
                gated == held && runs == running && pods.len() == held + running,
                "{runs} run and {gated} of {} are held",
                pods.len()
            );
            Ok(Some(()))
        })
        .await?;
        Ok(begin.elapsed())
    }

    /// Waits until a pod runs.
    pub async fn running_pod(&self, name: &str) -> Result<()> {
        until(SOON, &format!("pod {name} to run"), async || {
            let pod = self.get("pod", name).await?;
            ensure!(pod["status"]["phase"] == "Running" && !is_held(&pod), "it is {}", pod["status"]);
            Ok(Some(()))
        })
        .await
    }

    /// Ends a pod that runs, as its work would.
    pub async fn complete_pod(&self, name: &str) -> Result<()> {
        let status = json!({ "status": { "phase": "Succeeded" } }).to_string();
        let patch = ["patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status];
        self.kubectl(Person::Admin, &patch).await.map(drop)
    }

    /// Waits until exactly `count` pods with the labels `selector` are held.
    pub async fn held_pods(&self, selector: &str, count: usize) -> Result<()> {
        until(SOON, &format!("{count} held pods of {selector}"), async || {
            let names = self
                .kubectl(
                    Person::Admin,
                    &["get", "pods", "-o=name", "-l", &format!("{selector},assent.dev/held")],
                )
                .await?;
            Ok((names.lines().count() == count).then_some(()))
        })
        .await
    }

    /// An object that is in no namespace.
    pub async fn get_cluster(&self, kind: &str, name: &str) -> Result<Value> {
        let json = self.cluster.kubectl(Person::Admin, &["get", kind, name, "-o=json"]).await?.ok()?;
        serde_json::from_str(&json).context("kubectl prints JSON")
    }

    /// Waits for an Event about an object; its note.
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
