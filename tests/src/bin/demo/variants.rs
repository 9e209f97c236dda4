//! Step: workloads that name an approved system but differ from the approved version are held.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::stage::{CONCURRENCY, CREDIT_SCORER, CV_SCREENER, Stage, ensure_contains, is_held, manifest};

/// The label with the name of the variant. All pods of a variant have this label.
const LABEL: &str = "demo.assent.dev/variant";

struct Variant {
    name: &'static str,
    title: &'static str,
    /// A part of the expected explanation. A pod that is held for another reason fails the demo.
    because: &'static str,
    workload: Value,
}

impl Variant {
    fn is_job(&self) -> bool {
        self.workload["kind"].as_str().is_some_and(|kind| kind.ends_with("Job"))
    }
}

/// Starts workloads that differ from the approved version. The API server admits each workload, but holds its pod or
/// suspends its Job. The demo prints the difference from the approved version.
pub async fn run_unapproved_content(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "dev runs other content under an approved name",
        "Pods of credit-scorer and cv-screener run only with exactly the approved content. Each workload below \
         differs from it and is held. The reason comes from kubectl assent explain: - is the approved version, + is \
         the pod.",
    );
    let variants = variants()?;
    let list: Vec<_> = variants.iter().map(|variant| &variant.workload).collect();
    stage.apply(&stage.dev, &json!({ "apiVersion": "v1", "kind": "List", "items": list })).await?;
    let night = "kubectl create job tonight --from=cronjob/nightly -n lending";
    stage.run(&stage.dev, night, None).await?.ok()?;
    let explained = stream::iter(&variants).map(|variant| async move {
        let explanation = held(stage, variant).await;
        (variant, explanation)
    });
    let mut explained = explained.buffered(CONCURRENCY);
    while let Some((variant, explanation)) = explained.next().await {
        let explanation = explanation.with_context(|| format!("dev: {}", variant.title))?;
        stage.time.attempt("dev", variant.title, if variant.is_job() { "suspended" } else { "held" });
        stage.time.quote(&explanation);
    }
    for namespace in [CREDIT_SCORER.namespace, CV_SCREENER.namespace] {
        let kinds = "cronjobs,jobs,statefulsets,daemonsets,pods";
        let delete = format!("kubectl delete {kinds} -l {LABEL} -n {namespace} --wait=false");
        stage.run(&stage.dev, &delete, None).await?.ok()?;
    }
    stage.wait_for_pods(&CREDIT_SCORER, 2, 0).await?;
    stage.wait_for_pods(&CV_SCREENER, 1, 0).await.map(drop)
}

/// Waits until the pod of a variant is held, or its Job is suspended. Returns the explanation of `kubectl assent
/// explain`.
async fn held(stage: &Stage<'_>, variant: &Variant) -> Result<String> {
    let target = if variant.is_job() {
        suspended_job(stage, variant).await?
    } else {
        held_pod(stage, variant).await?
    };
    let explain = format!("kubectl assent explain {target} -o json");
    let explained = stage.run(&stage.dev, &explain, None).await?.ok()?;
    let explained: Value = serde_json::from_str(&explained)?;
    let finding = &explained["pods"][0];
    let conclusion = finding["conclusion"].as_str().context("no conclusion")?;
    let difference = finding["closest"]["difference"].as_str().unwrap_or_default();
    let changes = difference.lines().filter(|line| line.starts_with(['+', '-']));
    let changes = changes.collect::<Vec<_>>().join("\n");
    let explanation = if changes.is_empty() { conclusion.to_owned() } else { changes };
    ensure_contains(&explanation, variant.because)?;
    Ok(explanation)
}

async fn held_pod(stage: &Stage<'_>, variant: &Variant) -> Result<String> {
    let what = format!("a held pod of {}", variant.name);
    let held = stage.pods.until(&what, |pods| {
        let its = |pod: &&Pod| pod.labels().get(LABEL).is_some_and(|name| name == variant.name);
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

/// The arguments with which `kubectl assent explain` names the Job of a variant. An admission policy suspends the Job
/// at its creation, so the Job has no pod.
async fn suspended_job(stage: &Stage<'_>, variant: &Variant) -> Result<String> {
    let namespace = CREDIT_SCORER.namespace;
    let jobs = format!("kubectl get jobs -l {LABEL}={} -n {namespace} -o json", variant.name);
    let jobs: Value = serde_json::from_str(&stage.run(&stage.dev, &jobs, None).await?.ok()?)?;
    let job = &jobs["items"][0];
    ensure!(job["spec"]["suspend"] == true, "the Job of {} is not suspended: {job}", variant.name);
    Ok(format!("job/{} -n {namespace}", job["metadata"]["name"].as_str().unwrap_or_default()))
}

fn variants() -> Result<Vec<Variant>> {
    let scorer = manifest(&format!("{}/deployment.yaml", CREDIT_SCORER.example))?["spec"]["template"].take();
    let screener = manifest(&format!("{}/deployment.yaml", CV_SCREENER.example))?["spec"]["template"].take();
    let mut all = vec![without_label(&scorer), other_weights(&screener)];
    all.extend(changed_fields().map(|(name, title, because, path, value)| {
        let mut template = scorer.clone();
        set(&mut template["spec"], path, value);
        Variant { name, title, because, workload: workload("Pod", name, template) }
    }));
    all.extend(other_kinds().map(|(name, title, kind)| {
        let mut template = scorer.clone();
        set(&mut template["spec"], "/containers/0/args/1", json!("--revision=main"));
        Variant { name, title, because: "--revision=main", workload: workload(kind, name, template) }
    }));
    Ok(all)
}

fn without_label(template: &Value) -> Variant {
    let mut template = template.clone();
    template["metadata"]["labels"] = json!({});
    let workload = workload("Pod", "without-label", template);
    let title = "leaves out the label that names the AI system";
    Variant { name: "without-label", title, because: "assent.dev/system", workload }
}

fn other_weights(template: &Value) -> Variant {
    let mut template = template.clone();
    let other = format!("registry.acme-people.example/models/cv-screener@sha256:{}", "b".repeat(64));
    set(&mut template["spec"], "/volumes/0/image/reference", json!(other));
    let mut workload = workload("Pod", "other-weights", template);
    workload["metadata"]["namespace"] = json!(CV_SCREENER.namespace);
    let title = "mounts other weights: another image volume with the same container image";
    Variant { name: "other-weights", title, because: "@sha256:bbbb", workload }
}

/// For each variant with one changed field: name, title, expected explanation, JSON pointer and value. A pointer that
/// ends in `-` appends the value to a list.
fn changed_fields() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str, Value)> {
    let fetch =
        json!({ "name": "fetch", "image": "registry.example/fetch@sha256:0", "args": ["other-model"] });
    let hook = json!({ "postStart": { "exec": { "command": ["sh", "-c", "fetch other-model"] } } });
    [
        (
            "other-env",
            "downloads the weights from another host, by an environment variable",
            "HF_ENDPOINT",
            "/containers/0/env/-",
            json!({ "name": "HF_ENDPOINT", "value": "https://models.example" }),
        ),
        (
            "other-host",
            "downloads them from another host, by /etc/hosts",
            "hostAliases",
            "/hostAliases",
            json!([{ "ip": "192.0.2.7", "hostnames": ["huggingface.co"] }]),
        ),
        (
            "init",
            "downloads other weights in an init container",
            "initContainers",
            "/initContainers",
            json!([fetch]),
        ),
        ("hook", "downloads other weights in a lifecycle hook", "postStart", "/containers/0/lifecycle", hook),
        (
            "tag",
            "names the same image by a tag, which can move",
            "vllm-openai:v0.11.0",
            "/containers/0/image",
            json!("vllm/vllm-openai:v0.11.0"),
        ),
        (
            "other-args",
            "requests another revision of the weights, in a bare pod",
            "--revision=main",
            "/containers/0/args/1",
            json!("--revision=main"),
        ),
    ]
    .into_iter()
}

fn other_kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    [
        ("batch", "requests it in a Job", "Job"),
        ("nightly", "requests it in a CronJob, and starts a Job by hand", "CronJob"),
        ("stateful", "requests it in a StatefulSet", "StatefulSet"),
        ("everywhere", "requests it in a DaemonSet", "DaemonSet"),
    ]
    .into_iter()
}

/// An object of `kind` with `template` as its pod template.
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

/// Sets the value at a JSON pointer. The last part may be a new field.
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
