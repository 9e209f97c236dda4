//! An approval is for exactly what was read: the same name with anything else inside is held.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::stage::{AT_ONCE, CREDIT_SCORER, CV_SCREENER, Stage, is_held, manifest, says};

/// The label that tells the pods of one impostor from those of another.
const LABEL: &str = "demo.assent.dev/impostor";

/// Something that calls itself an approved system and is not.
struct Impostor {
    name: &'static str,
    title: &'static str,
    /// What the explanation of its pod says.
    because: &'static str,
    workload: Value,
}

impl Impostor {
    fn is_job(&self) -> bool {
        self.workload["kind"].as_str().is_some_and(|kind| kind.ends_with("Job"))
    }
}

/// All are admitted, all are held, and each explanation says what is different.
pub async fn something_else_under_an_approved_name(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "dev starts something else under an approved name",
        "Pods that are exactly what was approved for credit-scorer and cv-screener just run. These are not exactly \
         that. Under each is why, as kubectl assent explain says it: - is the approved version, + is the pod.",
    );
    let impostors = impostors()?;
    let list: Vec<_> = impostors.iter().map(|impostor| &impostor.workload).collect();
    stage.applies(&stage.dev, &json!({ "apiVersion": "v1", "kind": "List", "items": list })).await?;
    let night = "kubectl create job tonight --from=cronjob/nightly -n lending";
    stage.run(&stage.dev, night, None).await?.ok()?;
    let explained = stream::iter(&impostors).map(|impostor| async move {
        let words = held(stage, impostor).await;
        (impostor, words)
    });
    let mut explained = explained.buffered(AT_ONCE);
    while let Some((impostor, words)) = explained.next().await {
        let words = words.with_context(|| format!("dev: {}", impostor.title))?;
        stage.time.tried("dev", impostor.title, if impostor.is_job() { "suspended" } else { "held" });
        stage.time.quote(&words);
    }
    for namespace in [CREDIT_SCORER.namespace, CV_SCREENER.namespace] {
        let kinds = "cronjobs,jobs,statefulsets,daemonsets,pods";
        let delete = format!("kubectl delete {kinds} -l {LABEL} -n {namespace} --wait=false");
        stage.run(&stage.dev, &delete, None).await?.ok()?;
    }
    stage.settled(&CREDIT_SCORER, 2, 0).await?;
    stage.settled(&CV_SCREENER, 1, 0).await.map(drop)
}

/// Waits until a pod of an impostor is held, or its Job suspended; why it is.
async fn held(stage: &Stage<'_>, impostor: &Impostor) -> Result<String> {
    let is_job = impostor.workload["kind"].as_str().is_some_and(|kind| kind.ends_with("Job"));
    let target =
        if is_job { suspended_job(stage, impostor).await? } else { held_pod(stage, impostor).await? };
    let explain = format!("kubectl assent explain {target} -o json");
    let explained = stage.run(&stage.dev, &explain, None).await?.ok()?;
    let explained: Value = serde_json::from_str(&explained)?;
    let finding = &explained["pods"][0];
    let conclusion = finding["conclusion"].as_str().context("no conclusion")?;
    let difference = finding["closest"]["difference"].as_str().unwrap_or_default();
    let changes = difference.lines().filter(|line| line.starts_with(['+', '-']));
    let changes = changes.collect::<Vec<_>>().join("\n");
    let words = if changes.is_empty() { conclusion.to_owned() } else { changes };
    says(&words, impostor.because)?;
    Ok(words)
}

async fn held_pod(stage: &Stage<'_>, impostor: &Impostor) -> Result<String> {
    let what = format!("a held pod of {}", impostor.name);
    let held = stage.pods.until(&what, |pods| {
        let its = |pod: &&Pod| pod.labels().get(LABEL).is_some_and(|name| name == impostor.name);
        match pods.values().find(its) {
            Some(pod) if is_held(pod) => {
                Ok(format!("pod/{} -n {}", pod.name_any(), pod.namespace().unwrap_or_default()))
            }
            Some(pod) => Err(format!("{} is not held", pod.name_any())),
            None => Err("no pod".to_owned()),
        }
    });
    Ok(held.await?.0)
}

/// The API server suspends a Job as it is created, before there is a pod.
async fn suspended_job(stage: &Stage<'_>, impostor: &Impostor) -> Result<String> {
    let namespace = CREDIT_SCORER.namespace;
    let jobs = format!("kubectl get jobs -l {LABEL}={} -n {namespace} -o json", impostor.name);
    let jobs: Value = serde_json::from_str(&stage.run(&stage.dev, &jobs, None).await?.ok()?)?;
    let job = &jobs["items"][0];
    ensure!(job["spec"]["suspend"] == true, "the Job of {} is not suspended: {job}", impostor.name);
    Ok(format!("job/{} -n {namespace}", job["metadata"]["name"].as_str().unwrap_or_default()))
}

fn impostors() -> Result<Vec<Impostor>> {
    let scorer = manifest(&format!("{}/deployment.yaml", CREDIT_SCORER.example))?["spec"]["template"].take();
    let screener = manifest(&format!("{}/deployment.yaml", CV_SCREENER.example))?["spec"]["template"].take();
    let mut all = vec![nobodys(&scorer), other_weights(&screener)];
    all.extend(variations().map(|(name, title, because, path, value)| {
        let mut template = scorer.clone();
        set(&mut template["spec"], path, value);
        Impostor { name, title, because, workload: workload("Pod", name, template) }
    }));
    all.extend(kinds().map(|(name, title, kind)| {
        let mut template = scorer.clone();
        set(&mut template["spec"], "/containers/0/args/1", json!("--revision=main"));
        Impostor { name, title, because: "--revision=main", workload: workload(kind, name, template) }
    }));
    Ok(all)
}

fn nobodys(template: &Value) -> Impostor {
    let mut template = template.clone();
    template["metadata"]["labels"] = json!({});
    let workload = workload("Pod", "nobodys", template);
    let title = "leaves off the label that names the system";
    Impostor { name: "nobodys", title, because: "assent.dev/system", workload }
}

fn other_weights(template: &Value) -> Impostor {
    let mut template = template.clone();
    let other = format!("registry.acme-people.example/models/cv-screener@sha256:{}", "b".repeat(64));
    set(&mut template["spec"], "/volumes/0/image/reference", json!(other));
    let mut workload = workload("Pod", "other-weights", template);
    workload["metadata"]["namespace"] = json!(CV_SCREENER.namespace);
    let title = "mounts other weights: another image volume, the same container image";
    Impostor { name: "other-weights", title, because: "@sha256:bbbb", workload }
}

/// One place of the pod's spec each; `-` appends.
fn variations() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str, Value)> {
    let fetch =
        json!({ "name": "fetch", "image": "registry.example/fetch@sha256:0", "args": ["other-model"] });
    let hook = json!({ "postStart": { "exec": { "command": ["sh", "-c", "fetch other-model"] } } });
    [
        (
            "other-env",
            "fetches the weights from elsewhere, by an environment variable",
            "HF_ENDPOINT",
            "/containers/0/env/-",
            json!({ "name": "HF_ENDPOINT", "value": "https://models.example" }),
        ),
        (
            "other-host",
            "fetches them from elsewhere, by /etc/hosts",
            "hostAliases",
            "/hostAliases",
            json!([{ "ip": "192.0.2.7", "hostnames": ["huggingface.co"] }]),
        ),
        (
            "init",
            "lets an init container fetch other weights",
            "initContainers",
            "/initContainers",
            json!([fetch]),
        ),
        ("hook", "lets a lifecycle hook fetch other weights", "postStart", "/containers/0/lifecycle", hook),
        (
            "tag",
            "names the same image by a tag, which can be moved",
            "vllm-openai:v0.11.0",
            "/containers/0/image",
            json!("vllm/vllm-openai:v0.11.0"),
        ),
        (
            "other-args",
            "asks for another revision of the weights, in a bare pod",
            "--revision=main",
            "/containers/0/args/1",
            json!("--revision=main"),
        ),
    ]
    .into_iter()
}

fn kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    [
        ("batch", "asks for it in a Job", "Job"),
        ("nightly", "asks for it in a CronJob, and starts that by hand", "CronJob"),
        ("stateful", "asks for it in a StatefulSet", "StatefulSet"),
        ("everywhere", "asks for it in a DaemonSet", "DaemonSet"),
    ]
    .into_iter()
}

/// An object of `kind` whose pods are of `template`.
fn workload(kind: &str, name: &str, mut template: Value) -> Value {
    template["metadata"]["labels"][LABEL] = json!(name);
    template["metadata"]["labels"]["app"] = json!(name);
    if kind.ends_with("Job") {
        template["spec"]["restartPolicy"] = json!("Never");
    }
    let selector = json!({ "matchLabels": { "app": name } });
    let (api, spec) = match kind {
        "Job" => ("batch/v1", json!({ "template": template })),
        "CronJob" => {
            let job = json!({ "metadata": { "labels": { LABEL: name } }, "spec": { "template": template } });
            ("batch/v1", json!({ "schedule": "0 3 * * *", "jobTemplate": job }))
        }
        "StatefulSet" => {
            ("apps/v1", json!({ "serviceName": name, "selector": selector, "template": template }))
        }
        "DaemonSet" => ("apps/v1", json!({ "selector": selector, "template": template })),
        _ => ("v1", template["spec"].clone()),
    };
    let labels = if kind == "Pod" { template["metadata"]["labels"].clone() } else { json!({ LABEL: name }) };
    json!({ "apiVersion": api, "kind": kind, "spec": spec,
        "metadata": { "name": name, "namespace": CREDIT_SCORER.namespace, "labels": labels } })
}

/// Puts `value` at a JSON pointer, whose last part may be new.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    match object.pointer_mut(parent) {
        Some(Value::Array(items)) if name == "-" => items.push(value),
        Some(Value::Object(fields)) => drop(fields.insert(name.to_owned(), value)),
        _ => {
            if let Some(place) = object.pointer_mut(pointer) {
                *place = value;
            }
        }
    }
}
