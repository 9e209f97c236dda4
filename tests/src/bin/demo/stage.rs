//! The context of every step: the users, the commands that they run, and the watches that see the results.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use assent::api::{AISystem, Approval, GATE, ModelVersion, SYSTEM_LABEL};
use assent_tests::{Account, Assent, ControlPlane, Objects, Output, Person, Watched, root};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use crate::timeline::Timeline;

/// The maximum number of commands that run at the same time.
pub const CONCURRENCY: usize = 4;

/// An AI system of `examples/`.
pub struct System {
    pub namespace: &'static str,
    pub name: &'static str,
    pub deployment: &'static str,
    /// The directory of the example, relative to the root of the checkout.
    pub example: &'static str,
}

/// A system of high risk: two people must approve, and neither may be an owner.
pub const CREDIT_SCORER: System = System {
    namespace: "lending",
    name: "credit-scorer",
    deployment: "credit-scorer",
    example: "examples/credit-scorer",
};

/// A system of high risk. The weights are in an OCI image volume.
pub const CV_SCREENER: System = System {
    namespace: "recruiting",
    name: "cv-screener",
    deployment: "cv-screener",
    example: "examples/oci-image-volume",
};

/// A system of limited risk: one person must approve. An init container downloads the weights.
pub const SUPPORT_ASSISTANT: System = System {
    namespace: "customer-service",
    name: "support-assistant",
    deployment: "support-assistant-predictor",
    example: "examples/kserve-storage-initializer",
};

/// A credit scorer whose test results must be fair by sex and by age.
pub const CARD_SCORER: System = System {
    namespace: "cards",
    name: "card-scorer",
    deployment: "card-scorer",
    example: "examples/evidence",
};

/// A person or the GitOps controller.
pub struct Actor {
    pub name: &'static str,
    pub account: Account,
}

/// A command that must be refused.
pub struct Attempt<'a> {
    who: &'a Actor,
    title: &'a str,
    command: String,
    stdin: Option<Value>,
    /// A part of the expected refusal. A refusal for another reason fails the demo.
    because: &'a str,
}

impl<'a> Attempt<'a> {
    pub fn new(who: &'a Actor, title: &'a str, command: impl Into<String>, because: &'a str) -> Self {
        Self { who, title, command: command.into(), stdin: None, because }
    }

    /// Sets the manifest that the command reads from standard input.
    pub fn with(self, stdin: Value) -> Self {
        Self { stdin: Some(stdin), ..self }
    }
}

/// The numbers of running, held and starting pods of a system. Pods that are being deleted do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    pub running: usize,
    pub held: usize,
    pub starting: usize,
}

pub struct Stage<'a> {
    pub time: &'a Timeline,
    pub cluster: &'a ControlPlane,
    pub assent: Assent,
    pub admin: Actor,
    pub alice: Actor,
    pub bob: Actor,
    pub carol: Actor,
    pub dev: Actor,
    pub gitops: Actor,
    pub pods: Watched<Pod>,
    pub approvals: Watched<Approval>,
    pub versions: Watched<ModelVersion>,
    pub systems: Watched<AISystem>,
}

impl<'a> Stage<'a> {
    /// Starts the watches. Assent must be installed, because the watches need its CRDs.
    pub async fn new(
        time: &'a Timeline,
        cluster: &'a ControlPlane,
        assent: Assent,
        gitops: Account,
    ) -> Result<Self> {
        let actor = |person: Person| Actor { name: person.name(), account: cluster.account(person).clone() };
        let client = || cluster.client(Person::Admin);
        Ok(Self {
            time,
            cluster,
            assent,
            admin: actor(Person::Admin),
            alice: actor(Person::Alice),
            bob: actor(Person::Bob),
            carol: actor(Person::Carol),
            dev: actor(Person::Dev),
            gitops: Actor { name: "gitops", account: gitops },
            pods: Watched::start(client()?).await?,
            approvals: Watched::start(client()?).await?,
            versions: Watched::start(client()?).await?,
            systems: Watched::start(client()?).await?,
        })
    }
}

impl Stage<'_> {
    /// Runs a command line. Words that begin with `examples/` become paths in the checkout.
    pub async fn run(&self, who: &Actor, command: &str, stdin: Option<&Value>) -> Result<Output> {
        let words = split_words(command);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let (program, args) = words.split_first().context("an empty command")?;
        let stdin = stdin.map(Value::to_string);
        self.cluster.run(&who.account, program, args, stdin.as_deref()).await
    }

    /// Runs a command that must succeed, and prints the command and its output.
    pub async fn run_and_show(&self, who: &Actor, what: &str, command: &str) -> Result<()> {
        let output = self.time.expect(who.name, what, async { self.run(who, command, None).await?.ok() });
        let output = output.await?;
        self.time.quote(&format!("$ {command}\n{output}"));
        Ok(())
    }

    pub async fn apply(&self, who: &Actor, manifest: &Value) -> Result<()> {
        self.run(who, "kubectl apply -f -", Some(manifest)).await?.ok().map(drop)
    }

    /// Runs a command of `kubectl assent` that records a decision. Prints the output without the review.
    pub async fn decide(&self, who: &Actor, what: &str, command: &str) -> Result<String> {
        let decide = async {
            let output = self.run(who, command, None).await?.ok()?;
            let begin =
                output.find("Recorded:").with_context(|| format!("no recorded decision in: {output}"))?;
            Ok(output[begin..].to_owned())
        };
        let outcome = self.time.expect(who.name, what, decide).await?;
        self.time.quote(&format!("$ {command}\n{outcome}"));
        Ok(outcome)
    }

    /// Runs commands that must be refused. Prints the title and the refusal of each command.
    pub async fn expect_refusals(&self, attempts: Vec<Attempt<'_>>) -> Result<()> {
        let tries = stream::iter(&attempts).map(|attempt| async move {
            let refusal = self.attempt(attempt).await;
            (attempt, refusal)
        });
        let mut tries = tries.buffered(CONCURRENCY);
        while let Some((attempt, refusal)) = tries.next().await {
            let refusal = refusal.with_context(|| format!("{}: {}", attempt.who.name, attempt.title))?;
            self.time.attempt(attempt.who.name, attempt.title, "refused");
            self.time.quote(&refusal);
        }
        Ok(())
    }

    async fn attempt(&self, attempt: &Attempt<'_>) -> Result<String> {
        let Attempt { who, command, stdin, because, .. } = attempt;
        let refusal = self.run(who, command, stdin.as_ref()).await?.denied()?;
        ensure!(
            refusal.contains(because),
            "expected: the refusal of $ {command}\nto contain: {because}\nseen: {refusal}"
        );
        Ok(short_refusal(&refusal))
    }
}

impl Stage<'_> {
    /// Waits until exactly `running` pods of a system run and `held` pods are held. Returns the instant at which the
    /// watch shows this.
    pub async fn wait_for_pods(&self, system: &System, running: usize, held: usize) -> Result<Instant> {
        let wanted = Pods { running, held, starting: 0 };
        let what = format!("{running} running and {held} held pods of {}", system.name);
        let probe = |pods: &Objects<Pod>| {
            let seen = self.count(pods, system);
            if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
        };
        self.pods.until(&what, probe).await.map(|((), at)| at)
    }

    /// Runs `decide` and waits until every held pod of a system is released. Returns the time from the watch event of
    /// the decision to the watch event of the last release.
    pub async fn time_release(
        &self,
        system: &System,
        decide: impl Future<Output = Result<String>>,
    ) -> Result<Duration> {
        let held = self.pod_names(system, true);
        ensure!(!held.is_empty(), "expected: held pods of {}\nseen: none", system.name);
        let what = format!("the release of {held:?}");
        let released = self.pods.until(&what, |pods| {
            let free = |name: &&String| {
                let pod = pods.get(&(system.namespace.to_owned(), (*name).clone()));
                pod.is_some_and(|pod| !is_held(pod))
            };
            match held.iter().filter(free).count() {
                count if count == held.len() => Ok(()),
                count => Err(format!("{count} of them")),
            }
        });
        let (_, recorded, ((), released)) = tokio::try_join!(decide, self.next_decision(), released)?;
        Ok(released.saturating_duration_since(recorded))
    }

    /// Waits for the next Approval, with any decision. Returns the instant at which the watch shows the Approval.
    pub async fn next_decision(&self) -> Result<Instant> {
        let before = self.approvals.now(Objects::len);
        let more = |all: &Objects<Approval>| if all.len() > before { Ok(()) } else { Err("none".to_owned()) };
        self.approvals.until("a recorded decision", more).await.map(|((), at)| at)
    }

    /// The names of the held pods of a system. If `held` is false, the names of the other pods of the system.
    pub fn pod_names(&self, system: &System, held: bool) -> Vec<String> {
        let wanted = |pod: &&Pod| is_of(pod, system) && is_held(pod) == held;
        self.pods.now(|pods| pods.values().filter(wanted).map(kube::ResourceExt::name_any).collect())
    }

    /// The first name that [`Stage::pod_names`] returns.
    pub fn pod_name(&self, system: &System, held: bool) -> Result<String> {
        self.pod_names(system, held).into_iter().next().with_context(|| format!("no pod of {}", system.name))
    }

    /// Waits until all named pods of a system are gone. Returns the instant at which the watch shows this.
    pub async fn wait_until_gone(&self, system: &System, names: Vec<String>) -> Result<Instant> {
        let names: BTreeSet<_> = names.into_iter().map(|name| (system.namespace.to_owned(), name)).collect();
        let probe = |pods: &Objects<Pod>| {
            let left: Vec<_> = names.iter().filter(|name| pods.contains_key(name)).map(|(_, n)| n).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are still there")) }
        };
        self.pods.until(&format!("the end of {names:?}"), probe).await.map(|((), at)| at)
    }

    /// Waits until an Approval has the condition `Counted=False`. Returns the reason and the message of the condition.
    pub async fn wait_until_not_counted(&self, system: &System, approval: &str) -> Result<String> {
        let key = (system.namespace.to_owned(), approval.to_owned());
        let probe = |approvals: &Objects<Approval>| {
            let status = approvals.get(&key).and_then(|approval| approval.status.as_ref());
            let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
            match conditions.iter().find(|condition| condition.type_ == "Counted") {
                Some(counted) if counted.status == "False" => {
                    Ok(format!("{}: {}", counted.reason, counted.message))
                }
                other => Err(format!("{other:?}")),
            }
        };
        self.approvals.until(&format!("{approval} not to count"), probe).await.map(|(message, _)| message)
    }

    /// Waits until a version has the condition `Cleared=False` with a message that contains `because`. Returns the
    /// message.
    pub async fn wait_until_withheld(&self, system: &System, version: &str, because: &str) -> Result<String> {
        let key = (system.namespace.to_owned(), version.to_owned());
        let probe = |versions: &Objects<ModelVersion>| {
            let status = versions.get(&key).and_then(|version| version.status.as_ref());
            let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
            match conditions.iter().find(|condition| condition.type_ == "Cleared") {
                Some(cleared) if cleared.status == "False" && cleared.message.contains(because) => {
                    Ok(cleared.message.clone())
                }
                other => Err(format!("{other:?}")),
            }
        };
        self.versions
            .until(&format!("{version} to be withheld because: {because}"), probe)
            .await
            .map(|(message, _)| message.to_string())
    }

    pub async fn deployment(&self, system: &System) -> Result<Deployment> {
        let api = Api::namespaced(self.cluster.client(Person::Admin)?, system.namespace);
        api.get(system.deployment).await.with_context(|| format!("reading {}", system.deployment))
    }

    fn count(&self, pods: &Objects<Pod>, system: &System) -> Pods {
        let mut count = Pods::default();
        for pod in pods.values().filter(|pod| is_of(pod, system)) {
            if is_held(pod) {
                count.held += 1;
            } else if self.cluster.is_existing() || phase(pod) == "Running" {
                // On an existing cluster, no pod starts, because the images of the examples do not exist. So each pod
                // without the gate counts as running.
                count.running += 1;
            } else {
                count.starting += 1;
            }
        }
        count
    }
}

pub fn manifest(file: &str) -> Result<Value> {
    let path = root().join(file);
    let yaml = std::fs::read_to_string(&path).with_context(|| format!("reading {file}"))?;
    serde_saphyr::from_str(&yaml).with_context(|| format!("parsing {file}"))
}

/// Whether a pod has the gate of Assent.
pub fn is_held(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.into_iter().any(|gate| gate.name == GATE)
}

/// The command that removes the gate from a pod.
pub fn remove_gate(namespace: &str, pod: &str) -> String {
    let patch = r#"[{"op":"remove","path":"/spec/schedulingGates"}]"#;
    format!("kubectl patch pod {pod} -n {namespace} --type=json -p '{patch}'")
}

pub fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

pub fn ensure_contains(text: &str, wanted: &str) -> Result<()> {
    if text.contains(wanted) {
        return Ok(());
    }
    bail!("expected: {wanted}\nseen: {text}")
}

fn is_of(pod: &Pod, system: &System) -> bool {
    pod.namespace().as_deref() == Some(system.namespace)
        && pod.labels().get(SYSTEM_LABEL).is_some_and(|name| name == system.name)
        && pod.metadata.deletion_timestamp.is_none()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Splits a command line at spaces. A text between single quotes is one word.
fn split_words(command: &str) -> Vec<String> {
    let parts = command.split('\'').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(in_checkout).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

fn in_checkout(word: &str) -> String {
    if word.starts_with("examples/") { root().join(word).display().to_string() } else { word.to_owned() }
}

/// Shortens the refusal of an admission policy to `<policy>: <message>`, and any other refusal to its first
/// paragraph.
fn short_refusal(refusal: &str) -> String {
    if let Some((before, message)) = refusal.split_once(" denied request: ") {
        let policy = before.rsplit("ValidatingAdmissionPolicy '").next().unwrap_or_default();
        let policy = policy.split('\'').next().unwrap_or_default();
        return format!("{policy}: {}", message.trim());
    }
    let first = refusal.split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}
