//! The simulated users who work while the chaos test injects faults. They decide, roll out, scale, delete and attack.
//!
//! A user does not retry a request that is refused or gets no response.
//!
//! ```text
//!  namespace ─┬─ AISystem scorer, of level chaos (risk-officer) or chaos-two (risk-officer, ethics-board)
//!             ├─ ModelVersion v1 … v4      Approve (for seconds or permanently), Reject, Revoke
//!             ├─ Deployments web, guarded  rolled out to one of the versions, or to a revision without a ModelVersion
//!             └─ pods                      of one of the versions, or with one changed detail
//! ```

use std::time::Duration;

use anyhow::{Context as _, Result};
use assent::api::{Approval, Digest};
use assent_tests::{ControlPlane, NAMESPACE, Person, Scenario, container, pod_spec};
use fastrand::Rng;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// The timeout of one act of a user.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The grace period of the risk levels, in seconds.
pub const GRACE: u32 = 4;

/// The number of ModelVersions. The users also roll out one revision that has no ModelVersion.
const VERSIONS: u8 = 4;

/// The Deployments of each namespace. A disruption budget protects `guarded`.
const WORKLOADS: [&str; 2] = ["web", "guarded"];

pub struct Churn<'a> {
    scenes: Vec<Scenario<'a>>,
    digests: Vec<Vec<Digest>>,
    people: Vec<(Person, Client)>,
    /// A client with the operator's credentials. It acts like an operator that has lost the Lease without noticing.
    stale: Client,
    rng: Rng,
}

impl<'a> Churn<'a> {
    pub async fn start(cluster: &'a ControlPlane, seed: u64, namespaces: &[String]) -> Result<Self> {
        let people = Person::ALL.map(|person| cluster.client(person).map(|client| (person, client)));
        let mut churn = Self {
            scenes: Vec::new(),
            digests: Vec::new(),
            people: people.into_iter().collect::<Result<_>>()?,
            stale: cluster.service_account(NAMESPACE, "assent").await?.client()?,
            rng: Rng::with_seed(seed.wrapping_add(0x5eed)),
        };
        for (n, namespace) in namespaces.iter().enumerate() {
            let name = if n % 2 == 0 { "chaos" } else { "chaos-two" };
            let roles = if n % 2 == 0 { &["risk-officer"][..] } else { &["risk-officer", "ethics-board"] };
            let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": name },
                "spec": { "approvals": roles.iter().map(|role| json!({ "role": role })).collect::<Vec<_>>(),
                          "onLoss": { "gracePeriodSeconds": GRACE } } });
            cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &level.to_string()).await?.ok()?;
            let scene = Scenario::new(cluster, namespace, name).await?;
            let mut digests = Vec::new();
            for version in 1..=VERSIONS {
                let runs = container(&version.to_string());
                digests.push(scene.publish(&format!("v{version}"), &runs).await?);
            }
            for name in WORKLOADS {
                scene.apply(Person::Dev, &scene.deployment(name, &container("1"))).await?;
            }
            let budget = ["create", "pdb", "guarded", "--selector=app=guarded", "--min-available=100%"];
            scene.kubectl(Person::Dev, &budget).await?;
            churn.scenes.push(scene);
            churn.digests.push(digests);
        }
        for scene in 0..churn.scenes.len() {
            churn.decide(scene, Person::Alice, "Approve", 1, None).await?;
            churn.decide(scene, Person::Bob, "Approve", 1, None).await?;
        }
        Ok(churn)
    }

    /// Lets the users act for `length`. Returns the number of successful acts, and the number of refused or unanswered
    /// acts.
    pub async fn run(&mut self, length: Duration) -> (usize, usize) {
        let end = Instant::now() + length;
        let (mut taken, mut refused) = (0, 0);
        while Instant::now() < end {
            match timeout(TIMEOUT, self.act()).await {
                Ok(Ok(())) => taken += 1,
                _ => refused += 1,
            }
            let pause = self.rng.u64(20..200);
            sleep(Duration::from_millis(pause)).await;
        }
        (taken, refused)
    }

    /// Lets all approvers approve, without an expiry, the version that each Deployment `web` has at the end. Skips a
    /// Deployment whose revision has no ModelVersion.
    pub async fn approve_final_versions(&mut self) -> Result<()> {
        // A rejection or revocation in the same second would take precedence over the approvals.
        sleep(Duration::from_secs(2)).await;
        for scene in 0..self.scenes.len() {
            let web =
                Api::<Deployment>::namespaced(self.client(Person::Admin), &self.scenes[scene].namespace);
            let web = serde_json::to_value(web.get("web").await?)?;
            let revision = web["spec"]["template"]["spec"]["containers"][0]["args"][1].as_str();
            let revision = revision.and_then(|arg| arg.strip_prefix("--revision=")?.parse().ok());
            let Some(revision) = revision.filter(|revision| (1..=VERSIONS).contains(revision)) else {
                continue;
            };
            for person in [Person::Alice, Person::Carol, Person::Bob] {
                self.decide(scene, person, "Approve", revision, None).await?;
            }
        }
        Ok(())
    }

    async fn act(&mut self) -> Result<()> {
        let scene = self.rng.usize(0..self.scenes.len());
        let version = self.rng.u8(1..=VERSIONS);
        let person = [Person::Alice, Person::Carol, Person::Bob][self.rng.usize(0..3)];
        match self.rng.u8(0..100) {
            0..=19 => {
                let seconds = self.rng.bool().then(|| self.rng.i64(2..14));
                self.decide(scene, person, "Approve", version, seconds).await
            }
            20..=27 => {
                // Alice and Bob approve, because a version of level chaos-two needs two approvals.
                self.decide(scene, Person::Alice, "Approve", version, None).await?;
                self.decide(scene, Person::Bob, "Approve", version, None).await
            }
            28..=39 => self.decide(scene, person, "Revoke", version, None).await,
            40..=43 => self.decide(scene, person, "Reject", version, None).await,
            44..=57 => self.roll_out(scene).await,
            58..=66 => self.scale(scene).await,
            67..=74 => self.delete_a_pod(scene).await,
            75..=84 => self.create_a_pod(scene, version).await,
            85..=89 => self.create_a_changed_pod(scene, version).await,
            90..=94 => self.remove_a_gate(scene, self.client(Person::Dev)).await,
            _ => self.remove_a_gate(scene, self.stale.clone()).await,
        }
    }

    fn client(&self, who: Person) -> Client {
        let found = self.people.iter().find(|(person, _)| *person == who);
        found.map_or_else(|| self.stale.clone(), |(_, client)| client.clone())
    }

    fn pods(&self, scene: usize) -> Api<Pod> {
        Api::namespaced(self.client(Person::Dev), &self.scenes[scene].namespace)
    }

    fn deployments(&self, scene: usize) -> Api<Deployment> {
        Api::namespaced(self.client(Person::Dev), &self.scenes[scene].namespace)
    }

    /// Records a decision. `seconds` is the time until the decision expires, and `None` sets no expiry.
    async fn decide(
        &mut self,
        scene: usize,
        person: Person,
        decision: &str,
        version: u8,
        seconds: Option<i64>,
    ) -> Result<()> {
        let role = if person == Person::Bob { "ethics-board" } else { "risk-officer" };
        let (stage, digest) = (&self.scenes[scene], &self.digests[scene][usize::from(version) - 1]);
        let mut decision = stage.decision(decision, &format!("v{version}"), digest, role);
        decision["spec"]["notAfter"] = seconds.map_or(Value::Null, |seconds| {
            let end = Timestamp::now().as_second() + seconds;
            json!(Timestamp::from_second(end).ok())
        });
        let approval: Approval = serde_json::from_value(decision)?;
        let api: Api<Approval> = Api::namespaced(self.client(person), &stage.namespace);
        api.create(&PostParams::default(), &approval).await.map(drop).context("deciding")
    }

    async fn roll_out(&mut self, scene: usize) -> Result<()> {
        let revision = self.rng.u8(1..=VERSIONS + 1).to_string();
        let name = WORKLOADS[self.rng.usize(0..WORKLOADS.len())];
        let template =
            json!({ "spec": { "template": { "spec": { "containers": [container(&revision)] } } } });
        let patch = Patch::Strategic(template);
        self.deployments(scene).patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn scale(&mut self, scene: usize) -> Result<()> {
        let name = WORKLOADS[self.rng.usize(0..WORKLOADS.len())];
        let patch = Patch::Merge(json!({ "spec": { "replicas": self.rng.u8(0..5) } }));
        self.deployments(scene).patch_scale(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn any_pod(&mut self, scene: usize, selector: &str) -> Result<Option<Pod>> {
        let pods = self.pods(scene).list(&ListParams::default().labels(selector)).await?.items;
        let chosen = self.rng.usize(0..pods.len().max(1));
        Ok(pods.into_iter().nth(chosen))
    }

    /// Deletes a pod. An annotation tells the witness that a user deleted the pod.
    async fn delete_a_pod(&mut self, scene: usize) -> Result<()> {
        let Some(pod) = self.any_pod(scene, "").await? else { return Ok(()) };
        let note = Patch::Merge(json!({ "metadata": { "annotations": { "chaos/deleted": "by dev" } } }));
        self.pods(scene).patch(&pod.name_any(), &PatchParams::default(), &note).await?;
        self.pods(scene).delete(&pod.name_any(), &DeleteParams::default()).await?;
        Ok(())
    }

    async fn create_a_pod(&mut self, scene: usize, version: u8) -> Result<()> {
        let pod = self.scenes[scene].pod("bare", &container(&version.to_string()));
        self.create(scene, pod).await
    }

    /// Creates a pod that differs from a ModelVersion in one detail.
    async fn create_a_changed_pod(&mut self, scene: usize, version: u8) -> Result<()> {
        let mut pod = self.scenes[scene].pod("changed", &container(&version.to_string()));
        match self.rng.u8(0..6) {
            0 => pod["spec"]["containers"][0]["env"][0]["value"] = json!("online"),
            1 => pod["spec"]["nodeName"] = json!("node-1"),
            2 => pod["metadata"]["labels"]["assent.dev/held"] = json!("true"),
            3 => pod["spec"]["containers"][0]["command"] = json!(["sh"]),
            4 => pod["metadata"]["labels"] = json!({ "app": "changed" }),
            _ => pod["spec"]["initContainers"] = pod_spec(&container("9"))["containers"].clone(),
        }
        self.create(scene, pod).await
    }

    async fn create(&mut self, scene: usize, mut pod: Value) -> Result<()> {
        let name =
            format!("{}-{:04x}", pod["metadata"]["name"].as_str().unwrap_or_default(), self.rng.u16(..));
        pod["metadata"]["name"] = json!(name);
        self.pods(scene).create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        Ok(())
    }

    /// Tries to remove the gate of a held pod, with the field manager of the operator.
    async fn remove_a_gate(&mut self, scene: usize, who: Client) -> Result<()> {
        let Some(pod) = self.any_pod(scene, "assent.dev/held").await? else { return Ok(()) };
        let patch = json!({
            "metadata": { "labels": { "assent.dev/held": null },
                          "annotations": { "chaos/lifted": Timestamp::now().to_string() } },
            "spec": { "schedulingGates": [{ "$patch": "delete", "name": "assent.dev/clearance" }] },
        });
        let params =
            PatchParams { field_manager: Some("assent-release".to_owned()), ..PatchParams::default() };
        let pods: Api<Pod> = Api::namespaced(who, &self.scenes[scene].namespace);
        pods.patch(&pod.name_any(), &params, &Patch::Strategic(patch)).await?;
        Ok(())
    }
}
