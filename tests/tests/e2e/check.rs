//! `kubectl assent check` predicts what the API server does with manifests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assent_tests::{ControlPlane, Output, Person, SOON, Scenario, binaries, container, root, until};
use serde_json::{Value, json};

async fn check(cluster: &ControlPlane, args: &[&str], manifests: &str) -> Result<Output> {
    let plugin = binaries()?.join("kubectl-assent").display().to_string();
    let args = [&["KUBECONFIG=/nonexistent", &plugin, "check"], args].concat();
    cluster.run(cluster.account(Person::Dev), "env", &args, Some(manifests)).await
}

/// Returns the results in a JSON report, one for each pod template. `true` means that a pod of the template would run.
fn verdicts(report: &str) -> Result<Vec<(Value, bool)>> {
    let report: Value = serde_json::from_str(report)?;
    let results = report["results"].as_array().context("no results")?;
    Ok(results.iter().map(|result| (result.clone(), result["outcome"] == "Runs")).collect())
}

async fn kustomize(cluster: &ControlPlane, directory: &str) -> Result<String> {
    let directory = root().join("examples").join(directory).display().to_string();
    cluster.kubectl(Person::Admin, &["kustomize", &directory]).await?.ok()
}

pub async fn check_agrees_with_the_api_server_about_every_example(cluster: &ControlPlane) -> Result<()> {
    let levels = kustomize(cluster, "risk-levels").await?;
    let mut held = 0;
    let entries = std::fs::read_dir(root().join("examples"))?.collect::<std::io::Result<Vec<_>>>()?;
    let examples = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    for example in examples.chain(["gitops/one-repository/support".to_owned()]) {
        if !root().join("examples").join(&example).join("aisystem.yaml").is_file() {
            continue;
        }
        let manifests = kustomize(cluster, &example).await?;
        cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &manifests).await?.ok()?;
        let both = format!("{levels}\n---\n{manifests}");
        let said = check(cluster, &["-f", "-", "-o=json", "--fail-on=awaiting"], &both).await?;
        for (checked, runs) in verdicts(&said.stdout)? {
            let (namespace, object) = (text(&checked["namespace"]), text(&checked["object"]));
            let is_held = until(SOON, &format!("pods of {object}"), async || {
                let selector = format!("assent.dev/system={}", text(&checked["system"]));
                let pods = ["get", "pods", "-n", &namespace, "-l", &selector, "-o=json"];
                let pods: Value = serde_json::from_str(&cluster.kubectl(Person::Admin, &pods).await?.ok()?)?;
                let pod = pods["items"][0].clone();
                Ok((!pod.is_null()).then(|| pod["spec"]["schedulingGates"].is_array()))
            })
            .await?;
            ensure!(is_held != runs, "{example}: {checked}, but held: {is_held}");
            held += usize::from(is_held);
        }
    }
    ensure!(held >= 5, "only {held} pods of the unapproved examples were held");
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Random systems, versions and pods in namespaces with several modes and scopes. Some versions cannot be cleared, and
/// some pods differ from their version.
struct Generated {
    /// The name of each namespace, and the manifests of the namespace except the pods.
    namespaces: Vec<(String, Vec<Value>)>,
    pods: Vec<Value>,
}

fn generate(random: &mut fastrand::Rng, scene: &Scenario<'_>) -> Generated {
    let modes = [
        json!({ "assent.dev/mode": "enforce" }),
        json!({ "assent.dev/mode": "enforce", "assent.dev/scope": "labelled" }),
        json!({ "assent.dev/mode": "enforce", "assent.dev/scope": "accelerated" }),
        json!({ "assent.dev/mode": "warn" }),
        json!({}),
    ];
    let (mut namespaces, mut pods) = (Vec::new(), Vec::new());
    for (number, labels) in modes.into_iter().enumerate() {
        let namespace = format!("check-made-{number}");
        let mut manifests = vec![json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": namespace, "labels": labels } })];
        for system in (0..12).map(|system| format!("s{system}")) {
            let version = generated_version(random, scene, &system);
            for pod in 0..2 {
                pods.push(generated_pod(random, scene, &format!("{system}-{pod}"), &system, &version));
            }
            manifests.extend([generated_system(random, scene, &system), version]);
        }
        for manifest in manifests[1..].iter_mut().chain(pods.iter_mut().rev().take(24)) {
            manifest["metadata"]["namespace"] = json!(namespace);
        }
        namespaces.push((namespace, manifests));
    }
    Generated { namespaces, pods }
}

fn generated_system(random: &mut fastrand::Rng, scene: &Scenario<'_>, name: &str) -> Value {
    let levels = ["minimal", "minimal", "limited", "high", "unacceptable"];
    let mut system = scene.system(levels[random.usize(..levels.len())]);
    system["metadata"]["name"] = json!(name);
    if random.u8(..4) == 0 {
        system["spec"]["documentation"] = json!([]);
    }
    let date = ["2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z"][random.usize(..2)];
    if random.u8(..4) == 0 {
        system["spec"]["decommission"] = json!({ "date": date, "reason": "old" });
    }
    system
}

fn generated_version(random: &mut fastrand::Rng, scene: &Scenario<'_>, system: &str) -> Value {
    let mut container = container("1");
    if random.u8(..5) == 0 {
        container["image"] = json!("registry.example/scorer:1");
    }
    let mut version = scene.version(&format!("{system}-v1"), &container);
    version["spec"]["system"] = json!(system);
    if random.u8(..4) == 0 {
        version["spec"]["provenance"] = json!({});
    }
    version
}

fn generated_pod(
    random: &mut fastrand::Rng,
    scene: &Scenario<'_>,
    name: &str,
    system: &str,
    of: &Value,
) -> Value {
    let mut container = of["spec"]["runtime"]["containers"][0].clone();
    if random.u8(..4) == 0 {
        container["args"] = json!(["--another"]);
    }
    if random.u8(..3) == 0 {
        let image = text(&container["image"]);
        container["image"] = json!(image.split('@').next());
    }
    if random.u8(..4) == 0 {
        container["resources"] = json!({ "limits": { "nvidia.com/gpu": "1" } });
    }
    let mut pod = scene.pod(name, &container);
    let label = [Some(system), Some(system), Some(system), Some("nobody"), None];
    let label = label[random.usize(..label.len())];
    pod["metadata"]["labels"] = label.map_or(json!({}), |name| json!({ "assent.dev/system": name }));
    pod
}

pub async fn check_agrees_with_the_api_server_about_generated_manifests(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "check-made", "limited").await?;
    let generated = generate(&mut fastrand::Rng::with_seed(42_001), &scene);
    let mut all: Vec<Value> =
        generated.namespaces.iter().flat_map(|(_, manifests)| manifests.clone()).collect();
    all.extend(generated.pods.iter().cloned());
    let list = |items: &[Value]| json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    let offline = format!("{}\n---\n{}", kustomize(cluster, "risk-levels").await?, list(&all));
    let said = check(cluster, &["-f", "-", "-o=json"], &offline).await?;
    let predicted: BTreeMap<(String, String), (Value, bool)> = verdicts(&said.stdout)?
        .into_iter()
        .map(|(checked, runs)| ((text(&checked["namespace"]), text(&checked["object"])), (checked, runs)))
        .collect();
    ensure!(
        predicted.len() == generated.pods.len(),
        "{} of {} pods: {said:?}",
        predicted.len(),
        generated.pods.len()
    );
    let running = predicted.values().filter(|(_, runs)| *runs).count();
    ensure!((20..100).contains(&running), "{running} pods would run: the cases are too alike");

    for (namespace, manifests) in &generated.namespaces {
        cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &list(manifests)).await?.ok()?;
        let pods: Vec<_> = generated
            .pods
            .iter()
            .filter(|pod| pod["metadata"]["namespace"] == **namespace)
            .cloned()
            .collect();
        // The operator must first write the Clearance of the namespace, and the API server must see this Clearance.
        until(SOON, &format!("the API server to agree in {namespace}"), async || {
            let create = ["create", "--dry-run=server", "-f", "-", "-o=json"];
            let created = cluster.kubectl_stdin(Person::Admin, &create, &list(&pods)).await?.ok()?;
            // kubectl prints a sequence of objects, not a list.
            let created = serde_json::Deserializer::from_str(&created).into_iter::<Value>();
            let created = created.collect::<Result<Vec<_>, _>>()?;
            ensure!(created.len() == pods.len(), "{} of {} pods", created.len(), pods.len());
            let differs = created.iter().find_map(|pod| {
                let object = format!("pod/{}", text(&pod["metadata"]["name"]));
                let (checked, runs) = predicted.get(&(namespace.clone(), object))?;
                (pod["spec"]["schedulingGates"].is_array() == *runs).then(|| checked.to_string())
            });
            ensure!(differs.is_none(), "the API server differs: {differs:?}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

pub async fn check_reports_each_pod_that_no_approval_would_let_run(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "check", "limited").await?;
    let mut manifests = vec![scene.get("risklevel", "limited").await?, scene.system("limited")];
    manifests.push(scene.version("v1", &container("1")));
    let described = scene.deployment("described", &container("1"));
    let other = scene.deployment("other", &container("2"));
    let list = |items: &[&Value]| {
        let items: Vec<_> = manifests.iter().chain(items.iter().copied()).collect();
        json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
    };
    let said = check(cluster, &["-f", "-"], &list(&[&described])).await?.ok()?;
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        said.contains("held until it is approved") && said.contains("role risk-officer: 0 of 1"),
        "{said}"
    );
    ensure!(said.contains("namespace check is not in the manifests"), "{said}");
    let fails = check(cluster, &["-f", "-", "--fail-on=awaiting"], &list(&[&described])).await?;
    ensure!(
        fails.status.code() == Some(1) && fails.stderr.contains("1 of 1 objects failed the check"),
        "{fails:?}"
    );

    let said = check(cluster, &["-f", "-"], &list(&[&described, &other])).await?;
    ensure!(said.status.code() == Some(1) && said.stdout.contains("+  - --revision=2"), "{said:?}");
    let junit = check(cluster, &["-f", "-", "-o=junit"], &list(&[&described, &other])).await?.stdout;
    ensure!(junit.contains(r#"tests="2""#) && junit.contains(r#"failures="1""#), "{junit}");
    let sarif = check(cluster, &["-f", "-", "-o=sarif"], &list(&[&described, &other])).await?.stdout;
    let sarif: Value = serde_json::from_str(&sarif)?;
    let levels: Vec<_> =
        sarif["runs"][0]["results"].as_array().into_iter().flatten().map(|r| &r["level"]).collect();
    ensure!(levels == ["warning", "error"], "{sarif}");

    let free = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "check" } });
    check(cluster, &["-f", "-", "--fail-on=awaiting"], &list(&[&free, &other])).await?.ok()?;
    let rollout = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": "r", "namespace": "check" }, "spec": { "template": other["spec"]["template"] } });
    let said = check(cluster, &["-f", "-"], &list(&[&rollout])).await?;
    ensure!(said.stdout.contains("check/rollout/r") && said.status.code() == Some(1), "{said:?}");
    let kserve = json!({ "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": { "name": "i", "namespace": "check", "labels": { "assent.dev/system": "scorer" } },
        "spec": { "predictor": { "model": { "storageUri": "s3://m" } } } });
    let said = check(cluster, &["-f", "-"], &list(&[&kserve])).await?.ok()?;
    ensure!(said.contains("undetermined") && said.contains("capture inferenceservice/i -n check"), "{said}");
    let wrong = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem", "metadata": { "name": "a" }, "spec": {} });
    let said = check(cluster, &["-f", "-"], &wrong.to_string()).await?;
    ensure!(said.status.code() == Some(1) && said.stdout.contains("missing field"), "{said:?}");
    let said = check(cluster, &["-f", "-"], "kind: {{ .Values.kind }}").await?;
    ensure!(said.status.code() == Some(1) && said.stderr.contains("helm template"), "{said:?}");
    let built = root().join("examples/credit-scorer").display().to_string();
    let said = check(cluster, &["-f", &built], "").await?;
    ensure!(said.stderr.contains("kubectl kustomize"), "{said:?}");
    Ok(())
}

pub async fn check_reads_a_thousand_manifests_in_seconds(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "check-many", "limited").await?;
    let level = scene.get("risklevel", "limited").await?;
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("level.json"), level.to_string())?;
    for number in 0..333 {
        let mut of = [
            scene.system("limited"),
            scene.version("v1", &container("1")),
            scene.deployment("scorer", &container("1")),
        ];
        for manifest in &mut of {
            manifest["metadata"]["namespace"] = json!(format!("n{number}"));
        }
        let mut text = String::new();
        for manifest in &of {
            writeln!(text, "---\n{manifest}")?;
        }
        std::fs::write(directory.path().join(format!("{number}.yaml")), text)?;
    }
    let begin = Instant::now();
    let said = check(cluster, &["-f", &directory.path().display().to_string()], "").await;
    let took = begin.elapsed();
    let said = said?.ok()?;
    ensure!(said.contains("333 would wait for approval"), "{}", said.lines().last().unwrap_or_default());
    println!("checked 1000 manifests in {took:.2?} (debug build)");
    ensure!(took < Duration::from_secs(15), "the check took {took:?}");
    Ok(())
}

pub async fn check_refuses_unknown_fields_and_suggests_names(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "check-strict", "limited").await?;
    let mut system = scene.system("limited");
    system["spec"]["risklevel"] = json!("limited");
    let mut pod = scene.deployment("server", &container("1"));
    pod["spec"]["template"]["metadata"]["labels"]["assent.dev/system"] = json!("scorre");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [system, pod] });
    let yaml = serde_saphyr::to_string(&list)?;
    let said = check(cluster, &["-f", "-", "-n", &scene.namespace], &yaml).await?;
    for words in ["unknown field spec.risklevel; did you mean riskLevel?", "did you mean scorer?"] {
        ensure!(said.stdout.contains(words), "{words:?} is missing in: {said:?}");
    }
    // The API server refuses the same field.
    let refused =
        scene.cluster.kubectl_stdin(Person::Admin, &["create", "-f", "-"], &system.to_string()).await?;
    ensure!(
        refused.denied()?.contains("unknown field \"spec.risklevel\""),
        "kubectl does not refuse the unknown field"
    );

    let v1 = container("1");
    let with_image = |image: &str| {
        let mut container = v1.clone();
        container["image"] = json!(text(&container["image"]).replace("scorer@", image));
        format!(
            "{}\n---\n{}\n---\n{}",
            scene.system("limited"),
            scene.version("v1", &v1),
            scene.deployment("server", &container)
        )
    };
    // A tag beside the digest does not matter, because the digest alone names the image.
    let said = check(cluster, &["-f", "-", "-n", &scene.namespace], &with_image("scorer:v1@")).await?;
    ensure!(said.stdout.contains("it is v1 of scorer"), "{said:?}");

    let other = with_image("other@");
    let sarif = check(cluster, &["-f", "-", "-o=sarif", "-n", &scene.namespace], &other).await?;
    let log: Value = serde_json::from_str(&sarif.stdout)?;
    let held = &log["runs"][0]["results"][0];
    let message = text(&held["message"]["text"]);
    ensure!(message.contains("registry.example/other@sha256:"), "{message}");
    ensure!(held["locations"][0]["physicalLocation"]["region"]["startLine"] == 5, "{held}");
    Ok(())
}
