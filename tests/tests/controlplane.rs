//! Tests of the test harness. The harness starts, stops and restarts the real Kubernetes control planes that the other
//! tests use.
//!
//! The tests in `shared` use one control plane, because they do not stop its processes. Each test in `own` starts the
//! control plane or process that it needs.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use assent::policy::{FIELDS, FORMER_FIELDS};
use assent_tests::{Component, ControlPlane, Node, Options, Person, Process, until};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::Kubeconfig;
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const SOON: Duration = Duration::from_secs(30);

/// A test runs this program again with this environment variable. The new process starts a control plane, and with the
/// value `node` also a node. The process then waits until the test kills the process.
const OWNER: &str = "ASSENT_TEST_OWNER";

fn main() -> Result<ExitCode> {
    let runtime = Arc::new(Runtime::new()?);
    if let Some(owned) = env::var_os(OWNER) {
        return runtime.block_on(async { if owned == "node" { own_node().await } else { own().await } });
    }
    let arguments = Arguments::from_args();
    if arguments.list {
        return Ok(libtest_mimic::run(&arguments, trials(&runtime, &Arc::default())).exit_code());
    }
    let begin = Instant::now();
    let cluster = Arc::new(Some(runtime.block_on(ControlPlane::start())?));
    eprintln!("the control plane is ready after {:.1?}", begin.elapsed());
    Ok(libtest_mimic::run(&arguments, trials(&runtime, &cluster)).exit_code())
}

fn trials(runtime: &Arc<Runtime>, shared: &Arc<Option<ControlPlane>>) -> Vec<Trial> {
    macro_rules! shared {
        ($($test:ident),*) => { [$({
            let (runtime, shared) = (Arc::clone(runtime), Arc::clone(shared));
            Trial::test(stringify!($test), move || {
                let cluster = shared.as_ref().as_ref().ok_or("no control plane")?;
                runtime.block_on($test(cluster)).map_err(|error| format!("{error:#}").into())
            })
        }),*] };
    }
    macro_rules! own {
        ($($test:ident),*) => { [$({
            let runtime = Arc::clone(runtime);
            Trial::test(stringify!($test), move || {
                runtime.block_on($test()).map_err(|error| format!("{error:#}").into())
            })
        }),*] };
    }
    let shared = shared![
        programs_have_the_pinned_versions,
        mutating_admission_policy_is_served,
        each_person_has_their_name_and_groups,
        service_account_acts_as_itself,
        deployment_runs_and_is_deleted,
        job_completes_only_with_the_annotation,
        existing_cluster_has_the_same_people,
        missing_permission_is_denied,
        every_field_of_a_pod_has_a_class
    ];
    let own = own![
        data_survives_a_kill,
        pods_run_after_restarts,
        paused_api_server_hangs_and_resumes,
        process_has_environment_and_ends_on_request,
        a_killed_owner_leaves_no_process,
        a_failed_start_shows_the_log
    ];
    let mut node = own![a_killed_owner_leaves_nothing_of_its_node].into_iter();
    let node = match Node::unavailable() {
        Some(why) => node.next().map(|t| t.with_kind(format!("skipped: {why}")).with_ignored_flag(true)),
        None => node.next(),
    };
    shared.into_iter().chain(own).chain(node).collect()
}

async fn programs_have_the_pinned_versions(cluster: &ControlPlane) -> Result<()> {
    let version = cluster.kubectl(Person::Admin, &["version"]).await?.ok()?;
    ensure!(version.contains("Client Version: v1.37.2"), version);
    ensure!(version.contains("Server Version: v1.37.2"), version);
    let helm = cluster.helm(&["version", "--short"]).await?.ok()?;
    ensure!(helm.starts_with("v4.3.1"), helm);
    Ok(())
}

async fn mutating_admission_policy_is_served(cluster: &ControlPlane) -> Result<()> {
    let args = ["api-resources", "--api-group=admissionregistration.k8s.io"];
    let resources = cluster.kubectl(Person::Admin, &args).await?.ok()?;
    let policy = resources.lines().find(|line| line.starts_with("mutatingadmissionpolicies "));
    ensure!(policy.is_some_and(|line| line.contains("admissionregistration.k8s.io/v1 ")), resources);
    Ok(())
}

async fn each_person_has_their_name_and_groups(cluster: &ControlPlane) -> Result<()> {
    for person in Person::ALL {
        let (name, groups) = whoami(cluster.client(person)?).await?;
        ensure!(name == person.name(), "{person:?} is {name}");
        for group in person.groups() {
            ensure!(groups.iter().any(|one| one == group), "{person:?} is only in {groups:?}");
        }
    }
    Ok(())
}

async fn existing_cluster_has_the_same_people(cluster: &ControlPlane) -> Result<()> {
    let kubectl = Path::new(&which(cluster, "kubectl")?).parent().context("no parent")?.to_owned();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig(Person::Admin))?;
    let existing = ControlPlane::existing(kubeconfig, vec![kubectl]).await?;
    ensure!(existing.kill(Component::Etcd).is_err(), "etcd of an existing cluster was killed");
    for person in Person::ALL {
        let (name, groups) = whoami(existing.client(person)?).await?;
        ensure!(name == person.name(), "{person:?} is {name}");
        for group in person.groups() {
            ensure!(groups.iter().any(|one| one == group), "{person:?} is only in {groups:?}");
        }
    }
    let said = existing.kubectl(Person::Carol, &["auth", "whoami"]).await?.ok()?;
    ensure!(said.contains("carol") && said.contains("ethics-board"), said);
    Ok(())
}

async fn service_account_acts_as_itself(cluster: &ControlPlane) -> Result<()> {
    let account = cluster.service_account("default", "default").await?;
    let (name, _) = whoami(account.client()?).await?;
    ensure!(name == "system:serviceaccount:default:default", name);
    let said = cluster.run(&account, "kubectl", &["auth", "whoami"], None).await?.ok()?;
    ensure!(said.contains("system:serviceaccount:default:default"), said);
    Ok(())
}

async fn missing_permission_is_denied(cluster: &ControlPlane) -> Result<()> {
    let said = cluster.kubectl(Person::Dev, &["get", "secrets", "-A"]).await?.denied()?;
    ensure!(said.contains("Forbidden"), said);
    Ok(())
}

/// If a new version of Kubernetes adds a field to pods, this test fails until `policy::FIELDS` lists the field.
async fn every_field_of_a_pod_has_a_class(cluster: &ControlPlane) -> Result<()> {
    let path = ["get", "--raw", "/openapi/v3/api/v1"];
    let document: Value = serde_json::from_str(&cluster.kubectl(Person::Admin, &path).await?.ok()?)?;
    let schemas = &document["components"]["schemas"];
    let mut walk = Walk { schemas, unknown: BTreeSet::new(), seen: BTreeSet::new() };
    walk.fields_of("io.k8s.api.core.v1.PodSpec", "");
    ensure!(walk.unknown.is_empty(), "`policy::FIELDS` lacks {:#?}", walk.unknown);
    let gone = FIELDS.iter().map(|(field, _)| *field).filter(|f| !walk.seen.contains(*f));
    let gone: Vec<_> = gone.filter(|field| !FORMER_FIELDS.contains(field)).collect();
    ensure!(gone.is_empty(), "a pod has none of these `policy::FIELDS`: {gone:#?}");
    Ok(())
}

/// Walks through the schema of a pod. The walk does not go deeper than a field that `policy::FIELDS` lists.
struct Walk<'a> {
    schemas: &'a Value,
    unknown: BTreeSet<String>,
    /// The fields of the schema that `policy::FIELDS` lists.
    seen: BTreeSet<String>,
}

impl Walk<'_> {
    fn fields_of(&mut self, kind: &str, above: &str) {
        let schemas = self.schemas;
        for (name, schema) in schemas[kind]["properties"].as_object().into_iter().flatten() {
            let path = table_path(above, name);
            let below = format!("{path}.");
            if FIELDS.iter().any(|(field, _)| *field == path) {
                self.seen.insert(path);
            } else if FIELDS.iter().any(|(field, _)| field.starts_with(&below))
                && let Some(kind) = reference(schema)
            {
                self.fields_of(kind, &path);
            } else {
                self.unknown.insert(path);
            }
        }
    }
}

/// Returns the path of a field as `policy::FIELDS` writes it. In this path, `containers` also means init containers,
/// `probe` means every probe, and `hook` means `postStart` and `preStop`.
fn table_path(above: &str, name: &str) -> String {
    let name = match name {
        "initContainers" => "containers",
        "livenessProbe" | "readinessProbe" | "startupProbe" => "probe",
        "postStart" | "preStop" => "hook",
        name => name,
    };
    if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") }
}

/// Returns the name of the schema to which the schema of a field refers, directly or through the items of a list.
fn reference(schema: &Value) -> Option<&str> {
    let direct = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    let kind = direct.and_then(|reference| reference.rsplit('/').next());
    kind.or_else(|| schema.get("items").and_then(reference))
}

async fn deployment_runs_and_is_deleted(cluster: &ControlPlane) -> Result<()> {
    deploy(cluster, "web", json!({ "nvidia.com/gpu": 4 })).await?;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client(Person::Admin)?);
    running(&pods, "app=web", 2).await?;
    for pod in pods.list(&ListParams::default().labels("app=web")).await? {
        ensure!(pod.status.and_then(|status| status.pod_ip).is_some(), "a pod has no address");
    }
    cluster.kubectl(Person::Admin, &["delete", "deployment", "web"]).await?.ok()?;
    running(&pods, "app=web", 0).await
}

async fn job_completes_only_with_the_annotation(cluster: &ControlPlane) -> Result<()> {
    let job = |name: &str, annotations: serde_json::Value| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
            "spec": { "template": {
                "metadata": { "annotations": annotations },
                "spec": { "restartPolicy": "Never", "containers": [{ "name": "train", "image": "train" }] },
            } },
        })
        .to_string()
    };
    let long = job("long", json!({}));
    let short = job("short", json!({ "pod-complete.stage.kwok.x-k8s.io/delay": "100ms" }));
    for manifest in [long, short] {
        cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &manifest).await?.ok()?;
    }
    let wait = ["wait", "--for=condition=complete", "job/short", "--timeout=30s"];
    cluster.kubectl(Person::Admin, &wait).await?.ok()?;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client(Person::Admin)?);
    running(&pods, "job-name=long", 1).await?;
    cluster.kubectl(Person::Admin, &["delete", "job", "long", "short"]).await?.ok().map(drop)
}

async fn data_survives_a_kill() -> Result<()> {
    let cluster = ControlPlane::start_with(small()).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client(Person::Admin)?);
    let map = serde_json::from_value(json!({ "metadata": { "name": "kept" } }))?;
    maps.create(&PostParams::default(), &map).await?;
    for component in [Component::ApiServer, Component::Etcd] {
        let before = cluster.process(component)?.pid();
        cluster.kill(component)?;
        ensure!(!cluster.process(component)?.is_running(), "{component:?} runs after the kill");
        cluster.restart(component).await?;
        ensure!(
            cluster.process(component)?.pid() != before,
            "{component:?} has the same process after the restart"
        );
        maps.get("kept").await.with_context(|| format!("after the restart of {component:?}"))?;
    }
    maps.delete("kept", &DeleteParams::default()).await?;
    Ok(())
}

async fn pods_run_after_restarts() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    for component in [Component::ControllerManager, Component::Scheduler, Component::Kwok] {
        cluster.kill(component)?;
        cluster.restart(component).await?;
    }
    deploy(&cluster, "again", json!({})).await?;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client(Person::Admin)?);
    running(&pods, "app=again", 2).await
}

async fn paused_api_server_hangs_and_resumes() -> Result<()> {
    let cluster = ControlPlane::start_with(small()).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client(Person::Admin)?);
    cluster.pause(Component::ApiServer)?;
    let all = ListParams::default();
    ensure!(
        tokio::time::timeout(Duration::from_secs(1), maps.list(&all)).await.is_err(),
        "the API server answered while paused"
    );
    cluster.resume(Component::ApiServer)?;
    maps.list(&all).await?;
    // When the control plane is dropped, a paused process must end too.
    cluster.pause(Component::Etcd)?;
    let directory = cluster.directory().to_owned();
    drop(cluster);
    gone(&directory).await
}

async fn a_killed_owner_leaves_no_process() -> Result<()> {
    let (mut owner, directory) = start_owner("1")?;
    let before = processes_of(&directory)?;
    // At least seven processes run: etcd, API server and controller manager, a supervisor for each of them, and the
    // process that removes the directory of the control plane.
    ensure!(before.len() >= 7, "not all processes run: {before:?}");
    owner.kill()?;
    owner.wait()?;
    gone(&directory).await
}

/// The owner is the process that started the control plane and the node. After the test kills the owner, no process or
/// mount of the node remains, and no cgroup or network of the pods on the node.
async fn a_killed_owner_leaves_nothing_of_its_node() -> Result<()> {
    let (mut owner, directory) = start_owner("node")?;
    let before = processes_of(&directory)?;
    for part in ["containerd ", "kubelet ", "containerd-shim-runc-v2 "] {
        ensure!(before.iter().any(|line| line.contains(part)), "no process {part}in {before:?}");
    }
    let name = directory.file_name().context("no name")?.to_string_lossy().into_owned();
    let has_cgroups = || -> Result<bool> {
        let parents = fs::read_dir("/sys/fs/cgroup")?.flatten().map(|entry| entry.path());
        Ok(parents.chain([PathBuf::from("/sys/fs/cgroup")]).any(|parent| parent.join(&name).exists()))
    };
    // The machine has a route to the address of each pod while the network of the pod exists.
    let addresses = fs::read_to_string(directory.join("addresses"))?;
    let has_routes = || -> Result<bool> {
        let routes = fs::read_to_string("/proc/net/fib_trie")?;
        Ok(addresses.split_whitespace().any(|address| routes.contains(&format!(" {address}\n"))))
    };
    ensure!(has_cgroups()? && has_routes()?, "no cgroups or routes before the end: {addresses}");
    owner.kill()?;
    owner.wait()?;
    gone(&directory).await?;
    ensure!(!has_cgroups()?, "cgroups remain");
    let mounts = fs::read_to_string("/proc/mounts")?;
    ensure!(!mounts.contains(&name), "mounts remain: {mounts}");
    until(SOON, "the removal of the pod network", async || Ok((!has_routes()?).then_some(()))).await
}

/// Runs this program again with the environment variable [`OWNER`] set to `kind`. Returns the new process and the
/// directory of its control plane.
fn start_owner(kind: &str) -> Result<(std::process::Child, PathBuf)> {
    let mut owner = Command::new(env::current_exe()?)
        .env(OWNER, kind)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(owner.stdout.take().context("no stdout")?).read_line(&mut line)?;
    Ok((owner, PathBuf::from(line.trim_end())))
}

async fn process_has_environment_and_ends_on_request() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let script = "trap 'exit 7' TERM; echo $GREETING; while :; do sleep 0.05; done";
    let process =
        Process::spawn("polite", "bash", ["-c", script], [("GREETING", "hello")], directory.path())?;
    let greeted = async || Ok((process.log_tail(1) == "hello").then_some(()));
    until(SOON, "the greeting", greeted).await?;
    process.pause()?;
    let stat = format!("/proc/{}/stat", process.pid());
    let stopped = async || Ok(fs::read_to_string(&stat)?.contains(") T ").then_some(()));
    until(SOON, "the process to be stopped", stopped).await?;
    process.resume()?;
    ensure!(process.terminate(SOON).await?.code() == Some(7), "the process did not end with status 7");
    process.restart()?;
    ensure!(process.is_running(), "the process does not run after the restart");
    process.kill();
    ensure!(!process.is_running() && process.pause().is_err(), "the process runs after the kill");
    Ok(())
}

async fn a_failed_start_shows_the_log() -> Result<()> {
    let extra_args = vec![(Component::ApiServer, "--no-such-flag".to_owned())];
    match ControlPlane::start_with(Options { extra_args, ..small() }).await {
        Ok(_) => bail!("the control plane started with a wrong flag"),
        Err(error) => ensure!(format!("{error:#}").contains("no-such-flag"), "{error:#}"),
    }
    let directory = tempfile::tempdir()?;
    let process = Process::spawn("missing", "/no/such/program", [""; 0], [("", ""); 0], directory.path())?;
    until(SOON, "the process to end", async || Ok((!process.is_running()).then_some(()))).await?;
    ensure!(process.log_tail(1).contains("/no/such/program"), process.log_tail(10));
    Ok(())
}

/// Starts a control plane and pauses its controller manager. Prints the directory of the control plane, and waits until
/// a test kills this process.
async fn own() -> Result<ExitCode> {
    let cluster = ControlPlane::start_with(small()).await?;
    cluster.pause(Component::ControllerManager)?;
    println!("{}", cluster.directory().display());
    std::future::pending().await
}

/// Starts a control plane with a node and a running pod. Writes the address of the pod into the file `addresses`.
/// Prints the directory of the control plane, and waits until a test kills this process.
async fn own_node() -> Result<ExitCode> {
    let cluster = ControlPlane::start().await?;
    let node = Node::start(&cluster).await?;
    let mut spec = json!({ "containers": [node.container("stubborn", "1")] });
    Node::place(&mut spec);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "stays" }, "spec": spec });
    cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &pod.to_string()).await?.ok()?;
    let ready = ["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"];
    cluster.kubectl(Person::Admin, &ready).await?.ok()?;
    let address = ["get", "pod", "stays", "-o=jsonpath={.status.podIP}"];
    let address = cluster.kubectl(Person::Admin, &address).await?.ok()?;
    fs::write(cluster.directory().join("addresses"), address)?;
    println!("{}", cluster.directory().display());
    std::future::pending().await
}

fn small() -> Options {
    Options { without: vec![Component::Scheduler, Component::Kwok], ..Options::default() }
}

/// Creates a Deployment of two pods. The pods have a grace period of ten minutes, but KWOK ignores grace periods and
/// removes deleted pods at once.
async fn deploy(cluster: &ControlPlane, name: &str, limits: serde_json::Value) -> Result<()> {
    let containers = json!([{ "name": "main", "image": name, "resources": { "limits": limits } }]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": name } }, "template": {
            "metadata": { "labels": { "app": name } },
            "spec": { "terminationGracePeriodSeconds": 600, "containers": containers },
        } },
    });
    cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &deployment.to_string()).await?.ok().map(drop)
}

async fn whoami(client: kube::Client) -> Result<(String, Vec<String>)> {
    let api: Api<SelfSubjectReview> = Api::all(client);
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).context("no user")?;
    Ok((user.username.unwrap_or_default(), user.groups.unwrap_or_default()))
}

async fn running(pods: &Api<Pod>, labels: &str, count: usize) -> Result<()> {
    until(SOON, &format!("{count} running pods with {labels}"), async || {
        let pods = pods.list(&ListParams::default().labels(labels)).await?;
        let phases = pods.iter().filter_map(|pod| pod.status.as_ref()?.phase.as_deref());
        let running = phases.filter(|phase| *phase == "Running").count();
        Ok((running == count && pods.items.len() == count).then_some(()))
    })
    .await
}

fn which(cluster: &ControlPlane, program: &str) -> Result<PathBuf> {
    let command = cluster.command(cluster.account(Person::Admin), program)?;
    Ok(PathBuf::from(command.as_std().get_program()))
}

async fn gone(directory: &Path) -> Result<()> {
    until(SOON, "the end of the processes and the removal of the directory", async || {
        let left = processes_of(directory)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok((!directory.exists()).then_some(()))
    })
    .await
}

fn processes_of(directory: &Path) -> Result<Vec<String>> {
    let directory = directory.to_str().context("not UTF-8")?;
    let processes = fs::read_dir("/proc")?.flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    Ok(lines.filter(|line| line.contains(directory)).collect())
}
